// Where adapters lie on this machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"

namespace s3d {

// Folders of adapters, in the order in which they are searched: $S3D_ADAPTERS when it is set, `<cache
// folder>/adapters`, and those near the program or the library that this code was loaded from. Nothing is compiled in,
// so an installation may be moved. Folders may not exist.
std::vector<std::string> adapter_folders();

// Folders of adapters that belong to the program or library `binary` (an absolute path), nearest first: in the folders
// above it, a few levels up, `share/s3d/adapters` (an installation) or `adapters` with an index.json (a source tree,
// for a build folder inside it).
std::vector<std::string> adapter_folders_near(const std::string& binary);

// The adapter of the base with this fingerprint: a file NAME.adapter.gguf beside the model, or any adapter in
// adapter_folders(); of several in one folder, the first by name. Empty if there is none; files that are no adapters
// or cannot be read are passed over.
std::string find_adapter(const std::string& model_path, uint64_t base_fingerprint);

// The file of a drafter. Whoever finds it opens it; nobody opens it again.
struct DraftFile {
  std::string kind;  // its s3d.kind; "s3d" where it has none
  std::string path;
  bool for_auto = false;  // a person named it, it lies beside the model, or it is the adapter: `auto` looks at it
  std::shared_ptr<const GgufFile> file = nullptr;

  bool is_adapter() const;  // of S3D's (docs/adapter.md)
  // Whether a person may call it that: its path, or the end of it from a folder or its name on.
  bool is_called(std::string_view name) const;
};

// The shortest name by which file number `index` is told from the others of its kind.
std::string short_name(std::span<const DraftFile> files, size_t index);

// Reads the beginning of a file that a person named. Error: it is none of a drafter's, or of one that is not known.
Result<DraftFile> open_draft_file(const std::string& path);

// The files of all drafters of that base that are found, the adapter first and then one of each other kind (s3d.kind):
// NAME.KIND.gguf beside the model (adapters: NAME.adapter.gguf), or any in adapter_folders(); of several of a kind in
// one folder, the first by name.
std::vector<DraftFile> find_draft_files(const std::string& model_path, uint64_t base_fingerprint);

}  // namespace s3d
