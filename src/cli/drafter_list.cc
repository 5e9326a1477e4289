#include "cli/drafter_list.h"

namespace s3d::cli {

std::vector<std::string> all_drafters(const Runtime& runtime, const SpeculationOptions& settings) {
  std::vector<std::string> names = {"auto"};
  const bool runs_beside = runtime.backend().can_multiply().ok();
  for (const OpenDrafter& open : open_drafters(runtime.draft_files())) {
    if (!open.runs_beside || runs_beside) names.push_back(open.name);
  }
  if (!settings.draft_model.empty()) names.emplace_back("model");
  return names;
}

std::string drafter_file(const Runtime& runtime, const std::string& drafter) {
  if (drafter == "auto") return runtime.adapter_path();
  const size_t at = drafter.find('=');
  for (const OpenDrafter& one : open_drafters(runtime.draft_files())) {
    const bool called = at == std::string::npos
                            ? one.name == drafter
                            : DraftFile{.kind = "", .path = one.file}.is_called(drafter.substr(at + 1));
    if (called) return one.file;
  }
  return "";
}

}  // namespace s3d::cli
