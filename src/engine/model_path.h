// Where models lie on this machine.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace s3d {

// The folder of everything that S3D keeps between runs: $S3D_CACHE, else $XDG_CACHE_HOME/s3d, else ~/.cache/s3d.
// The environment is read here and nowhere else for this purpose. May not exist yet.
std::string cache_folder();

// Names of the models in `<cache folder>/models` (files NAME.gguf, without the ending), sorted.
std::vector<std::string> cached_models();

// The file for what a person wrote: an existing file's path as it is, else `<cache folder>/models/NAME.gguf` or, as a
// hub's files lie there, `<cache folder>/models/USER/REPO/FILE`.
// Error: neither exists; lists the models that do.
Result<std::string> find_model(const std::string& name_or_path);

}  // namespace s3d
