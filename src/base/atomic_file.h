// Files that are there whole or not at all.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"

namespace s3d {

// Writes `bytes` to a new file beside `path`, forces it to the disk, and renames it to `path`: a reader, or a program
// that had mapped the old file, sees the old bytes or the new ones, never a mixture. After an error the old file is
// untouched and nothing is left behind. Errors: the folder is missing or not writable, the disk is full; each names
// the path. Thread rule: any number of threads and processes, each call with a path of its own; of several writers of
// one path the last one wins.
Status write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

}  // namespace s3d
