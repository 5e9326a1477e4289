#include "engine/model_path.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace s3d {
namespace fs = std::filesystem;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string cache_folder() {
  if (std::string own = environment("S3D_CACHE"); !own.empty()) return own;
  const std::string xdg = environment("XDG_CACHE_HOME");
  // A relative path there is to be ignored (XDG base directory specification 0.8).
  const fs::path base = fs::path(xdg).is_absolute() ? fs::path(xdg) : fs::path(environment("HOME")) / ".cache";
  return (base / "s3d").string();
}

std::vector<std::string> cached_models() {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(fs::path(cache_folder()) / "models", error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".gguf") names.push_back(it->path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> find_model(const std::string& name_or_path) {
  if (name_or_path.empty()) return Error{"no model named: give the path of a GGUF file or the name of a cached model"};
  std::error_code error;
  if (fs::exists(name_or_path, error)) return name_or_path;
  for (const char* ending : {".gguf", ""}) {
    const fs::path cached = fs::path(cache_folder()) / "models" / (name_or_path + ending);
    if (fs::is_regular_file(cached, error)) return cached.string();
  }
  const std::vector<std::string> known = cached_models();
  const std::string have = known.empty() ? "the cache folder holds no model yet"
                                         : fmt::format("the cache folder holds: {}", fmt::join(known, ", "));
  return Error{
      fmt::format("model '{}' not found: no such file, and {} ({}/models); fetch one with "
                  "'scripts/fetch-model' or 's3d pull'",
                  name_or_path, have, cache_folder())};
}

}  // namespace s3d
