// Completion scripts for shells, made from the option tree, so that they cannot lag behind it.
#pragma once

#include <string>

#include "base/result.h"

namespace s3d::cli {

// The script for "bash", "zsh" or "fish", made from the option tree. Error: another shell.
Result<std::string> completion_script(const std::string& shell);

}  // namespace s3d::cli
