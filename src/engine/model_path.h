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

// The model of someone who names none, and why it is that one.
struct DefaultModel {
  std::string name;
  std::string reason;  // "the only model in the cache folder"
};

// The only model in the cache folder; of several the one of the demo (scripts/demo), if it is there.
// Error: none can be chosen; lists what the cache folder holds.
Result<DefaultModel> default_model();

// The file for what a person wrote: an existing file's path as it is, else `<cache folder>/models/NAME.gguf` or, as a
// hub's files lie there, `<cache folder>/models/USER/REPO/FILE`.
// Error: neither exists; lists the models that do.
Result<std::string> find_model(const std::string& name_or_path);

}  // namespace s3d
