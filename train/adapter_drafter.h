// S3D's adapter as a trained drafter.
#pragma once

#include "train/drafter.h"

namespace s3d::train {

// As first_drafter() and read_drafter().
Result<std::unique_ptr<TrainedDrafter>> first_adapter(const Recipe& recipe, const Inputs& in);
Result<std::unique_ptr<TrainedDrafter>> read_adapter(const Recipe& recipe, const BaseModel& base,
                                                     const std::string& path);

}  // namespace s3d::train
