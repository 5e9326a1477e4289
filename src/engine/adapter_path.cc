#include "engine/adapter_path.h"

#include <algorithm>
#include <filesystem>

#include "engine/model_path.h"
#include "model/adapter.h"

namespace s3d {
namespace fs = std::filesystem;
namespace {

std::vector<fs::path> files_with_ending(const fs::path& folder, std::string_view ending) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().ends_with(ending)) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool is_for(const fs::path& path, uint64_t base_fingerprint) {
  const auto file = GgufFile::open(path.string());
  if (!file.ok()) return false;
  const auto config = read_adapter_config(*file);
  return config.ok() && config->base_fingerprint == base_fingerprint;
}

}  // namespace

std::vector<std::string> adapter_folders() {
  return {(fs::path(cache_folder()) / "adapters").string(), S3D_INSTALLED_ADAPTERS, S3D_SOURCE_ADAPTERS};
}

std::string find_adapter(const std::string& model_path, uint64_t base_fingerprint) {
  const fs::path folder = fs::path(model_path).parent_path();
  std::vector<fs::path> candidates = files_with_ending(folder.empty() ? "." : folder, ".adapter.gguf");
  for (const std::string& other : adapter_folders()) {
    for (fs::path& path : files_with_ending(other, ".gguf")) candidates.push_back(std::move(path));
  }
  for (const fs::path& path : candidates) {
    if (is_for(path, base_fingerprint)) return path.string();
  }
  return "";
}

}  // namespace s3d
