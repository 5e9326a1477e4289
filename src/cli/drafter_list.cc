#include "cli/drafter_list.h"

#include <algorithm>

namespace s3d::cli {
namespace {

bool has(const std::vector<OpenDrafter>& all, const std::string& name) {
  return std::any_of(all.begin(), all.end(), [&name](const OpenDrafter& one) { return one.name == name; });
}

}  // namespace

std::vector<std::string> all_drafters(const Runtime& runtime, const SpeculationOptions& settings) {
  std::vector<std::string> names = {"auto"};
  for (const OpenDrafter& open : open_drafters(runtime.adapter_path())) names.push_back(open.name);
  if (!settings.draft_model.empty()) names.emplace_back("model");
  return names;
}

std::string drafter_file(const Runtime& runtime, const std::string& drafter) {
  const std::string& file = runtime.adapter_path();
  const bool uses = drafter == "auto" || (has(open_drafters(file), drafter) && !has(open_drafters(""), drafter));
  return uses ? file : "";
}

}  // namespace s3d::cli
