// One run from its first or any later step to its end: the loop that all forms of training share, its measurements and
// its checkpoints.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/dataset.h"
#include "train/distributed.h"
#include "train/recipe.h"
#include "train/report.h"
#include "train/task.h"

namespace s3d::train {

struct RunResult {
  bool finished = false;  // false: stopped early, to be resumed by the same call
  int64_t steps = 0;
  double best = 0;                // best held-out tokens per round
  std::vector<CurvePoint> curve;  // from step 0 on
};

// Trains `task` on the anchors of `data` by `recipe`, and stores it whenever the held-out acceptance is the best so
// far. Leaves checkpoint, curve.csv, curve.svg and recipe.txt in recipe.out, and goes on from the checkpoint there if
// it is of the same `settings`. `title`: of the plot. Errors: those of the task; a loss that is not finite, or a full
// disk (the last good checkpoint and what was stored stay); a checkpoint of other settings.
Result<RunResult> run_task(const Recipe& recipe, Group& group, const Dataset& data, const std::string& settings,
                           const std::string& title, Task& task);

}  // namespace s3d::train
