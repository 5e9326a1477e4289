#include "decode/logprobs.h"

#include <algorithm>
#include <cmath>

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
  std::vector<TokenId> order;  // a heap whose front is the least probable of the best
  const auto better = [&](TokenId a, TokenId b) {
    return logits[usize(a)] != logits[usize(b)] ? logits[usize(a)] > logits[usize(b)] : a < b;
  };
  for (TokenId token = 0; token < isize(logits) && count > 0; ++token) {
    if (isize(order) == count) {
      if (!better(token, order.front())) continue;
      std::pop_heap(order.begin(), order.end(), better);
      order.pop_back();
    }
    order.push_back(token);
    std::push_heap(order.begin(), order.end(), better);
  }
  std::sort_heap(order.begin(), order.end(), better);
  std::vector<TokenLogprob> top;
  for (const TokenId token : order) {
    top.push_back({token, static_cast<float>(static_cast<double>(logits[usize(token)]) - log_sum)});
  }
  return top;
}

}  // namespace s3d
