// From logits to a token: a pure function of (logits, settings, history, seed, sequence, position).
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/token_choice.h"
#include "base/result.h"
#include "s3d/options.h"

namespace s3d {

// Thread rule: all methods are const and keep their scratch in a Workspace; one workspace per thread.
class Sampler {
 public:
  struct Candidate {
    float logit;
    float weight;  // exp(logit - largest logit): the probability up to a factor
    TokenId token;
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
  // empty, not changed. History tokens and biases outside of the vocabulary are ignored. `allowed`: empty, or a bit for
  // each token as in Constraint::allowed(), at least one of them set: the others are as if their logits were minus
  // infinity.
  TokenId sample(std::span<const float> logits, std::span<const TokenId> history, uint64_t stream, int position,
                 Workspace& workspace, std::span<const uint32_t> allowed = {}) const;
  TokenId sample(std::span<const float> logits, std::span<const TokenId> history, uint64_t stream, int position) const;

  // How many of a row's best tokens decide what sample() gives, where no constraint restricts them; 0: all tokens may.
  int needed_best() const;
  // sample() of a row of which only those are given, best first: at least needed_best() of them, or all that there are.
  TokenId sample_best(std::span<const RankedToken> best, uint64_t stream, int position, Workspace& workspace) const;

  // Probabilities over the vocabulary from which sample() draws (greedy: all on one token): for tests.
  std::vector<float> probabilities(std::span<const float> logits, std::span<const TokenId> history) const;

  const SamplerOptions& settings() const { return settings_; }

 private:
  bool changes_logits() const;
  bool filters() const;
  std::span<const float> adjusted(std::span<const float> logits, std::span<const TokenId> history,
                                  std::span<const uint32_t> allowed, Workspace& ws) const;
  void apply_penalties(std::span<const TokenId> history, Workspace& ws) const;
  // Fills ws.candidates with what top-k, top-p and min-p leave, weighed at the temperature.
  void filter(std::span<const float> logits, float largest, Workspace& ws) const;
  // The same of candidates that top-k left, best first.
  void filter_top(float largest, Workspace& ws) const;
  // What of top-p and min-p is left to do, given the weight of all that they choose from; then weighs the candidates.
  void filter_rest(double total, float largest, Workspace& ws) const;

  SamplerOptions settings_;
};

// The uniform number in [0, 1) that the token at (seed, stream, position) is drawn with: a counter-based generator
// (Philox 4x32-10), so that no draw depends on how many were made before.
double keyed_uniform(uint64_t seed, uint64_t stream, int position);

}  // namespace s3d
