// A model whose answers are known without a model: for tests of loops.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/index.h"
#include "s3d/types.h"

namespace s3d {

constexpr int kScriptedVocab = 50;
constexpr int kScriptedContext = 100;

inline ModelConfig scripted_config() {
  ModelConfig config{};
  config.n_layers = 2;
  config.d_model = 64;
  config.n_heads = config.n_kv_heads = 1;
  config.head_dim = 64;
  config.vocab_size = kScriptedVocab;
  config.context_length = kScriptedContext;
  return config;
}

// Answers token t at position p with (t + p) mod kScriptedVocab, or as `logits_after` says, and keeps what its passes
// were.
class ScriptedBackend : public Backend {
 public:
  Result<PassOutput> run(const Block& block, KvCache& kv) override {
    if (fail_at_position >= 0 && block.rows.back().position >= fail_at_position) return Error{"scripted failure"};
    std::vector<int> per_sequence;
    for (const Row& row : block.rows) {
      per_sequence.resize(std::max(per_sequence.size(), usize(row.seq) + 1));
      ++per_sequence[row.seq];
    }
    for (size_t seq = 0; seq < per_sequence.size(); ++seq) {
      if (per_sequence[seq] > 0) S3D_TRY(kv.reserve(static_cast<SeqId>(seq), per_sequence[seq]));
    }
    passes.push_back(block.rows.size());
    logits_.clear();
    hidden_.clear();
    for (size_t i = 0; i < block.rows.size(); ++i) {
      const Row& row = block.rows[i];
      const int before = row.parent < 0 ? kv.length(row.seq) - 1 : block.rows[row.parent].position;
      EXPECT_EQ(row.position, before + 1);
      seen.push_back(row.token);
      if (block.want.empty() ? i + 1 == block.rows.size() : block.want[i] == Want::kLogits) answer(row);
    }
    EXPECT_EQ(block.layers.first, 2);
    return PassOutput{.logits = logits_, .hidden = block.want_hidden ? hidden_ : std::span<const float>{}};
  }

  void add_markov(const PackedAdapter&, std::span<const int32_t>, std::span<float>, std::span<float>) override {}

  static TokenId next(TokenId token, int position) { return (token + position) % kScriptedVocab; }
  // What greedy decoding answers to `tokens`, n tokens of it.
  static std::vector<TokenId> expected(std::vector<TokenId> tokens, int n) {
    const size_t n_prompt = tokens.size();
    for (int i = 0; i < n; ++i) tokens.push_back(next(tokens.back(), isize(tokens) - 1));
    return {tokens.begin() + n_prompt, tokens.end()};
  }
  static std::vector<TokenId> prompt(int n) {
    std::vector<int32_t> out;
    for (int i = 0; i < n; ++i) out.push_back((i * 7) % kScriptedVocab);
    return out;
  }

  const ModelConfig& config() const override { return config_; }
  int max_rows() const override { return most_rows; }
  std::string_view name() const override { return "scripted"; }
  size_t weight_bytes() const override { return 0; }
  size_t scratch_bytes() const override { return 0; }

  std::function<std::vector<float>(TokenId token)> logits_after;  // if set: the logits of a row with `token`
  int most_rows = 8;
  int fail_at_position = -1;
  std::vector<size_t> passes;
  std::vector<int32_t> seen;

 private:
  // The hidden state of a row is its token and its position.
  void answer(const Row& row) {
    std::vector<float> logits(kScriptedVocab, 0.0F);
    logits[next(row.token, row.position)] = 10;
    if (logits_after) logits = logits_after(row.token);
    logits_.insert(logits_.end(), logits.begin(), logits.end());
    hidden_.resize(hidden_.size() + usize(config_.d_model), 0.0F);
    hidden_[hidden_.size() - usize(config_.d_model)] = static_cast<float>(row.token);
    hidden_[hidden_.size() - usize(config_.d_model) + 1] = static_cast<float>(row.position);
  }

  ModelConfig config_ = scripted_config();
  std::vector<float> logits_, hidden_;
};

}  // namespace s3d
