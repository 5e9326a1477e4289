// The most likely tokens by a row of logits: what drafts without an adapter have in common.
#pragma once

#include <span>
#include <vector>

namespace s3d {

struct Choice {
  int index;          // in the row of logits
  float probability;  // of its softmax
};

// The `count` most likely ones (1 to ChoiceAsk::kMost), the best first; of equal ones, the first. Fewer where there are
// fewer logits above minus infinity; none where the largest is not finite.
std::vector<Choice> top_choices(std::span<const float> logits, int count);

}  // namespace s3d
