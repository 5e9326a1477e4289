// The most likely tokens by a row of logits: what drafts without an adapter have in common.
#pragma once

#include <span>
#include <vector>

namespace s3d {

struct Choice {
  int index;          // in the row of logits
  float probability;  // of its softmax
};

// The `count` most likely ones, the best first; of equal ones, the first. Fewer where there are fewer finite logits;
// none where the largest is not finite. `logits` is used up: what was chosen is minus infinity in it.
std::vector<Choice> top_choices(std::span<float> logits, int count);

}  // namespace s3d
