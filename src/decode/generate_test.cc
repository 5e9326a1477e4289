#include "decode/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "base/index.h"
#include "decode/scripted_backend.h"

namespace s3d {
namespace {

constexpr int kContext = kScriptedContext;

class GenerateTest : public testing::Test {
 protected:
  GenerateTest() : kv_(KvCache::create(scripted_config(), KvType::kF32, 128).value()), seq_(kv_.add_sequence()) {}

  static std::vector<TokenId> expected(std::vector<TokenId> tokens, int n) {
    return ScriptedBackend::expected(std::move(tokens), n);
  }
  static std::vector<TokenId> prompt(int n) { return ScriptedBackend::prompt(n); }
  Result<Generation> run(const std::vector<int32_t>& p, const DecodeOptions& options, const OnToken& on_token = {}) {
    return generate(backend_, kv_, seq_, p, options, on_token);
  }

  ScriptedBackend backend_;
  KvCache kv_;
  KvSequence seq_;
};

TEST_F(GenerateTest, RunsThePromptInChunksAndThenRowByRow) {
  const std::vector<int32_t> p = prompt(19);
  const Generation g = run(p, {.max_tokens = 5}).value();
  EXPECT_EQ(g.tokens, expected(p, 5));
  EXPECT_EQ(g.reason, FinishReason::kLength);
  EXPECT_EQ(backend_.passes, (std::vector<size_t>{8, 8, 3, 1, 1, 1, 1}));
  EXPECT_EQ(kv_.length(seq_), 19 + 4);
  EXPECT_EQ(g.timings.prompt_tokens, 19);
  EXPECT_EQ(g.timings.cached_tokens, 0);
  EXPECT_EQ(g.timings.decoded_tokens, 4);
  EXPECT_GT(g.timings.prefill_tps(), 0);
  EXPECT_GT(g.timings.decode_tps(), 0);
}

TEST_F(GenerateTest, ASecondTurnRunsOnlyWhatIsNew) {
  std::vector<int32_t> p = prompt(10);
  const Generation first = run(p, {.max_tokens = 4}).value();
  p.insert(p.end(), first.tokens.begin(), first.tokens.end());
  p.push_back(3);
  backend_.seen.clear();
  const Generation second = run(p, {.max_tokens = 2}).value();
  EXPECT_EQ(second.tokens, expected(p, 2));
  EXPECT_EQ(second.timings.cached_tokens, 13);
  EXPECT_EQ(backend_.seen, (std::vector<int32_t>{first.tokens.back(), 3, second.tokens[0]}));
}

TEST_F(GenerateTest, AnEndTokenStopsAndIsNoPartOfTheAnswer) {
  const std::vector<int32_t> p = prompt(4);
  const std::vector<int32_t> all = expected(p, 10);
  std::vector<int32_t> shown;
  const auto on_token = [&](int32_t t) {
    shown.push_back(t);
    return Next::kContinue;
  };
  const DecodeOptions options{.max_tokens = 10, .is_end = [&](int32_t t) { return t == all[3]; }};
  const Generation g = run(p, options, on_token).value();
  EXPECT_EQ(g.tokens, std::vector<int32_t>(all.begin(), all.begin() + 3));
  EXPECT_EQ(shown, g.tokens);
  EXPECT_EQ(g.reason, FinishReason::kStop);
  EXPECT_EQ(finish_reason_name(g.reason), "stop");
}

TEST_F(GenerateTest, TheCallbackStopsOrCancels) {
  const std::vector<int32_t> p = prompt(4);
  int n = 0;
  const Generation stopped = run(p, {}, [&](int32_t) { return ++n == 3 ? Next::kStop : Next::kContinue; }).value();
  EXPECT_EQ(stopped.reason, FinishReason::kStop);
  EXPECT_EQ(stopped.tokens, expected(p, 3));
  kv_.truncate(seq_, 0);
  const Generation cancelled = run(p, {}, [](int32_t) { return Next::kCancel; }).value();
  EXPECT_EQ(cancelled.reason, FinishReason::kCancelled);
  EXPECT_EQ(cancelled.tokens, expected(p, 1));
}

TEST_F(GenerateTest, CancellingAPromptKeepsWhatWasRun) {
  const std::vector<int32_t> p = prompt(30);
  int asked = 0;
  const DecodeOptions options{.max_tokens = 3, .cancelled = [&] { return ++asked == 3; }};
  const Generation g = run(p, options).value();
  EXPECT_EQ(g.reason, FinishReason::kCancelled);
  EXPECT_TRUE(g.tokens.empty());
  EXPECT_EQ(kv_.length(seq_), 16);
  EXPECT_EQ(run(p, {.max_tokens = 3}).value().tokens, expected(p, 3));
}

TEST_F(GenerateTest, StopsExactlyAtTheContext) {
  const std::vector<int32_t> p = prompt(10);
  const Generation own = run(p, {.max_tokens = -1, .context = 16}).value();
  EXPECT_EQ(own.tokens, expected(p, 6));
  EXPECT_EQ(own.reason, FinishReason::kContext);
  kv_.truncate(seq_, 0);
  const Generation models = run(p, {.max_tokens = -1}).value();
  EXPECT_EQ(models.tokens.size(), usize(kContext - 10));
  EXPECT_EQ(models.reason, FinishReason::kContext);
}

TEST_F(GenerateTest, MaxTokensZeroOnlyRunsThePrompt) {
  const Generation g = run(prompt(9), {.max_tokens = 0}).value();
  EXPECT_TRUE(g.tokens.empty());
  EXPECT_EQ(g.reason, FinishReason::kLength);
  EXPECT_EQ(kv_.length(seq_), 9);
}

TEST_F(GenerateTest, ErrorsSayWhatIsWrong) {
  EXPECT_NE(run({}, {}).error().message.find("empty"), std::string::npos);
  const std::string too_long = run(prompt(120), {}).error().message;
  EXPECT_NE(too_long.find("120"), std::string::npos);
  EXPECT_NE(too_long.find("100"), std::string::npos);
  EXPECT_FALSE(run(prompt(16), {.context = 16}).ok());
  EXPECT_NE(run(prompt(3), {.max_tokens = -2}).error().message.find("-2"), std::string::npos);
  EXPECT_NE(run(prompt(3), {.sampler = {.top_p = 7}}).error().message.find("top-p"), std::string::npos);
  EXPECT_EQ(kv_.length(seq_), 0);
}

TEST_F(GenerateTest, APassThatFailsIsReportedAndLeavesTheCacheValid) {
  backend_.fail_at_position = 12;
  EXPECT_EQ(run(prompt(10), {}).error().message, "scripted failure");
  EXPECT_EQ(kv_.length(seq_), 12);
  backend_.fail_at_position = -1;
  kv_.truncate(seq_, 9);
  EXPECT_EQ(run(prompt(10), {.max_tokens = 4}).value().tokens, expected(prompt(10), 4));
}

TEST_F(GenerateTest, LogitsThatAreNoNumbersAreAnErrorThatNamesTheModel) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const float temperature : {0.0F, 1.0F}) {
      backend_.logits_after = [bad](TokenId token) {
        std::vector<float> logits(kScriptedVocab, 0.0F);
        logits[(token + 1) % kScriptedVocab] = 10;
        if (token == 23) logits[17] = bad;
        return logits;
      };
      int shown = 0;
      const auto count = [&shown](NewToken) { return ++shown, Next::kContinue; };
      DecodeOptions options{.sampler = {.temperature = temperature, .top_k = 1}, .model_name = "some.gguf"};
      // A bias, even one that forbids the token, does not hide it.
      options.sampler.logit_bias = {{17, -std::numeric_limits<float>::infinity()}};
      const auto answer = run({18, 19}, options, count);
      ASSERT_FALSE(answer.ok());
      EXPECT_NE(answer.error().message.find("some.gguf: the model's answer after 6 tokens"), std::string::npos);
      EXPECT_EQ(shown, 4);  // 20 to 23
      EXPECT_EQ(kv_.length(seq_), 5);
      kv_.truncate(seq_, 0);
    }
  }
}

// The other sequences of the pass go on as if nothing had happened, and nothing is pending.
TEST_F(GenerateTest, SuchLogitsEndTheirOwnSequenceOnly) {
  backend_.logits_after = [](TokenId token) {
    std::vector<float> logits(kScriptedVocab, 0.0F);
    logits[(token + 1) % kScriptedVocab] = 10;
    if (token == 3) logits[0] = std::numeric_limits<float>::quiet_NaN();
    return logits;
  };
  std::vector<BatchItem> items;
  items.push_back({.seq = std::move(seq_), .prompt = {1}, .options = {.max_tokens = 9}});
  items.push_back({.seq = kv_.add_sequence(), .prompt = {30}, .options = {.max_tokens = 9}});
  items.push_back({.seq = kv_.add_sequence(), .prompt = {}, .options = {.max_tokens = 9}});
  const std::vector<Result<Generation>> answers = generate_batch(backend_, kv_, items);
  EXPECT_NE(answers[0].error().message.find("no numbers"), std::string::npos);
  EXPECT_EQ(kv_.length(items[0].seq), 2);
  EXPECT_EQ(answers[1].value().tokens, (std::vector<TokenId>{31, 32, 33, 34, 35, 36, 37, 38, 39}));
  EXPECT_EQ(kv_.length(items[1].seq), 9);
  EXPECT_NE(answers[2].error().message.find("empty"), std::string::npos);
}

TEST_F(GenerateTest, SampledTextDependsOnTheSeedAndTheStreamOnly) {
  const DecodeOptions a{.sampler = {.temperature = 8, .seed = 5}, .max_tokens = 30};
  DecodeOptions b = a;
  b.stream = 1;
  const std::vector<int32_t> first = run(prompt(5), a).value().tokens;
  kv_.truncate(seq_, 2);  // another split into chunks
  EXPECT_EQ(run(prompt(5), a).value().tokens, first);
  kv_.truncate(seq_, 0);
  EXPECT_NE(run(prompt(5), b).value().tokens, first);
}

}  // namespace
}  // namespace s3d
