// Probabilities of tokens, as a user is told them: of the unmodified logits, at temperature 1.
#pragma once

#include <span>
#include <vector>

#include "decode/generate.h"

namespace s3d {

// log(sum(exp(logits))): a token's logprob is its logit less that. `logits`: [vocab], not empty, finite.
double log_sum_exp(std::span<const float> logits);

// The `count` most probable tokens, most probable first, of equal ones the smaller id first; fewer where the
// others cannot be: their logits are minus infinity. `count`: 0 or more.
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, double log_sum, int count);

}  // namespace s3d
