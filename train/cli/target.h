// The target of the subcommands that read its file, but do not train.
#pragma once

#include <string>

#include "base/result.h"
#include "file/gguf.h"
#include "model/adapter.h"
#include "model/config.h"

namespace CLI {
class App;
}

namespace s3d::train {

// -m, --model.
void add_target_option(CLI::App& command, std::string& model);

// Its file, without its weights.
struct Target {
  GgufFile file;
  ModelConfig config;

  Result<Adapter> open_adapter(const std::string& path) const;  // one that was made for it
};

// `model`: a GGUF file, or the name of a model in the cache. Errors: there is none; not a model that is known.
Result<Target> open_target(const std::string& model);

}  // namespace s3d::train
