// A whole file in memory, read-only.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"

namespace s3d {

// A read-only private mapping of a regular file. Move-only. Thread rule: const after open().
// If another program shortens the file while it is mapped, reading the lost part kills the process (SIGBUS): that is
// the price of mapping, and why files are replaced by renaming (base/atomic_file.h) and never rewritten in place.
class Mapping {
 public:
  // Errors: missing, a directory or another special file, not readable, empty; each names the path.
  static Result<Mapping> open(const std::string& path);
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::span<const std::byte> bytes() const { return bytes_; }

  // Tells the kernel that the whole pages inside `part` are not needed now. Reading them later maps them again.
  void release(std::span<const std::byte> part) const;

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace s3d
