// An EAGLE layer (docs/drafters.md) as a trained drafter.
#pragma once

#include "train/drafter.h"

namespace s3d::train {

// As first_drafter() and read_drafter().
Result<std::unique_ptr<TrainedDrafter>> first_eagle(const Recipe& recipe, const Inputs& in);
Result<std::unique_ptr<TrainedDrafter>> read_eagle(const Recipe& recipe, const BaseModel& base,
                                                   const std::string& path);

}  // namespace s3d::train
