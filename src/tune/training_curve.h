// What a training said of its drafts: the table that s3d-train writes while it trains.
#pragma once

#include <string>

#include "base/result.h"
#include "tune/tune.h"

namespace s3d::tune {

// "3+9=FILE.csv" (a draft pass of these layers) or "fused=FILE.csv": the columns acceptance_1, acceptance_2, … of the
// last line. The file does not tell how many drafts were compared: 500 at the first depth are taken, and as many as
// came that far behind it. Errors: another form, no such file, no such columns, rates that are none.
Result<TrainedRate> read_training(const std::string& text);

}  // namespace s3d::tune
