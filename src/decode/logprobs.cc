#include "decode/logprobs.h"

#include <cmath>

#include "backend/token_choice.h"
#include "base/index.h"
#include "base/softmax.h"

namespace s3d {

double log_sum_exp(std::span<const float> logits) {
  const auto largest = static_cast<double>(softmax::largest_of(logits));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, double log_sum, int count) {
  std::vector<RankedToken> best(usize(count));
  take_best(logits, best);
  std::vector<TokenLogprob> top;
  for (const auto& [token, logit] : best) {
    if (token >= 0) top.push_back({token, static_cast<float>(static_cast<double>(logit) - log_sum)});
  }
  return top;
}

}  // namespace s3d
