// Training an adapter: the loop, its measurements and its checkpoints.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/anchors.h"
#include "train/base_model.h"
#include "train/checkpoint.h"
#include "train/context_store.h"
#include "train/dataset.h"
#include "train/distributed.h"
#include "train/evaluate.h"
#include "train/recipe.h"
#include "train/report.h"

namespace s3d::train {

struct TrainingResult {
  bool finished = false;  // false: stopped early, to be resumed by the same call
  int64_t steps = 0;
  double best = 0;    // best held-out tokens per round
  Acceptance stored;  // held-out acceptance of the adapter as it was written (rounded to its type)
};

// Trains by `recipe` and leaves in recipe.out: adapter.gguf (the best by held-out acceptance), checkpoint, curve.csv,
// curve.svg and recipe.txt. Goes on from the checkpoint there, if it is of the same settings. Errors: bad input or
// files; not enough memory; a loss that is not finite, or a full disk (the last good checkpoint and adapter stay).
Result<TrainingResult> train_adapter(Recipe recipe, Group& group);

// Acceptance of the adapter `path` on `recipe.held_out_data` (or recipe.data, if that is empty).
Result<Acceptance> measure_adapter(Recipe recipe, const std::string& path);

// "2.043 tokens a round (0.61 0.52 …)"
std::string acceptance_text(const Acceptance& acceptance);

// Moves `count` sequences (at most a tenth), chosen by `seed`, from `data` to a new dataset.
Dataset split_held_out(Dataset& data, int count, uint64_t seed);

}  // namespace s3d::train
