#include "decode/top_choices.h"

#include <algorithm>
#include <cmath>

#include "base/softmax.h"

namespace s3d {

std::vector<Choice> top_choices(std::span<float> logits, int count) {
  std::vector<Choice> out;
  const float largest = softmax::largest_of(logits);
  if (!std::isfinite(largest)) return out;
  const float sum = softmax::sum_of_exp(logits, largest);
  for (int i = 0; i < count; ++i) {
    const float top = i == 0 ? largest : softmax::largest_of(logits);
    if (!(top > softmax::kMinusInfinity)) break;
    const auto at = std::find(logits.begin(), logits.end(), top) - logits.begin();
    logits[static_cast<size_t>(at)] = softmax::kMinusInfinity;
    out.push_back({static_cast<int>(at), softmax::exp_nonpositive(top - largest) / sum});
  }
  return out;
}

}  // namespace s3d
