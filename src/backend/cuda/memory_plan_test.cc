#include "backend/cuda/memory_plan.h"

#include <gtest/gtest.h>

#include "backend/adapter_test_maker.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/test_device.h"

namespace s3d::cuda {
namespace {

MemoryNeeds some_needs() {
  return {{10 << 20, 20 << 20, 30 << 20}, 5 << 20};
}

TEST(MemoryPlan, TakesLayersFromTheLastOneDown) {
  const MemoryNeeds needs = some_needs();
  EXPECT_EQ(choose_layers(needs, size_t{65} << 20, -1, "x").value(), 3);
  EXPECT_EQ(choose_layers(needs, size_t{64} << 20, -1, "x").value(), 2);
  EXPECT_EQ(choose_layers(needs, size_t{34} << 20, -1, "x").value(), 0);
  EXPECT_EQ(choose_layers(needs, size_t{65} << 20, 1, "x").value(), 1);
  EXPECT_EQ(choose_layers(needs, size_t{65} << 20, 99, "x").value(), 3);
}

TEST(MemoryPlan, SaysHowMuchIsMissing) {
  const auto layers = choose_layers(some_needs(), size_t{50} << 20, 2, "Card");
  ASSERT_FALSE(layers.ok());
  EXPECT_EQ(layers.error().message,
            "device Card: 2 of 3 layers with the LM head and the buffers need 55.0 MiB, 5.0 MiB more than the 50.0 MiB "
            "that may be used; use fewer --gpu-layers, a shorter context or a smaller --kv-type");
  const auto none = choose_layers(some_needs(), size_t{1} << 20, -1, "Card");
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("alone need 5.0 MiB, 4.0 MiB more than the 1.0 MiB"), std::string::npos)
      << none.error().message;
}

// What a backend and its cache really take is not more than was planned.
TEST(MemoryPlan, CoversWhatIsTaken) {
  const auto file = adapter_test::open_base("llama-q4_k");
  ThreadPool pool(1);
  const auto model = std::make_shared<const Model>(load_model(file, read_model_config(*file).value(), pool).value());
  constexpr int kRows = 32;
  const MemoryNeeds needs = memory_needs(*model, KvType::kF16, 256, 256, kRows, 0);
  const auto backend = CudaBackend::create(model, make_test_device(), nullptr, kRows).value();
  KvCache kv = backend->make_kv_cache(KvType::kF16, 256).value();
  const KvSequence seq = kv.add_sequence();
  std::vector<Row> rows;
  for (int i = 0; i < kRows; ++i) rows.push_back({i, i, i - 1, seq});
  const std::vector<Want> want(rows.size(), Want::kLogits);
  ASSERT_TRUE(
      backend
          ->run({.rows = rows, .layers = LayerSet::all(model->config.n_layers), .want = want, .want_hidden = true}, kv)
          .ok());
  const size_t taken = backend->weight_bytes() + kv.bytes() + backend->scratch_bytes();
  const size_t planned = needs.of_last(model->config.n_layers);
  EXPECT_GE(planned, taken);
  EXPECT_LE(planned, 2 * taken);
}

}  // namespace
}  // namespace s3d::cuda
