// The definition of perplexity, on a backend whose logits are a formula.
#include "decode/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/index.h"

namespace s3d {
namespace {

constexpr int kVocab = 20, kContext = 64;

double formula(TokenId token, int position, int next) {
  return 3 * std::sin(0.37 * token + 0.7 * next + 0.05 * position);
}

// Logits depend on a row's token and position only. Checks that rows arrive in order, window after window.
class FormulaBackend : public Backend {
 public:
  FormulaBackend() : config_{} {
    config_.family = "llama";
    config_.n_layers = 1;
    config_.n_heads = config_.n_kv_heads = 1;
    config_.d_model = config_.head_dim = 8;
    config_.vocab_size = kVocab;
    config_.context_length = kContext;
  }

  Result<PassOutput> run(const Block& block, KvCache& kv) override {
    if (fail) return Error{"the pass failed"};
    const SeqId seq = block.rows[0].seq;
    S3D_TRY(kv.reserve(seq, isize(block.rows)));
    EXPECT_LE(block.rows.size(), usize(max_rows()));
    logits_.clear();
    for (size_t i = 0; i < block.rows.size(); ++i) {
      const Row& row = block.rows[i];
      EXPECT_EQ(row.position, kv.length(seq) + static_cast<int>(i));
      EXPECT_EQ(row.parent, static_cast<int>(i) - 1);
      if (row.position == 0) first_tokens.push_back(row.token);
      if (block.want[i] == Want::kNothing) continue;
      for (int next = 0; next < kVocab; ++next) {
        logits_.push_back(static_cast<float>(formula(row.token, row.position, next)));
      }
    }
    return PassOutput{logits_, {}};
  }
  void add_markov(const PackedAdapter&, std::span<const int32_t>, std::span<float>, std::span<float>) override {}
  const ModelConfig& config() const override { return config_; }
  int max_rows() const override { return 7; }
  std::string_view name() const override { return "formula"; }
  size_t weight_bytes() const override { return 0; }
  size_t scratch_bytes() const override { return 0; }

  bool fail = false;
  std::vector<int32_t> first_tokens;  // of each window

 private:
  ModelConfig config_;
  std::vector<float> logits_;
};

class Perplexity : public testing::Test {
 protected:
  void SetUp() override {
    auto kv = KvCache::create(backend.config(), KvType::kF32, kContext);
    ASSERT_TRUE(kv.ok()) << kv.error().message;
    cache.emplace(std::move(kv).value());
    for (int i = 0; i < 70; ++i) text.push_back((i * i + 3 * i) % kVocab);
  }

  // By the definition in perplexity.h, with nothing shared with the code.
  double by_definition(int window, TokenId bos) const {
    double sum = 0;
    int count = 0;
    for (size_t start = 0; start + usize(window) <= text.size(); start += usize(window)) {
      for (int i = window / 2 + 1; i < window; ++i) {
        const int32_t given = i == 1 && bos >= 0 ? bos : text[start + usize(i) - 1];
        double total = 0;
        for (int next = 0; next < kVocab; ++next) total += std::exp(formula(given, i - 1, next));
        sum -= std::log(std::exp(formula(given, i - 1, text[start + usize(i)])) / total);
        ++count;
      }
    }
    return std::exp(sum / count);
  }

  FormulaBackend backend;
  std::optional<KvCache> cache;
  std::vector<TokenId> text;
};

TEST_F(Perplexity, IsTheDefinition) {
  for (const int window : {4, 5, 16, 32, 64}) {
    const auto result = perplexity(backend, *cache, text, {.window = window});
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_NEAR(result->perplexity, by_definition(window, -1), 1e-5) << window;
    EXPECT_EQ(result->windows, 70 / window);
    EXPECT_EQ(result->scored_tokens, result->windows * (window - window / 2 - 1));
    EXPECT_GT(result->standard_error, 0);
    EXPECT_EQ(cache->used(), 0) << "the sequence is removed";
  }
}

TEST_F(Perplexity, BosTakesThePlaceOfEachFirstToken) {
  ASSERT_TRUE(perplexity(backend, *cache, text, {.window = 32, .bos = 19}).ok());
  EXPECT_EQ(backend.first_tokens, (std::vector<int32_t>{19, 19}));
  backend.first_tokens.clear();
  ASSERT_TRUE(perplexity(backend, *cache, text, {.window = 32}).ok());
  EXPECT_EQ(backend.first_tokens, (std::vector<int32_t>{text[0], text[32]}));
}

TEST_F(Perplexity, ReportsProgressAndStopsWhenToldTo) {
  int calls = 0;
  PerplexityOptions options{.window = 16};
  options.progress = [&](const PerplexityResult& so_far, int total) {
    EXPECT_EQ(so_far.windows, ++calls);
    EXPECT_EQ(total, 4);
    return calls < 2;
  };
  const auto result = perplexity(backend, *cache, text, options);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(calls, 2);
  EXPECT_NE(result.error().message.find("stopped after 2 of 4"), std::string::npos) << result.error().message;
}

TEST_F(Perplexity, RefusesWhatCannotBeMeasured) {
  const auto message = [&](std::span<const TokenId> tokens, const PerplexityOptions& options) {
    const auto result = perplexity(backend, *cache, tokens, options);
    return result.ok() ? "no error" : result.error().message;
  };
  EXPECT_NE(message(text, {.window = 128}).find("expected 4 to 64"), std::string::npos);
  EXPECT_NE(message(text, {.window = 3}).find("window of 3"), std::string::npos);
  EXPECT_NE(message(std::span(text).first(31), {.window = 32}).find("has 31 tokens"), std::string::npos);
  EXPECT_NE(message(text, {.window = 32, .bos = kVocab}).find("vocabulary of 20"), std::string::npos);
  backend.fail = true;
  EXPECT_EQ(message(text, {.window = 32}), "the pass failed");
  EXPECT_EQ(cache->used(), 0);
}

}  // namespace
}  // namespace s3d
