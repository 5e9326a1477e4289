#include "train/cli/target.h"

#include <CLI/CLI.hpp>

#include "engine/model_path.h"
#include "model/fingerprint.h"

namespace s3d::train {

void add_target_option(CLI::App& command, std::string& model) {
  command.add_option("-m,--model", model, "the target: a GGUF file, or the name of a model in the cache")->required();
}

Result<Adapter> Target::open_adapter(const std::string& path) const {
  S3D_ASSIGN(GgufFile opened, GgufFile::open(path));
  return s3d::open_adapter(std::make_shared<const GgufFile>(std::move(opened)), config, base_fingerprint(file));
}

Result<Target> open_target(const std::string& model) {
  S3D_ASSIGN(const std::string path, find_model(model));
  S3D_ASSIGN(GgufFile file, GgufFile::open(path));
  S3D_ASSIGN(ModelConfig config, read_model_config(file));
  return Target{std::move(file), std::move(config)};
}

}  // namespace s3d::train
