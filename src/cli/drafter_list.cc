#include "cli/drafter_list.h"

namespace s3d::cli {

std::vector<std::string> all_drafters(const Runtime& runtime, const SpeculationOptions& settings) {
  std::vector<std::string> names = {"auto"};
  const bool runs_beside = runtime.backend().can_multiply().ok();
  for (const OpenDrafter& open : open_drafters(runtime.draft_files())) {
    const bool beside = !open.file.empty() && open.file != runtime.adapter_path();  // layers or heads of its own
    if (!beside || runs_beside) names.push_back(open.name);
  }
  if (!settings.draft_model.empty()) names.emplace_back("model");
  return names;
}

std::string drafter_file(const Runtime& runtime, const std::string& drafter) {
  if (drafter == "auto") return runtime.adapter_path();
  for (const OpenDrafter& one : open_drafters(runtime.draft_files())) {
    if (one.name == drafter) return one.file;
  }
  return "";
}

}  // namespace s3d::cli
