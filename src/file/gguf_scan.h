// The check that every GGUF image passes before anything else reads it.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"

namespace s3d {

// Walks header, metadata and tensor list of a whole GGUF image (versions 2 and 3, little-endian) and checks every
// count, length, type and offset against the image's size. Allocates nothing in proportion to a number in the file;
// time and memory are at most linear in the image's size. After Ok, ggml's reader can be given the same bytes: it
// would abort or allocate on some of the inputs that are refused here.
// `name` is the file's name for messages. Errors say where, what was expected and what was found.
Status scan_gguf(std::span<const std::byte> image, const std::string& name);

}  // namespace s3d
