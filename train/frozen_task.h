// Training a drafter while the base stays as it is.
#pragma once

#include <memory>
#include <string>

#include "train/distributed.h"
#include "train/drafter.h"
#include "train/inputs.h"
#include "train/task.h"

namespace s3d::train {

// `recipe`, `group`, `in` and the records of its held-out text must outlive it; `drafter` is what the run starts with.
// Stores drafter_path(recipe). Errors: those of RecordStore::build.
Result<std::unique_ptr<Task>> make_frozen_task(const Recipe& recipe, const Group& group, const Inputs& in,
                                               const RecordStore& held_out_records,
                                               std::unique_ptr<TrainedDrafter> drafter);

}  // namespace s3d::train
