// Training an adapter while the base stays as it is.
#pragma once

#include <memory>
#include <string>

#include "train/distributed.h"
#include "train/inputs.h"
#include "train/task.h"

namespace s3d::train {

// `in` and the records of its held-out text must outlive it; `params` is what the run starts with. Stores
// adapter_path(recipe). Errors: those of RecordStore::build.
Result<std::unique_ptr<Task>> make_adapter_task(const Recipe& recipe, const Group& group, const Inputs& in,
                                                const RecordStore& held_out_records, DraftParams params);

// Where a run leaves its adapter.
std::string adapter_path(const Recipe& recipe);

}  // namespace s3d::train
