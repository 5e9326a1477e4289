// Whole passes on the emulated device against the CPU backend, bit by bit: every family, every weight type, every type
// of cache; chains, trees, several sequences, long contexts, adapters.
#include "backend/cuda/cuda_backend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backend/adapter_test_maker.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/test_both.h"
#include "backend/cuda/test_device.h"
#include "backend/split_backend.h"
#include "backend/test_side.h"
#include "base/index.h"

namespace s3d {
namespace {

using adapter_test::Drafted;
using adapter_test::Floats;
using adapter_test::kMasks;
using adapter_test::Parts;
using adapter_test::Side;
using adapter_test::some_tokens;
using adapter_test::Tokens;
using cuda_test::Both;
using cuda_test::load;
using cuda_test::same_bits;

struct Case {
  const char* model;
  KvType type;
};

class CudaBackendTest : public testing::TestWithParam<Case> {};

// A prompt in chunks, a tree of rows after it, one of its paths kept, and a row after that.
TEST_P(CudaBackendTest, GivesTheBitsOfTheCpu) {
  const auto model = load(GetParam().model);
  Both both(model, GetParam().type);
  const int vocab = model->config.vocab_size;
  const SeqId seq = both.add_sequence();
  both.feed(seq, some_tokens(26, vocab, 1), {9, 1, 16});
  const std::vector<int> parents = {-1, 0, 0, 1, 2, 2, 4, 6, -1, 3, 7};
  const Tokens tokens = some_tokens(isize(parents), vocab, 7);
  std::vector<std::vector<int>> paths;
  std::vector<Row> rows;
  for (size_t i = 0; i < parents.size(); ++i) {
    paths.push_back(parents[i] < 0 ? std::vector<int>{} : paths[usize(parents[i])]);
    paths[i].push_back(static_cast<int>(i));
    rows.push_back({tokens[i], 26 + isize(paths[i]) - 1, parents[i], seq});
  }
  both.expect_same(rows, "tree");
  both.commit_path(seq, paths.back());
  both.expect_same(both.chain(seq, some_tokens(2, vocab, 8)), "after the tree");
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : {"llama-f32", "llama-f16", "llama-bf16", "llama-q8_0", "llama-q4_0", "llama-q4_1",
                           "llama-q5_0", "llama-q5_1", "llama-q4_k", "llama-q5_k", "llama-q6_k", "qwen2-f32",
                           "gemma2-f32", "granite-f32", "mistral3-f32", "olmo2-f32"}) {
    all.push_back({name, KvType::kF16});
  }
  for (const char* name : {"gemma3-f32", "llama-q4_1"}) all.push_back({name, KvType::kF32});
  for (const char* name : {"qwen3-f32", "phi3-f32", "llama-q8_0"}) all.push_back({name, KvType::kQ8_0});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Models, CudaBackendTest, testing::ValuesIn(cases()), [](const auto& info) {
  std::string name = std::string(info.param.model) + "_" + std::string(kv_type_name(info.param.type));
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

// Orders of threads and blocks, and cards without the wide matrix instruction.
TEST(CudaBackend, SeedsDoNotMatter) {
  const auto model = load("llama-q4_k");
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Both both(model, KvType::kF16, seed, /*turing=*/seed % 2 == 1);
    const SeqId seq = both.add_sequence();
    both.feed(seq, some_tokens(7, model->config.vocab_size, 2), {5, 2});
  }
}

// Kernels that start before the one before them has ended read nothing that it writes until they have waited.
TEST(CudaBackend, KernelsWaitBeforeTheyRead) {
  const auto model = load("llama-q4_k");
  Both both(model, KvType::kF16,
            CudaBackend::create(model, cuda::make_test_device(1, false, /*watches=*/true)).value());
  both.feed(both.add_sequence(), some_tokens(7, model->config.vocab_size, 2), {5, 1});
}

// Counts what goes to a real device.
class CountingDevice : public cuda::Device {
 public:
  explicit CountingDevice(std::unique_ptr<cuda::Device> real) : real_(std::move(real)) {}
  std::byte* allocate(size_t bytes) override { return real_->allocate(bytes); }
  void release(std::byte* memory) override { real_->release(memory); }
  size_t rounded(size_t bytes) const override { return real_->rounded(bytes); }
  void upload(std::byte* to, const void* from, size_t bytes) override { real_->upload(to, from, bytes); }
  void download(void* to, const std::byte* from, size_t bytes) override {
    ++waits;
    real_->download(to, from, bytes);
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override { real_->copy(to, from, bytes); }
  void begin_capture() override { real_->begin_capture(); }
  Result<std::unique_ptr<cuda::Graph>> end_capture() override {
    ++captures;
    if (fails) (void)real_->end_capture();
    if (fails) return Error{"no graphs today"};
    return real_->end_capture();
  }
  void launch(const cuda::Graph& graph) override {
    ++launches;
    real_->launch(graph);
  }
  Status synchronize() override {
    ++waits;
    return real_->synchronize();
  }
  const cuda::KernelTable& kernels() const override { return real_->kernels(); }
  void* stream() override { return real_->stream(); }
  std::string name() const override { return real_->name(); }
  size_t free_bytes() const override { return real_->free_bytes(); }

  int captures = 0, launches = 0;
  int waits = 0;  // for what was started
  bool fails = false;

 private:
  std::unique_ptr<cuda::Device> real_;
};

// A pass of a width that was run before is one call, whatever its tokens and positions are and however long the
// context.
TEST(CudaBackend, PassesOfOneKindAreOneGraph) {
  const auto model = load("llama-q4_1", 1000);
  const auto device = std::make_shared<CountingDevice>(cuda::make_test_device());
  Both both(model, KvType::kF16, CudaBackend::create(model, device).value());
  const int vocab = model->config.vocab_size;
  const SeqId seq = both.add_sequence();
  both.feed(seq, some_tokens(60, vocab, 3), {60});
  EXPECT_EQ(device->launches, 0) << "a long part of a prompt is not recorded";
  both.feed(seq, some_tokens(12, vocab, 4), {1, 3});  // the second page begins
  const int made = device->captures;
  both.feed(seq, some_tokens(16, vocab, 5), {1, 3});
  EXPECT_EQ(device->captures, made);
  EXPECT_EQ(device->launches, 14);
  for (const int parent : {0, 1}) {  // trees of one shape and of another
    std::vector<Row> rows = both.chain(seq, some_tokens(3, vocab, 6));
    rows.push_back({9, rows[0].position + 1 + parent, parent, seq});
    both.expect_same(rows, "a tree");
    both.commit_path(seq, std::vector<int>{0});
  }
  const SeqId other = both.add_sequence();
  both.feed(other, some_tokens(9, vocab, 7), {3});
  both.feed(seq, some_tokens(165, vocab, 8), {64, 64, 37});  // the second segment of the context
  both.feed(seq, some_tokens(4, vocab, 9), {1, 3});
  device->fails = true;
  both.feed(seq, some_tokens(5, vocab, 10), {5});
}

// Where logits stay on the device, the host goes on while the pass runs, and waits when it asks for the choice.
TEST(CudaBackend, AStartedPassIsNotWaitedFor) {
  const auto model = load("llama-q4_1");
  const auto device = std::make_shared<CountingDevice>(cuda::make_test_device());
  const auto backend = CudaBackend::create(model, device).value();
  KvCache kv = backend->make_kv_cache(KvType::kF16, 64).value();
  const KvSequence seq = kv.add_sequence();
  const std::vector<Row> rows = {{3, 0, -1, seq}, {4, 1, 0, seq}};
  for (const bool stays : {true, false}) {
    device->waits = 0;
    const PassOutput out = backend
                               ->run({.rows = rows,
                                      .layers = LayerSet::all(model->config.n_layers),
                                      .kv = KvUse::kScratch,
                                      .keep_logits = stays},
                                     kv)
                               .value();
    EXPECT_EQ(out.kept, stays ? 1 : 0);
    EXPECT_EQ(device->waits > 0, !stays);
  }
  ASSERT_TRUE(
      backend->run({.rows = rows, .layers = LayerSet::all(model->config.n_layers), .keep_logits = true}, kv).ok());
  device->waits = 0;
  kv.commit(seq, 2);  // no slots move: nothing of the pass is needed
  EXPECT_EQ(device->waits, 0);
  Choices choices;
  ASSERT_TRUE(backend->choose({.rows = 1}, {.best = 1}, choices).ok());
  EXPECT_GT(device->waits, 0);
}

// Two segments of the context, with and without a window; a tree whose path crosses the end of the first one.
TEST(CudaBackend, LongContexts) {
  for (const char* name : {"llama-q4_1", "gemma3-f32"}) {
    const auto model = load(name, 1000);
    Both both(model, KvType::kF16);
    const int vocab = model->config.vocab_size;
    const SeqId seq = both.add_sequence();
    both.feed(seq, some_tokens(254, vocab, 3), {127});
    std::vector<Row> rows = both.chain(seq, some_tokens(5, vocab, 4));
    rows.push_back({7, 255, 0, seq});
    rows.push_back({8, 256, 5, seq});
    both.expect_same(rows, name);
    both.commit_path(seq, std::vector<int>{0, 5, 6});
    both.expect_same(both.chain(seq, some_tokens(1, vocab, 5)), name);
  }
}

// Rows of two sequences that share pages until one of them writes.
TEST(CudaBackend, SequencesThatShareTheirBeginning) {
  const auto model = load("qwen2-f32");
  Both both(model, KvType::kF16);
  const int vocab = model->config.vocab_size;
  const SeqId first = both.add_sequence();
  both.feed(first, some_tokens(70, vocab, 6), {64});
  const SeqId second = both.copy_sequence(first);
  std::vector<Row> rows = both.chain(first, some_tokens(3, vocab, 7));
  for (Row row : both.chain(second, some_tokens(4, vocab, 8))) {
    if (row.parent >= 0) row.parent += 3;
    rows.push_back(row);
  }
  both.expect_same(rows, "both sequences");
  both.commit(first, 3);
  both.commit(second, 2);
  both.feed(second, some_tokens(3, vocab, 9), {1});
  both.feed(first, some_tokens(3, vocab, 10), {3});
}

// A draft pass with every part of an adapter, and its Markov head.
TEST(CudaBackend, DraftPasses) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_Q8_0}) {
    for (const Parts& parts : {Parts{}, Parts{.some_pairs_only = true, .first_row = false, .draft_vocab = false}}) {
      const Drafted drafted("llama-q8_0", {1, 1}, parts, type);
      Both both(drafted.model, KvType::kF16);
      const int vocab = drafted.config.vocab_size;
      const SeqId seq = both.add_sequence();
      both.feed(seq, some_tokens(12, vocab, 11), {12});
      std::vector<Row> rows = both.chain(seq, Tokens{5, -1, -2, -kMasks});
      const std::vector<Want> want(rows.size(), Want::kLogits);
      Floats state(usize(drafted.config.d_model));
      for (size_t i = 0; i < state.size(); ++i) state[i] = std::sin(static_cast<float>(i));
      const std::vector<const float*> states = {state.data(), state.data(), state.data(), nullptr};
      both.expect_same({.rows = rows,
                        .layers = drafted.plan,
                        .adapter = drafted.packed.get(),
                        .state = states,
                        .kv = KvUse::kScratch,
                        .want = want,
                        .want_hidden = true},
                       "draft pass");
      const Tokens previous = {3, 9};
      Floats logits[2], z[2];
      for (const int side : {0, 1}) {
        logits[side].assign(previous.size() * drafted.packed->draft_size(), 0.25F);
        z[side].resize(previous.size() * drafted.packed->markov_p().rows());
        Side& s = side == 0 ? both.cpu() : both.cuda();
        s.backend().add_markov(*drafted.packed, previous, logits[side], z[side]);
      }
      EXPECT_TRUE(same_bits(logits[0], logits[1]) && same_bits(z[0], z[1]));
      both.expect_same(both.chain(seq, Tokens{1}), "a full pass after it");
    }
  }
}

void expect_same(const Choices& a, const Choices& b, const std::string& what) {
  EXPECT_EQ(a.tokens, b.tokens) << what;
  EXPECT_EQ(a.finite, b.finite) << what;
  EXPECT_TRUE(same_bits(a.sums, b.sums) && same_bits(a.z, b.z)) << what;
}

// Choices of logits that stay on the device, of a full pass and of a draft: those of the CPU from its logits.
TEST(CudaBackend, ChoosesWhatTheCpuChooses) {
  for (const bool draft_vocab : {true, false}) {
    const Drafted drafted("llama-q8_0", {1, 1}, Parts{.draft_vocab = draft_vocab}, GGML_TYPE_F16);
    Both both(drafted.model, KvType::kF16);
    const SeqId seq = both.add_sequence();
    both.feed(seq, some_tokens(12, drafted.config.vocab_size, 11), {12});
    const std::vector<Want> want(4, Want::kLogits);
    const std::vector<Row> full = both.chain(seq, Tokens{5, 6, 7, 8}), masks = both.chain(seq, Tokens{5, -1, -2, -3});
    for (const int best : {1, 3, 64}) {
      const ChoiceAsk ask = {.best = best, .sums = best != 3};
      for (const bool draft : {false, true}) {
        Choices choices[2];
        for (const int side : {0, 1}) {
          Side& s = side == 0 ? both.cpu() : both.cuda();
          const auto out = s.backend().run({.rows = draft ? masks : full,
                                            .layers = draft ? drafted.plan : both.all_layers(),
                                            .adapter = draft ? drafted.packed.get() : nullptr,
                                            .kv = KvUse::kScratch,
                                            .want = want,
                                            .keep_logits = true},
                                           s.kv());
          ASSERT_TRUE(out.ok()) << out.error().message;
          EXPECT_EQ(out->kept, side == 0 ? 0 : 4);
          EXPECT_EQ(out->logits.empty(), side == 1);
          const size_t width = out->logits.size() / 4;
          const LogitRows rows = {
              .logits = out->logits.empty() ? out->logits : out->logits.subspan(width), .first = 1, .rows = 3};
          const Status chosen = draft ? s.backend().choose_draft(*drafted.packed, rows, 9, ask, choices[side])
                                      : s.backend().choose(rows, ask, choices[side]);
          ASSERT_TRUE(chosen.ok()) << chosen.error().message;
        }
        EXPECT_EQ(choices[0].z.empty(), !draft);
        expect_same(choices[0], choices[1], std::to_string(best) + (draft ? " draft" : " full"));
      }
    }
  }
}

// The first layers on the CPU, the others and the head on the device, and the other way round: the bits of the CPU.
TEST(CudaBackend, SharesTheLayersOfAModel) {
  const Drafted drafted("llama-q8_0", {1, 1}, {}, GGML_TYPE_F16);
  const int n = drafted.config.n_layers;
  for (int first = 0; first <= n; ++first) {
    for (const bool cuda_first : {false, true}) {
      const cuda::LayerRange range = cuda_first ? cuda::LayerRange{0, first} : cuda::LayerRange{first, n};
      std::vector<SplitBackend::Part> parts;
      parts.push_back(
          {CpuBackend::create(drafted.model, 1, available_kernels().back()).value(), n - range.end + range.first});
      parts.push_back({CudaBackend::create(drafted.model, cuda::make_test_device(), nullptr, 32, range).value(),
                       range.end - range.first});
      if (cuda_first) std::swap(parts[0], parts[1]);
      Both both(drafted.model, KvType::kF16, SplitBackend::create(drafted.model, std::move(parts)).value());
      const SeqId seq = both.add_sequence();
      both.feed(seq, some_tokens(5, drafted.config.vocab_size, 2), {4, 1});
      both.expect_same({{3, 5, -1, seq}, {4, 6, 0, seq}, {5, 6, 0, seq}}, "a tree");
      both.commit_path(seq, std::vector<int>{0, 2});
      const std::vector<Row> rows = both.chain(seq, Tokens{5, -1, -2});
      const std::vector<Want> want(rows.size(), Want::kLogits);
      both.expect_same(
          {.rows = rows, .layers = drafted.plan, .adapter = drafted.packed.get(), .kv = KvUse::kScratch, .want = want},
          "a draft pass, " + std::to_string(first) + " layers first");
      both.expect_same(both.chain(seq, Tokens{6}), "a row after it");
    }
  }
}

// Masks that ride in a full pass: LoRA on their rows alone.
TEST(CudaBackend, Riders) {
  const auto file = adapter_test::open_base("llama-q4_k");
  const int layers = read_model_config(*file).value().n_layers;
  const Drafted drafted("llama-q4_k", {layers, 0}, {.state = false, .bridge = false, .fused = true}, GGML_TYPE_F16);
  Both both(drafted.model, KvType::kF16);
  const SeqId seq = both.add_sequence();
  both.feed(seq, some_tokens(12, drafted.config.vocab_size, 12), {12});
  const std::vector<Row> rows = {
      {3, 12, -1, seq}, {4, 13, 0, seq}, {-1, 14, 1, seq}, {-1, 13, 0, seq}, {-2, 14, 3, seq}};
  const std::vector<Want> want(rows.size(), Want::kLogits);
  both.expect_same(
      {.rows = rows, .layers = both.all_layers(), .riders = drafted.packed.get(), .want = want, .want_hidden = true},
      "riders");
}

}  // namespace
}  // namespace s3d
