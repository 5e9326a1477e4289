// SHA-256 of files, by OpenSSL.
#pragma once

#include <string>

#include "base/result.h"

namespace s3d {

// The SHA-256 of a file's content as 64 lower-case hexadecimal digits. Errors: the file cannot be opened or read.
Result<std::string> sha256_of_file(const std::string& path);

}  // namespace s3d
