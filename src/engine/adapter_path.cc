#include "engine/adapter_path.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <link.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>

#include "base/environment.h"
#include "engine/model_path.h"
#include "model/adapter.h"
#include "model/drafter_file.h"

namespace s3d {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kS3d = "s3d";  // the kind of files that name none
constexpr std::string_view kKinds[] = {kS3d, adapter_names::kKindFused, draft_file_names::kEagle,
                                       draft_file_names::kMedusa};

bool is_adapter_kind(std::string_view kind) {
  return kind == kS3d || kind == adapter_names::kKindFused;
}

std::vector<fs::path> files_with_ending(const fs::path& folder, std::string_view ending) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().ends_with(ending)) files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// The file that this code was loaded from: libs3d.so, or the program when libs3d is linked into it; empty if unknown.
fs::path own_binary() {
  std::error_code error;
  Dl_info info{};
  link_map* object = nullptr;
  const auto* here = reinterpret_cast<const void*>(&find_adapter);
  const bool known = dladdr1(here, &info, reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) != 0;
  // The loader gives the program itself no name; the kernel knows it.
  if (!known || object == nullptr || *object->l_name == 0) return fs::read_symlink("/proc/self/exe", error);
  return fs::canonical(object->l_name, error);
}

}  // namespace

std::vector<std::string> adapter_folders_near(const std::string& binary) {
  constexpr int kMostLevels = 5;  // PREFIX/lib/TRIPLE/libs3d.so is two levels down, build/src/cli/s3d three
  std::vector<std::string> found;
  std::error_code error;
  fs::path folder = fs::path(binary).parent_path();
  for (int level = 0; level < kMostLevels && folder.has_relative_path(); ++level, folder = folder.parent_path()) {
    if (const fs::path installed = folder / "share/s3d/adapters"; fs::is_directory(installed, error)) {
      found.push_back(installed.string());
    }
    if (const fs::path source = folder / "adapters"; fs::is_regular_file(source / "index.json", error)) {
      found.push_back(source.string());
    }
  }
  return found;
}

std::vector<std::string> adapter_folders() {
  std::vector<std::string> folders;
  if (std::string own = environment("S3D_ADAPTERS"); !own.empty()) folders.push_back(std::move(own));
  folders.push_back((fs::path(cache_folder()) / "adapters").string());
  for (std::string& found : adapter_folders_near(own_binary().string())) folders.push_back(std::move(found));
  return folders;
}

namespace {

// Files with that ending in the model's folder, and all of the adapters' folders.
std::vector<fs::path> candidates_of(const fs::path& folder, std::string_view ending) {
  std::vector<fs::path> candidates = files_with_ending(folder.empty() ? "." : folder, ending);
  for (const std::string& other : adapter_folders()) {
    for (fs::path& path : files_with_ending(other, ".gguf")) candidates.push_back(std::move(path));
  }
  return candidates;
}

// The first file with that ending, or of the adapters' folders, in which `kind_of` sees a drafter of this base: (file)
// -> optional kind. What lies beside the model is for `auto`.
template <typename KindOf>
std::optional<DraftFile> open_first(const fs::path& folder, std::string_view ending, KindOf kind_of) {
  for (const fs::path& path : candidates_of(folder, ending)) {
    Result<GgufFile> file = GgufFile::open(path.string());
    const std::optional<std::string> kind = file.ok() ? kind_of(*file) : std::nullopt;
    if (!kind) continue;
    return DraftFile{.kind = *kind,
                     .path = path.string(),
                     .for_auto = path.parent_path() == (folder.empty() ? fs::path(".") : folder),
                     .file = std::make_shared<const GgufFile>(std::move(*file))};
  }
  return std::nullopt;
}

// find_adapter(), opened. `auto` looks at it wherever it lies.
std::optional<DraftFile> open_adapter_of(const fs::path& folder, uint64_t base_fingerprint) {
  auto found = open_first(folder, ".adapter.gguf", [&](const GgufFile& file) -> std::optional<std::string> {
    const auto config = read_adapter_config(file);
    if (!config.ok() || config->base_fingerprint != base_fingerprint) return std::nullopt;
    return std::string(config->fused ? adapter_names::kKindFused : kS3d);
  });
  if (found) found->for_auto = true;
  return found;
}

// The first file of another drafter, of that kind.
std::optional<DraftFile> open_drafter_of(std::string_view kind, const fs::path& folder, uint64_t base_fingerprint) {
  const std::string ending = fmt::format(".{}.gguf", is_adapter_kind(kind) ? "adapter" : kind);
  return open_first(folder, ending, [&](const GgufFile& file) -> std::optional<std::string> {
    const auto header = read_drafter_header(file);
    if (!header.ok() || header->kind != kind || header->base_fingerprint != base_fingerprint) return std::nullopt;
    return header->kind;
  });
}

}  // namespace

bool DraftFile::is_adapter() const {
  return is_adapter_kind(kind);
}

bool DraftFile::is_called(std::string_view name) const {
  if (name.empty() || !path.ends_with(name)) return false;
  return path.size() == name.size() || path[path.size() - name.size() - 1] == '/';
}

std::string short_name(std::span<const DraftFile> files, size_t index) {
  const DraftFile& file = files[index];
  const auto is_clear = [&](std::string_view name) {
    return std::none_of(files.begin(), files.end(), [&](const DraftFile& other) {
      return &other != &file && other.kind == file.kind && other.is_called(name);
    });
  };
  const std::string_view path = file.path;
  size_t begin = path.rfind('/');
  while (begin != std::string::npos && begin > 0 && !is_clear(path.substr(begin + 1))) {
    begin = path.rfind('/', begin - 1);
  }
  return begin == std::string::npos || begin == 0 ? file.path : file.path.substr(begin + 1);
}

Result<DraftFile> open_draft_file(const std::string& path) {
  S3D_ASSIGN(GgufFile opened, GgufFile::open(path));
  auto file = std::make_shared<const GgufFile>(std::move(opened));
  S3D_ASSIGN(DrafterHeader header, read_drafter_header(*file));
  if (std::find(std::begin(kKinds), std::end(kKinds), header.kind) == std::end(kKinds)) {
    return Error{fmt::format("{}: the file of a drafter of kind \"{:.40}\", expected one of {}", path, header.kind,
                             fmt::join(kKinds, ", "))};
  }
  return DraftFile{.kind = std::move(header.kind), .path = path, .for_auto = true, .file = std::move(file)};
}

std::vector<DraftFile> find_draft_files(const std::string& model_path, uint64_t base_fingerprint) {
  std::vector<DraftFile> found;
  const fs::path folder = fs::path(model_path).parent_path();
  if (std::optional<DraftFile> adapter = open_adapter_of(folder, base_fingerprint)) {
    found.push_back(std::move(*adapter));
  }
  for (const std::string_view kind : kKinds) {
    if (!found.empty() && found[0].kind == kind) continue;
    std::optional<DraftFile> first = open_drafter_of(kind, folder, base_fingerprint);
    if (first) found.push_back(std::move(*first));
  }
  return found;
}

std::string find_adapter(const std::string& model_path, uint64_t base_fingerprint) {
  const auto adapter = open_adapter_of(fs::path(model_path).parent_path(), base_fingerprint);
  return adapter ? adapter->path : "";
}

}  // namespace s3d
