// One GGUF image and ggml's view of its metadata; GgufFile has one or more. Internal to this folder.
#pragma once

#include <gguf.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"
#include "file/mapping.h"

namespace s3d {

// Thread rule: const after open().
class GgufPart {
 public:
  static Result<GgufPart> open(const std::string& path);
  static Result<GgufPart> from_bytes(std::vector<std::byte> bytes, const std::string& name);

  const std::string& path() const { return path_; }
  const gguf_context* gguf() const { return gguf_.get(); }
  std::span<const std::byte> image() const;

  // Appends this part's tensors to `out`, in file order.
  void append_tensors(std::vector<Tensor>& out) const;

  // See GgufFile::release_pages; nothing to do for an image in memory.
  void release(std::span<const std::byte> part) const;

 private:
  struct Free {
    void operator()(gguf_context* context) const { gguf_free(context); }
  };
  using Image = std::variant<Mapping, std::vector<std::byte>>;
  static Result<GgufPart> from_image(Image image, const std::string& path);

  std::string path_;
  Image image_;
  std::unique_ptr<gguf_context, Free> gguf_;
};

// What split.no, split.count and split.tensors.count say; a file without them is part 0 of 1.
struct SplitInfo {
  int64_t no = 0;
  int64_t count = 1;
  int64_t tensors = -1;  // of all parts together; -1 = not said
};

// Opens the named file and, if it is one part of a split model, all parts, in order.
// Errors: as GgufPart::open; a missing part (its path), a name without the part's number, parts that disagree.
Result<std::vector<GgufPart>> open_parts(const std::string& path);

// The integer under `key`, from any integer type. nullopt if absent; errors name the file and the key.
Result<std::optional<int64_t>> integer_of(const GgufPart& part, std::string_view key);

}  // namespace s3d
