#include "train/drafter.h"

#include "model/drafter_file.h"
#include "train/adapter_drafter.h"
#include "train/eagle_drafter.h"
#include "train/medusa_drafter.h"

namespace s3d::train {

Result<std::unique_ptr<TrainedDrafter>> first_drafter(const Recipe& recipe, const Inputs& in) {
  if (recipe.eagle) return first_eagle(recipe, in);
  if (recipe.medusa) return first_medusa(recipe, in);
  return first_adapter(recipe, in);
}

Result<std::unique_ptr<TrainedDrafter>> read_drafter(const Recipe& recipe, const BaseModel& base,
                                                     const std::string& path) {
  if (recipe.eagle) return read_eagle(recipe, base, path);
  if (recipe.medusa) return read_medusa(recipe, base, path);
  return read_adapter(recipe, base, path);
}

Status take_kind(const std::string& path, Recipe& recipe) {
  S3D_ASSIGN(const GgufFile file, GgufFile::open(path));
  S3D_ASSIGN(const DrafterHeader header, read_drafter_header(file));
  recipe.adapter = {};
  if (header.kind == draft_file_names::kEagle) {
    recipe.eagle = EagleOptions{};
  } else if (header.kind == draft_file_names::kMedusa) {
    recipe.medusa = MedusaOptions{};
  } else {
    S3D_ASSIGN(recipe.adapter, read_adapter_config(file));
  }
  return Ok();
}

Acceptance evaluate(const TrainedDrafter& drafter, const Dataset& data, const RecordStore& records, int first,
                    int stride) {
  const auto chains = [&](int sequence) { return drafter.chains(data, records, sequence); };
  return evaluate(data, drafter.chain(), chains, first, stride);
}

}  // namespace s3d::train
