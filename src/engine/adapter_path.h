// Where adapters lie on this machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace s3d {

// Folders of adapters, in the order in which they are searched: `<cache folder>/adapters`, that of the installation,
// that of the source tree this was built from.
std::vector<std::string> adapter_folders();

// The adapter of the base with this fingerprint: a file NAME.adapter.gguf beside the model, or any adapter in
// adapter_folders(); of several in one folder, the first by name. Empty if there is none; files that are no adapters
// or cannot be read are passed over.
std::string find_adapter(const std::string& model_path, uint64_t base_fingerprint);

}  // namespace s3d
