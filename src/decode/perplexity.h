// Perplexity of a text under a model, defined as llama.cpp's `llama-perplexity` defines it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "backend/backend.h"
#include "base/result.h"
#include "s3d/types.h"

namespace s3d {

struct PerplexityResult {
  double perplexity = 0;      // exp(mean negative log-likelihood)
  double standard_error = 0;  // of the perplexity, from the spread of the tokens' log-likelihoods
  int64_t scored_tokens = 0;
  int windows = 0;
};

struct PerplexityOptions {
  int window = 512;  // tokens, at least 4; at most the model's context
  TokenId bos = -1;  // for models whose texts begin with a BOS token: that token; else -1

  // Called after each window with the result so far; `windows` of `total` are done. False stops with an error.
  std::function<bool(const PerplexityResult& so_far, int total)> progress;
};

// The text is cut into windows that do not overlap; a rest that fills no window is left out. Each window starts from an
// empty cache, with `bos`, if given, in place of its first token. Token i of a window is scored, given the ones
// before it, for window / 2 < i < window. (`tokens` is expected to begin with BOS itself where the model wants one.)
// Uses a sequence of its own in `kv`, which needs room for one window, and removes it.
// Errors: fewer tokens than a window, a window larger than the context, and those of Backend::run.
Result<PerplexityResult> perplexity(Backend& backend, KvCache& kv, std::span<const TokenId> tokens,
                                    const PerplexityOptions& options);

}  // namespace s3d
