// The comparisons of bits find faults that are planted into the kernels: a barrier that is left out, a register of the
// matrix instruction that changes its place. They would be of no use otherwise.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backend/adapter_test_maker.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/device.h"
#include "backend/cuda/device_matrix.h"
#include "backend/cuda/emulator/emulator.h"
#include "backend/cuda/input_buffers.h"
#include "base/index.h"

namespace s3d {
namespace {

using adapter_test::Floats;
using emulator::Emulator;

std::shared_ptr<const Model> load(const std::string& name) {
  const auto file = adapter_test::open_base(name);
  ThreadPool pool(1);
  return std::make_shared<const Model>(load_model(file, read_model_config(*file).value(), pool).value());
}

// Kernels of one emulated device, with a fault in them.
struct Faulty {
  explicit Faulty(uint64_t seed) : device(cuda::make_emulated_device(seed)) {}
  Emulator& emulator() const { return *static_cast<Emulator*>(device->stream()); }
  std::shared_ptr<cuda::Device> device;
};

// Logits of two passes: a prompt of 9 rows, a chain of 2.
Floats logits_of(const std::shared_ptr<const Model>& model, const std::shared_ptr<cuda::Device>& device, KvType type) {
  const auto backend = CudaBackend::create(model, device, nullptr, 9).value();
  KvCache kv = backend->make_kv_cache(type, 128).value();
  const KvSequence seq = kv.add_sequence();
  Floats all;
  for (const int n : {9, 2}) {
    std::vector<Row> rows;
    for (int i = 0; i < n; ++i)
      rows.push_back({(i * 7 + 3) % model->config.vocab_size, kv.length(seq) + i, i - 1, seq});
    const std::vector<Want> want(rows.size(), Want::kLogits);
    const LayerSet layers = LayerSet::all(model->config.n_layers);
    const auto out = backend->run({.rows = rows, .layers = layers, .want = want}, kv);
    EXPECT_TRUE(out.ok());
    all.insert(all.end(), out->logits.begin(), out->logits.end());
    kv.commit(seq, n);
  }
  return all;
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The barriers of the kernels that `run` starts, and those of them without which some order of the threads gives other
// bits.
struct Barriers {
  std::set<std::string> all, found;
};
template <typename Run>
void leave_out_each(Run run, Barriers& out) {
  const Faulty right(1);
  right.emulator().notes_barriers = true;
  const Floats expected = run(right.device);
  for (const std::string& barrier : right.emulator().barriers()) {
    out.all.insert(barrier);
    for (uint64_t seed = 0; seed < 20 && !out.found.contains(barrier); ++seed) {
      const Faulty faulty(seed);
      faulty.emulator().left_out_barrier = barrier;
      if (!same_bits(run(faulty.device), expected)) out.found.insert(barrier);
    }
  }
}

// A product with more segments than a block takes in one round.
Floats long_product(const std::shared_ptr<cuda::Device>& device) {
  constexpr size_t kRows = 16, kCols = 8192;
  Floats weights(kRows * kCols), x(kCols);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i));
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::cos(static_cast<float>(i));
  const PackedMatrix packed = PackedMatrix::pack(GGML_TYPE_F32, weights.data(), kRows, kCols, nullptr).value();
  const cuda::DeviceMatrix matrix = cuda::upload(*device, packed, nullptr).value();
  cuda::InputBuffers input;
  cuda::Buffer<float> from, to;
  EXPECT_TRUE(from.assign(*device, x) && to.ensure(*device, kRows) && input.ensure(*device, ActFormat::kF32, 1, kCols));
  const cuda::StoredInput stored = input.input(cuda::InputBuffers::bit(ActFormat::kF32));
  device->kernels().rows(device->stream(), {.x = from.data(), .n = 1, .cols = kCols, .stored = stored});
  cuda::MatmulTask task{.n_products = 1, .cols = kCols, .n = 1, .x = stored};
  task.products[0] = {.weights = matrix.weights.data(), .rows = kRows, .y = to.data(), .ld = kRows};
  device->kernels().matmul(device->stream(), task);
  return to.download(kRows);
}

TEST(PlantedFaults, EachBarrierThatIsLeftOutIsFound) {
  Barriers barriers;
  for (const auto& [name, type] : {std::pair{"qwen3-f32", KvType::kQ8_0}, std::pair{"llama-q4_k", KvType::kF16}}) {
    const auto model = load(name);
    leave_out_each([&, kv = type](const auto& device) { return logits_of(model, device, kv); }, barriers);
  }
  leave_out_each(long_product, barriers);
  EXPECT_EQ(barriers.found, barriers.all);
  EXPECT_GE(barriers.all.size(), 10U);
}

TEST(PlantedFaults, ASwappedRegisterIsFound) {
  const auto model = load("llama-q4_k");
  const Faulty right(1), faulty(1);
  faulty.emulator().swaps_registers = true;
  EXPECT_FALSE(same_bits(logits_of(model, right.device, KvType::kF16), logits_of(model, faulty.device, KvType::kF16)));
}

}  // namespace
}  // namespace s3d
