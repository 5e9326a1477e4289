// The mean of two adapters of one training: what the last run learned and what it forgot, halfway.
#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"
#include "model/adapter.h"

namespace s3d::train {

// The bytes of an adapter whose trained numbers are (1 - share) first + share second, stored in the types of `first`,
// whose n-grams are kept. Its training costs what both cost together, and nothing is said of it unless both files do.
// It helps where `second` began from `first`, since two adapters with the same past lie in one valley of the loss
// ("model soups", arXiv 2203.05482); two that began apart have nothing to average. Errors: other draft layers, masks or
// draft vocabulary, tensors that only one of them has or whose shapes differ, a share outside [0, 1].
Result<std::vector<std::byte>> average_adapters(const Adapter& first, const Adapter& second, double share);

}  // namespace s3d::train
