// Counts what a model often says, for the n-gram table of its adapter (docs/adapter.md).
#pragma once

#include <cstddef>

#include "model/adapter.h"
#include "train/dataset.h"

namespace s3d::train {

struct NgramOptions {
  int least = 3;        // times that two tokens must have been followed by the same one
  size_t most = 12000;  // entries; those that speak most often are kept
};

// Entries for one token and for two, where two say something else, or are much surer, than the last of them alone. Only
// answers count. Each chance is how often entries that looked as sure were right on every tenth sequence, which was
// left out of the count for that. Empty if nothing comes often enough.
Ngrams count_ngrams(const Dataset& data, const NgramOptions& options);

// Share of the answers' tokens that the table guesses right, whatever it thinks of its guess.
double hit_rate(const Dataset& data, const Ngrams& ngrams);

}  // namespace s3d::train
