#include "decode/top_choices.h"

#include <algorithm>
#include <cmath>

#include "backend/token_choice.h"
#include "base/softmax.h"

namespace s3d {

std::vector<Choice> top_choices(std::span<const float> logits, int count) {
  const ChoiceAsk ask = {.best = std::clamp(count, 1, ChoiceAsk::kMost), .sums = true};
  Choices chosen;
  chosen.resize(1, ask);
  choose_row(logits, ask, 0, chosen);
  std::vector<Choice> out;
  const float largest = chosen.tokens[0].logit;
  if (!std::isfinite(largest)) return out;
  for (const RankedToken& token : chosen.tokens) {
    if (token.token < 0) break;
    out.push_back({token.token, softmax::exp_nonpositive(token.logit - largest) / chosen.sums[0]});
  }
  return out;
}

}  // namespace s3d
