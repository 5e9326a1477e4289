#include "engine/model_path.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/environment.h"

namespace s3d {
namespace fs = std::filesystem;
namespace {

fs::path home_folder() {
  if (std::string home = environment("HOME"); !home.empty()) return home;
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  const int error = getpwuid_r(getuid(), &entry, buffer.data(), buffer.size(), &found);
  return error == 0 && found != nullptr ? fs::path(found->pw_dir) : fs::temp_directory_path();
}

}  // namespace

std::string cache_folder() {
  if (std::string own = environment("S3D_CACHE"); !own.empty()) return without_end_slashes(own);
  const std::string xdg = environment("XDG_CACHE_HOME");
  // A relative path there is to be ignored (XDG base directory specification 0.8).
  const fs::path base = fs::path(xdg).is_absolute() ? fs::path(xdg) : home_folder() / ".cache";
  return (base / "s3d").string();
}

std::vector<std::string> cached_models() {
  std::vector<std::string> names;
  std::error_code error;
  const fs::path folder = fs::path(cache_folder()) / "models";
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".gguf") continue;
    names.push_back(it->path().lexically_relative(folder).replace_extension().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<DefaultModel> default_model() {
  constexpr const char* kDemo = "smollm2-135m";
  std::vector<std::string> names = cached_models();
  // Adapters are no models, and of a model in parts the first part names it.
  std::erase_if(names, [](const std::string& name) {
    const size_t of = name.rfind("-of-");
    const bool later_part = of != std::string::npos && of >= 6 && name.compare(of - 6, 6, "-00001") != 0;
    return name.ends_with(".adapter") || later_part;
  });
  if (names.size() == 1) return DefaultModel{names.front(), "the only model in the cache folder"};
  if (std::find(names.begin(), names.end(), kDemo) != names.end()) return DefaultModel{kDemo, "the demo's model"};
  if (names.empty()) {
    return Error{
        fmt::format("no model named, and the cache folder holds none ({}/models): name a GGUF file with "
                    "-m, or fetch a model with 'scripts/fetch-model' or 's3d pull'",
                    cache_folder())};
  }
  return Error{fmt::format("no model named: choose one with -m; the cache folder ({}/models) holds: {}", cache_folder(),
                           fmt::join(names, ", "))};
}

Result<std::string> find_model(const std::string& name_or_path) {
  if (name_or_path.empty()) return Error{"no model named: give the path of a GGUF file or the name of a cached model"};
  std::error_code error;
  const bool exists = fs::exists(name_or_path, error);
  if (exists && !fs::is_directory(name_or_path, error)) return name_or_path;
  for (const char* ending : {".gguf", ""}) {
    const fs::path cached = fs::path(cache_folder()) / "models" / (name_or_path + ending);
    if (fs::is_regular_file(cached, error)) return cached.string();
  }
  if (exists) return name_or_path;  // a folder: whoever opens it says so
  const std::vector<std::string> known = cached_models();
  const std::string have = known.empty() ? "the cache folder holds no model yet"
                                         : fmt::format("the cache folder holds: {}", fmt::join(known, ", "));
  return Error{
      fmt::format("model '{}' not found: no such file, and {} ({}/models); fetch one with "
                  "'scripts/fetch-model' or 's3d pull'",
                  name_or_path, have, cache_folder())};
}

}  // namespace s3d
