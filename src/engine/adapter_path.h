// Where adapters lie on this machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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

}  // namespace s3d
