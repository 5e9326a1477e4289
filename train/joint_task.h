// Training the draft layers together with an adapter.
#pragma once

#include <memory>
#include <string>

#include "train/distributed.h"
#include "train/inputs.h"
#include "train/task.h"

namespace s3d::train {

// Where a run leaves its pair. The adapter has a name by which the engine finds it beside the base.
std::string joint_base_path(const Recipe& recipe);
std::string joint_adapter_path(const Recipe& recipe);

// Trains `in.base`, which must stay where it is, and `params`, what the run starts with. Stores both files, the base
// first: a run that is stopped between them leaves an adapter that the new base refuses, until it is resumed. Errors:
// those of TrainedLayers::create.
Result<std::unique_ptr<Task>> make_joint_task(const Recipe& recipe, const Group& group, Inputs& in, DraftParams params);

}  // namespace s3d::train
