// From logits to a token: a pure function of (logits, settings, history, seed, sequence, position).
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"

namespace s3d {

// Names and defaults as llama.cpp's and vLLM's users know them. The order of the steps: bias, penalties, then
// (temperature 0: argmax) top-k, top-p, min-p on the probabilities at temperature 1, temperature, draw. Each filter
// looks at the probabilities of what the one before it left, scaled to sum to one.
struct SamplerOptions {
  float temperature = 0.0F;         // 0 = greedy
  int top_k = 0;                    // 0 = off
  float top_p = 1.0F;               // 1 = off
  float min_p = 0.0F;               // 0 = off
  float repetition_penalty = 1.0F;  // 1 = off; divides positive and multiplies negative logits of tokens seen
  float presence_penalty = 0.0F;    // subtracted once from tokens seen
  float frequency_penalty = 0.0F;   // subtracted for every time that a token was seen
  int penalty_last_n = 64;          // how many of the last tokens count as seen; -1 = all, 0 = off
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // token, added value; -inf forbids the token
  uint64_t seed = 0;

  Status check(int vocab_size) const;  // ranges; the message names the setting, the range and the value
};

// Thread rule: all methods are const and keep their scratch in a Workspace; one workspace per thread.
class Sampler {
 public:
  struct Candidate {
    float logit;
    float weight;  // exp(logit - largest logit): the probability up to a factor
    int32_t token;
  };

  // Buffers that sample() reuses from call to call.
  struct Workspace {
    std::vector<float> logits;          // [vocab] after bias and penalties
    std::vector<float> weights;         // [vocab]
    std::vector<Candidate> candidates;  // what the filters left
    std::vector<Candidate> scratch;
    std::vector<int32_t> counts;  // [vocab] all zero between calls
    bool finite = true;           // whether all logits of the last call were finite numbers, before any bias
  };

  explicit Sampler(SamplerOptions settings) : settings_(std::move(settings)) {}

  // The token at `position` of sequence number `stream`, given that sequence's earlier tokens (prompt and answer).
  // Ties go to the smaller id. NaN counts as minus infinity; when nothing is finite, token 0. `logits`: [vocab], not
  // empty, not changed. History tokens and biases outside of the vocabulary are ignored.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t stream, int position,
                 Workspace& workspace) const;
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t stream, int position) const;

  // Probabilities over the vocabulary from which sample() draws (greedy: all on one token): for tests and logprobs.
  std::vector<float> probabilities(std::span<const float> logits, std::span<const int32_t> history) const;

  const SamplerOptions& settings() const { return settings_; }

 private:
  bool changes_logits() const;
  bool filters() const;
  std::span<const float> adjusted(std::span<const float> logits, std::span<const int32_t> history, Workspace& ws) const;
  void apply_penalties(std::span<const int32_t> history, Workspace& ws) const;
  // Fills ws.candidates with what top-k, top-p and min-p leave, weighed at the temperature.
  void filter(std::span<const float> logits, float largest, Workspace& ws) const;

  SamplerOptions settings_;
};

// The uniform number in [0, 1) that the token at (seed, stream, position) is drawn with: a counter-based generator
// (Philox 4x32-10), so that no draw depends on how many were made before.
double keyed_uniform(uint64_t seed, uint64_t stream, int position);

}  // namespace s3d
