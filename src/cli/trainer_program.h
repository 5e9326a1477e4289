// The trainer, s3d-train: a program of its own, which an installation may have or not.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace s3d::cli {

// Runs s3d-train with these arguments, from the folder of this program or else by $PATH, and waits for it. What it
// prints goes where this program's goes. Its exit code; 128 + N: signal N ended it. Error: it is not there.
Result<int> run_trainer(const std::vector<std::string>& arguments);

}  // namespace s3d::cli
