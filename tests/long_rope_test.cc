// LongRoPE: the set of rotations follows the length of the text, not the context that was asked for. A text that grows
// beyond the original length (256 in the tiny phi3) has all its keys computed again.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/index.h"
#include "engine/runtime.h"
#include "engine/speculation.h"

namespace s3d {
namespace {

using Tokens = std::vector<TokenId>;

constexpr int kOriginal = 256;

std::string model_path() {
  return std::string(S3D_SOURCE_DIR) + "/tests/data/models/phi3-f32.gguf";
}

std::unique_ptr<Runtime> open(int context, int sequences = 1, BackendKind backend = BackendKind::kCpu) {
  return Runtime::load({.model = model_path(),
                        .threads = 2,
                        .context = context,
                        .sequences = sequences,
                        .kv_type = KvType::kF32,
                        .backend = backend,
                        .max_rows = 48})
      .value();
}

// A text that repeats itself, so that drafts from the text are often right.
Tokens prompt_of(int n) {
  std::mt19937 random(11);
  Tokens period(37);
  for (TokenId& token : period) token = static_cast<TokenId>(260 + random() % 50);
  Tokens prompt;
  for (int i = 0; i < n; ++i) prompt.push_back(period[usize(i) % period.size()]);
  return prompt;
}

DecodeOptions options_for(int n, Speculator* speculator = nullptr) {
  return {.max_tokens = n, .is_end = [](TokenId) { return false; }, .speculator = speculator};
}

Tokens answer(Runtime& runtime, const KvSequence& seq, const Tokens& prompt, int n, Speculator* speculator = nullptr) {
  return runtime.generate(seq, prompt, options_for(n, speculator)).value().tokens;
}

// What the rule says: each token is that of a text of its length, run at once.
Tokens expected(Runtime& runtime, Tokens text, int n) {
  const size_t n_prompt = text.size();
  for (int i = 0; i < n; ++i) {
    const KvSequence seq = runtime.kv().add_sequence();
    text.push_back(answer(runtime, seq, text, 1).at(0));
  }
  return {text.begin() + n_prompt, text.end()};
}

TEST(LongRope, AShortTextDoesNotDependOnTheContext) {
  Tokens first;
  for (const int context : {256, 257, 512, 1024}) {
    const std::unique_ptr<Runtime> loaded = open(context);
    Runtime& runtime = *loaded;
    const Tokens tokens = answer(runtime, runtime.kv().add_sequence(), prompt_of(20), 40);
    if (first.empty()) first = tokens;
    EXPECT_EQ(tokens, first) << context;
  }
}

TEST(LongRope, TheSetIsThatOfTheTextsLength) {
  const std::unique_ptr<Runtime> loaded = open(512);
  Runtime& runtime = *loaded;
  for (const int n : {100, kOriginal - 1, kOriginal, kOriginal + 1, 300}) {
    const KvSequence seq = runtime.kv().add_sequence();
    answer(runtime, seq, prompt_of(n), 1);
    EXPECT_EQ(runtime.kv().rope_set(seq), n <= kOriginal ? RopeSet::kShort : RopeSet::kLong) << n;
  }
}

class LongRopeCrossing : public testing::TestWithParam<std::string> {};

// From well before the original length to well after it, with drafts of every kind.
TEST_P(LongRopeCrossing, ChangesNoToken) {
  const std::unique_ptr<Runtime> loaded = open(512, 4);
  Runtime& runtime = *loaded;
  const std::string drafter = GetParam() == "untrained" ? "s3d-untrained" : GetParam();
  int64_t accepted = 0;
  for (const int n : {kOriginal - 9, kOriginal - 2, kOriginal - 1, kOriginal, kOriginal + 1}) {
    const Tokens prompt = prompt_of(n);
    const Tokens right = expected(runtime, prompt, 24);
    for (const int rows : {0, 1, 3, 8}) {
      auto speculator = make_speculator(runtime, {.drafter = drafter, .draft_rows = rows, .draft_model = model_path()});
      ASSERT_TRUE(speculator.ok()) << speculator.error().message;
      const KvSequence seq = runtime.kv().add_sequence();
      const Generation g = runtime.generate(seq, prompt, options_for(24, speculator->get())).value();
      EXPECT_EQ(g.tokens, right) << n << " tokens, " << rows << " rows";
      EXPECT_EQ(runtime.kv().length(seq), n + 23);
      accepted += g.spec.num_accepted_tokens;
    }
  }
  if (GetParam() == "model") {  // the model itself drafts
    EXPECT_GT(accepted, 100);
  }
}

INSTANTIATE_TEST_SUITE_P(Drafters, LongRopeCrossing,
                         testing::Values("off", "lookup", "suffix", "layerskip", "untrained", "model"),
                         [](const auto& info) { return info.param; });

TEST(LongRope, SequencesOfABatchCrossOneByOne) {
  const std::unique_ptr<Runtime> loaded = open(512, 4);
  Runtime& runtime = *loaded;
  std::vector<BatchItem> items;
  std::vector<Tokens> right;
  for (const int n : {kOriginal - 20, kOriginal - 5, kOriginal + 3}) {
    right.push_back(expected(runtime, prompt_of(n), 16));
    items.push_back({.seq = runtime.kv().add_sequence(), .prompt = prompt_of(n), .options = options_for(16)});
  }
  const auto all = generate_batch(runtime.backend(), runtime.kv(), items);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].value().tokens, right[i]) << i;
}

// The cache of a sequence is used again for a longer text and for a shorter one, as a conversation does.
TEST(LongRope, KeysOfTheOtherSetAreNotUsedAgain) {
  const std::unique_ptr<Runtime> loaded = open(512, 2);
  Runtime& runtime = *loaded;
  const Tokens right_short = expected(runtime, prompt_of(200), 8), right_long = expected(runtime, prompt_of(280), 8);
  const KvSequence seq = runtime.kv().add_sequence();
  EXPECT_EQ(answer(runtime, seq, prompt_of(200), 8), right_short);
  runtime.kv().truncate(seq, 200);
  EXPECT_EQ(answer(runtime, seq, prompt_of(280), 8), right_long);
  runtime.kv().truncate(seq, 150);
  const Generation g = runtime.generate(seq, prompt_of(200), options_for(8)).value();
  EXPECT_EQ(g.tokens, right_short);
  EXPECT_EQ(g.timings.cached_tokens, 0);
}

TEST(LongRope, TheReferenceBackendAgrees) {
  const std::unique_ptr<Runtime> cpu = open(512), reference = open(512, 1, BackendKind::kReference);
  const Tokens prompt = prompt_of(kOriginal - 3);
  EXPECT_EQ(answer(*reference, reference->kv().add_sequence(), prompt, 8),
            answer(*cpu, cpu->kv().add_sequence(), prompt, 8));
}

}  // namespace
}  // namespace s3d
