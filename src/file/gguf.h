// GGUF files, memory-mapped: checked metadata and tensors (format: ggml's docs/gguf.md, versions 2 and 3).
//
// Everything in the file is outside input: counts, lengths and offsets are checked against the file's size before
// anything is allocated or indexed from them. Knows no architecture names.
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace s3d {

// One tensor of a file. `data` points into the mapping and lives as long as the GgufFile.
struct Tensor {
  std::string name;
  ggml_type type;
  std::vector<int64_t> shape;  // as in the file: shape[0] is the innermost (contiguous) dimension
  const std::byte* data;
  size_t bytes;

  int64_t cols() const { return shape.empty() ? 1 : shape[0]; }
  int64_t rows() const;  // product of the other dimensions
};

// Thread rule: const after open(); any number of readers.
class GgufFile {
 public:
  // Maps a file; of a split model (split.count > 1) any part may be named and all parts are opened.
  static Result<GgufFile> open(const std::string& path);
  // The same for an image in memory (tests, fuzzing, adapters made on the fly): one part, owned by the GgufFile.
  // `name` stands for the path in messages.
  static Result<GgufFile> from_bytes(std::vector<std::byte> bytes, const std::string& name);
  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  const std::string& path() const;
  uint32_t version() const;
  size_t file_bytes() const;                 // all parts together
  size_t parts() const;                      // 1, or split.count
  std::span<const std::byte> image() const;  // the bytes of the file; of a split model, of its first part

  std::span<const Tensor> tensors() const;
  const Tensor* find_tensor(std::string_view name) const;     // nullptr if absent
  Result<const Tensor*> tensor(std::string_view name) const;  // an error that names the file and the tensor

  // Metadata. Integer getters accept every integer type whose value fits; a key that is there with another type is
  // an error, an absent key is nullopt. A string ends at its first NUL byte, as in every reader built on ggml.
  // Of a split model, the first part's metadata counts.
  Result<std::optional<int64_t>> integer(std::string_view key) const;
  Result<std::optional<double>> real(std::string_view key) const;  // float32/64 and integers
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string>> string(std::string_view key) const;
  Result<std::optional<std::vector<std::string>>> strings(std::string_view key) const;
  Result<std::optional<std::vector<int64_t>>> integers(std::string_view key) const;
  Result<std::optional<std::vector<double>>> reals(std::string_view key) const;

  // Whether there is such a key and its value is an array. The integers of an array of booleans are 0 and 1.
  bool is_array(std::string_view key) const;

  // All keys in file order, and a value as text for people (long arrays and strings are cut to `max_chars`).
  std::vector<std::string> keys() const;
  std::string value_text(std::string_view key, size_t max_chars = 80) const;

  // Tells the kernel that the pages of a tensor are no longer needed (its packed copy replaces them); reading it
  // later still works and maps them again.
  void release_pages(const Tensor& tensor) const;
  void release_pages() const;  // of the whole file

 private:
  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d
