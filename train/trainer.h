// Training from a recipe to its files: a drafter, or an adapter with the layers it runs.
#pragma once

#include <string>

#include "base/result.h"
#include "train/distributed.h"
#include "train/evaluate.h"
#include "train/recipe.h"
#include "train/report.h"
#include "train/run.h"

namespace s3d::train {

struct TrainingResult {
  RunResult run;
  HeldOut stored;  // of the files as they were written, if the run is finished; on rank 0 only
};

// Trains the drafter that `recipe` is for while the base stays as it is, and leaves in recipe.out: drafter_path() (the
// best by held-out acceptance), checkpoint, curve.csv, curve.svg and recipe.txt. Goes on from the checkpoint there, if
// it is of the same settings. Errors: bad input or files; not enough memory; a loss that is not finite, or a full disk
// (the last good checkpoint and drafter stay).
Result<TrainingResult> train_drafter(Recipe recipe, Group& group);

// The same for a recipe with a joint part: base.gguf and base.adapter.gguf instead of the drafter, and, when it is
// finished, report.json (joint_report).
Result<TrainingResult> train_joint(Recipe recipe, Group& group);

// What a finished joint run came to, as JSON: the files, and perplexity of the base, share of its greedy choices and
// tokens a round on held-out text, before (step 0) and after (of the files).
std::string joint_report(const Recipe& recipe, const TrainingResult& result);

// Acceptance of the drafter in the file `path` on `recipe.held_out_data` (or recipe.data, if that is empty).
Result<Acceptance> measure_drafter(Recipe recipe, const std::string& path);

}  // namespace s3d::train
