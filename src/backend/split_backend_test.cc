// A model whose layers several backends share gives the bits of one that has them all.
#include "backend/split_backend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backend/adapter_test_maker.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/test_side.h"
#include "base/index.h"

namespace s3d {
namespace {

using adapter_test::Drafted;
using adapter_test::Floats;
using adapter_test::some_tokens;
using adapter_test::Tokens;

std::unique_ptr<Backend> cpu(const std::shared_ptr<const Model>& model) {
  return CpuBackend::create(model, 1, available_kernels().back(), 32).value();
}

std::unique_ptr<Backend> split(const std::shared_ptr<const Model>& model, const std::vector<int>& layers) {
  std::vector<SplitBackend::Part> parts;
  for (const int count : layers) parts.push_back({cpu(model), count});
  return SplitBackend::create(model, std::move(parts)).value();
}

class Side : public adapter_test::Side {
 public:
  explicit Side(std::unique_ptr<Backend> backend)
      : adapter_test::Side(std::move(backend), KvType::kF16, 512), seq_(kv().add_sequence()) {}

  SeqId seq() const { return seq_; }

 private:
  KvSequence seq_;
};

// A prompt, a tree of which a path is kept, a draft pass, and a row after all that.
std::vector<Floats> a_bit_of_everything(Side& side, const Drafted& drafted) {
  const int vocab = drafted.config.vocab_size, layers = drafted.config.n_layers;
  std::vector<Floats> all;
  const auto run = [&](const std::vector<Row>& rows) {
    const std::vector<Want> want(rows.size(), Want::kLogits);
    all.push_back(side.run({.rows = rows, .layers = LayerSet::all(layers), .want = want, .want_hidden = true}));
  };
  const auto chain = [&](const Tokens& tokens) {
    std::vector<Row> rows;
    for (int i = 0; i < isize(tokens); ++i)
      rows.push_back({tokens[usize(i)], side.kv().length(side.seq()) + i, i - 1, side.seq()});
    return rows;
  };
  run(chain(some_tokens(7, vocab, 1)));
  side.kv().commit(side.seq(), 7);
  const SeqId seq = side.seq();
  run({{3, 7, -1, seq}, {4, 8, 0, seq}, {5, 8, 0, seq}, {6, 9, 2, seq}});
  side.kv().commit_path(seq, std::vector<int>{0, 2, 3});
  Floats state(usize(drafted.config.d_model));
  for (size_t i = 0; i < state.size(); ++i) state[i] = std::sin(static_cast<float>(i));
  const std::vector<Row> masks = chain({9, -1, -2});
  const std::vector<const float*> states(masks.size(), state.data());
  const std::vector<Want> want(masks.size(), Want::kLogits);
  all.push_back(side.run({.rows = masks,
                          .layers = drafted.plan,
                          .adapter = drafted.packed.get(),
                          .state = states,
                          .kv = KvUse::kScratch,
                          .want = want,
                          .want_hidden = true}));
  run(chain({9}));
  return all;
}

TEST(SplitBackend, GivesTheBitsOfOne) {
  for (const char* model : {"llama-q8_0", "gemma3-f32"}) {
    const Drafted drafted(model, {1, 1}, {}, GGML_TYPE_F16);
    const int n = drafted.config.n_layers;
    Side one(cpu(drafted.model));
    const std::vector<Floats> expected = a_bit_of_everything(one, drafted);
    std::vector<std::vector<int>> divisions = {{1, n - 2, 1}, {1, 0, n - 1}};
    for (int layers = 0; layers <= n; ++layers) divisions.push_back({layers, n - layers});
    for (const std::vector<int>& layers : divisions) {
      Side parts(split(drafted.model, layers));
      const std::vector<Floats> found = a_bit_of_everything(parts, drafted);
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(found[i].size(), expected[i].size());
        EXPECT_EQ(std::memcmp(found[i].data(), expected[i].data(), found[i].size() * sizeof(float)), 0)
            << model << ", " << layers[0] << " layers first, block " << i;
      }
    }
  }
}

TEST(SplitBackend, AnErrorLeavesNothingPending) {
  const Drafted drafted("llama-q8_0", {1, 1}, {}, GGML_TYPE_F16);
  Side side(split(drafted.model, {1, drafted.config.n_layers - 1}));
  const Row bad = {drafted.config.vocab_size, 0, -1, side.seq()};
  EXPECT_FALSE(
      side.backend().run({.rows = {&bad, 1}, .layers = LayerSet::all(drafted.config.n_layers)}, side.kv()).ok());
  EXPECT_EQ(side.kv().used(), 0);
}

TEST(SplitBackend, PartsHaveAllLayers) {
  const Drafted drafted("llama-q8_0", {1, 1}, {}, GGML_TYPE_F16);
  std::vector<SplitBackend::Part> parts;
  parts.push_back({cpu(drafted.model), 1});
  const auto made = SplitBackend::create(drafted.model, std::move(parts));
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.error().message.find("parts of 1 in all"), std::string::npos) << made.error().message;
}

}  // namespace
}  // namespace s3d
