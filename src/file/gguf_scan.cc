#include "file/gguf_scan.h"

#include <fmt/format.h>
#include <ggml.h>
#include <gguf.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <unordered_set>

#include "file/gguf_values.h"

namespace s3d {
namespace {

// Far above any real file, and low enough for ggml's reader, which compares each key and each tensor name with all
// the earlier ones: 16,384 names cost it under a second.
constexpr uint64_t kMaxKeys = 4096;
constexpr uint64_t kMaxTensors = 16384;
constexpr uint64_t kMaxKeyBytes = 65535;             // the format's own limit
constexpr uint64_t kMaxStringBytes = 64u << 20;      // chat templates are below 100 KB
constexpr uint64_t kMaxArrayElements = 64u << 20;    // the largest vocabularies have 262,144 tokens
constexpr uint64_t kMaxMetadataBytes = 1024u << 20;  // ggml copies the metadata
constexpr uint64_t kDefaultAlignment = GGUF_DEFAULT_ALIGNMENT;
constexpr const char* kDownloadAgain = "the file is damaged or was written wrongly; download or convert it again";

// Text from the file made safe for a message: cut to 64 bytes, anything but printable ASCII as '?'.
std::string printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 64)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return text.size() > 64 ? out + "..." : out;
}

struct TensorEntry {
  std::string_view name;
  uint64_t offset;  // within the data section
  uint64_t bytes;
};

// One walk over one image, front to back.
class Scanner {
 public:
  Scanner(std::span<const std::byte> image, const std::string& name) : image_(image), name_(name) {}

  Status run() {
    S3D_TRY(scan_header());
    for (uint64_t i = 0; i < n_keys_; ++i) S3D_TRY(scan_key(i));
    for (uint64_t i = 0; i < n_tensors_; ++i) S3D_TRY(scan_tensor(i));
    return check_data_section();
  }

 private:
  // An error about this file: "name: text".
  Error error(const std::string& text) const { return Error{name_ + ": " + text}; }

  // Refuses if fewer than `count` bytes are left.
  Status need(uint64_t count, const std::string& what) const {
    const uint64_t left = image_.size() - at_;
    if (count <= left) return Ok();
    return error(fmt::format(
        "the file ends at byte {} but {} needs {} bytes from byte {}: it is truncated or damaged; download it again",
        image_.size(), what, count, at_));
  }

  template <typename T>
  Result<T> read(const std::string& what) {
    S3D_TRY(need(sizeof(T), what));
    T value;
    std::memcpy(&value, image_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  Result<std::string_view> read_string(const std::string& what, uint64_t max_bytes) {
    S3D_ASSIGN(const uint64_t length, read<uint64_t>("the length of " + what));
    S3D_TRY(need(length, what));
    if (length > max_bytes) {
      return error(
          fmt::format("{} has {} bytes, at most {} are accepted: {}", what, length, max_bytes, kDownloadAgain));
    }
    const auto* text = reinterpret_cast<const char*>(image_.data() + at_);
    at_ += length;
    return std::string_view(text, length);
  }

  // A key or tensor name: a string without NUL (ggml compares names as C strings), not empty.
  Result<std::string_view> read_name(const std::string& what, uint64_t max_bytes) {
    S3D_ASSIGN(const std::string_view text, read_string(what, max_bytes));
    if (text.empty()) return error(fmt::format("{} is empty: {}", what, kDownloadAgain));
    if (text.find('\0') != std::string_view::npos) {
      return error(fmt::format("{} (\"{}\") holds a zero byte: {}", what, printable(text), kDownloadAgain));
    }
    return text;
  }

  Status scan_header() {
    if (image_.empty()) return error("the file is empty: download it again");
    if (image_.size() < 4 || std::memcmp(image_.data(), "GGUF", 4) != 0) {
      return error("this is not a GGUF file (it does not begin with \"GGUF\"): give a model in GGUF format");
    }
    at_ = 4;
    S3D_ASSIGN(const uint32_t version, read<uint32_t>("the format version"));
    S3D_TRY(check_version(version));
    S3D_ASSIGN(n_tensors_, read<uint64_t>("the number of tensors"));
    S3D_ASSIGN(n_keys_, read<uint64_t>("the number of metadata keys"));
    if (n_tensors_ > kMaxTensors) {
      return error(
          fmt::format("it claims {} tensors, at most {} are accepted: {}", n_tensors_, kMaxTensors, kDownloadAgain));
    }
    if (n_keys_ > kMaxKeys) {
      return error(
          fmt::format("it claims {} metadata keys, at most {} are accepted: {}", n_keys_, kMaxKeys, kDownloadAgain));
    }
    return Ok();
  }

  Status check_version(uint32_t version) const {
    if (version == 2 || version == 3) return Ok();
    if (version == 1) {
      return error("GGUF version 1 is not supported (2 and 3 are): convert the model with a current converter");
    }
    if (version != 0 && (version & 0xffff) == 0) {
      return error("this GGUF file is big-endian, which is not supported: get the little-endian file of the model");
    }
    return error(fmt::format("GGUF version {} is unknown (2 and 3 are supported)", version));
  }

  Status scan_key(uint64_t index) {
    S3D_ASSIGN(const std::string_view key, read_name(fmt::format("metadata key {}", index + 1), kMaxKeyBytes));
    const std::string what = fmt::format("the value of metadata key \"{}\"", printable(key));
    if (!keys_.insert(key).second) {
      return error(fmt::format("metadata key \"{}\" is there twice: {}", printable(key), kDownloadAgain));
    }
    S3D_ASSIGN(const uint32_t type, read<uint32_t>("the type of " + what));
    if (key == GGUF_KEY_GENERAL_ALIGNMENT) {
      S3D_TRY(scan_alignment(type));
    } else if (type == GGUF_TYPE_ARRAY) {
      S3D_TRY(scan_array(what));
    } else {
      S3D_TRY(scan_values(type, 1, what));
    }
    if (at_ > kMaxMetadataBytes) {
      return error(fmt::format("the metadata is larger than {} bytes: {}", kMaxMetadataBytes, kDownloadAgain));
    }
    return Ok();
  }

  Status scan_alignment(uint32_t type) {
    if (type != GGUF_TYPE_UINT32) {
      return error(fmt::format("{} has value type {}, expected {} (uint32): {}", GGUF_KEY_GENERAL_ALIGNMENT, type,
                               static_cast<int>(GGUF_TYPE_UINT32), kDownloadAgain));
    }
    S3D_ASSIGN(const uint32_t value, read<uint32_t>(GGUF_KEY_GENERAL_ALIGNMENT));
    if (!std::has_single_bit(value)) {
      return error(
          fmt::format("{} is {}, expected a power of two: {}", GGUF_KEY_GENERAL_ALIGNMENT, value, kDownloadAgain));
    }
    alignment_ = value;
    return Ok();
  }

  Status scan_array(const std::string& what) {
    S3D_ASSIGN(const uint32_t type, read<uint32_t>("the element type of " + what));
    S3D_ASSIGN(const uint64_t count, read<uint64_t>("the element count of " + what));
    if (type == GGUF_TYPE_ARRAY) return error(fmt::format("{} is an array of arrays, which is not supported", what));
    if (count > kMaxArrayElements) {
      return error(fmt::format("{} claims {} elements, at most {} are accepted: {}", what, count, kMaxArrayElements,
                               kDownloadAgain));
    }
    return scan_values(type, count, what);
  }

  // Steps over `count` values that are not arrays.
  Status scan_values(uint32_t type, uint64_t count, const std::string& what) {
    if (type == GGUF_TYPE_STRING) {
      for (uint64_t i = 0; i < count; ++i) S3D_TRY(read_string(what, kMaxStringBytes));
      return Ok();
    }
    const size_t bytes = scalar_bytes(type);
    if (bytes == 0) return error(fmt::format("{} has the unknown type {}: {}", what, type, kDownloadAgain));
    S3D_TRY(need(count * bytes, what));
    at_ += count * bytes;
    return Ok();
  }

  Status scan_tensor(uint64_t index) {
    TensorEntry entry{};
    S3D_ASSIGN(entry.name, read_name(fmt::format("the name of tensor {}", index + 1), GGML_MAX_NAME - 1));
    if (!names_.insert(entry.name).second) {
      return error(fmt::format("tensor \"{}\" is there twice: {}", printable(entry.name), kDownloadAgain));
    }
    const std::string what = fmt::format("tensor \"{}\"", printable(entry.name));
    S3D_ASSIGN(const uint32_t n_dims, read<uint32_t>("the number of dimensions of " + what));
    if (n_dims > GGML_MAX_DIMS) {
      return error(fmt::format("{} claims {} dimensions, at most {} are possible: {}", what, n_dims, GGML_MAX_DIMS,
                               kDownloadAgain));
    }
    uint64_t shape[GGML_MAX_DIMS] = {1, 1, 1, 1};
    for (uint32_t d = 0; d < n_dims; ++d) {
      S3D_ASSIGN(shape[d], read<uint64_t>("the shape of " + what));
    }
    S3D_ASSIGN(const uint32_t type, read<uint32_t>("the type of " + what));
    S3D_ASSIGN(entry.bytes, tensor_bytes(shape, type, what));
    S3D_ASSIGN(entry.offset, read<uint64_t>("the data offset of " + what));
    return check_offset(entry, what);
  }

  // Bytes of the tensor's data, with every product checked.
  Result<uint64_t> tensor_bytes(const uint64_t (&shape)[GGML_MAX_DIMS], uint32_t type, const std::string& what) const {
    const bool known = type < GGML_TYPE_COUNT && ggml_blck_size(static_cast<ggml_type>(type)) > 0 &&
                       ggml_type_size(static_cast<ggml_type>(type)) > 0;
    if (!known) {
      return error(fmt::format("{} has type {}, which this ggml does not know: use another quantization of the model",
                               what, type));
    }
    int64_t elements = 1;
    for (const uint64_t extent : shape) {
      const bool fits = extent > 0 && extent <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
      if (!fits || __builtin_mul_overflow(elements, static_cast<int64_t>(extent), &elements)) {
        return error(fmt::format("{} claims the shape {} x {} x {} x {}, which is impossible: {}", what, shape[0],
                                 shape[1], shape[2], shape[3], kDownloadAgain));
      }
    }
    const auto block = static_cast<uint64_t>(ggml_blck_size(static_cast<ggml_type>(type)));
    if (shape[0] % block != 0) {
      return error(fmt::format("{} of type {} has rows of {} values, expected a multiple of {}: {}", what,
                               ggml_type_name(static_cast<ggml_type>(type)), shape[0], block, kDownloadAgain));
    }
    uint64_t bytes = 0;
    const uint64_t blocks = static_cast<uint64_t>(elements) / block;
    if (__builtin_mul_overflow(blocks, ggml_type_size(static_cast<ggml_type>(type)), &bytes) ||
        bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return error(fmt::format("{} claims more bytes than can be addressed: {}", what, kDownloadAgain));
    }
    return bytes;
  }

  // Tensors lie one after the other in the order of the list, each starting at a multiple of the alignment: ggml's
  // reader insists on it, so overlaps and gaps are refused here, by name.
  Status check_offset(const TensorEntry& entry, const std::string& what) {
    if (entry.offset % alignment_ != 0) {
      return error(fmt::format("{} starts at data offset {}, which is not a multiple of the alignment {}: {}", what,
                               entry.offset, alignment_, kDownloadAgain));
    }
    if (entry.offset != next_offset_) {
      return error(fmt::format("{} starts at data offset {}, expected {} (it {} the tensor before it): {}", what,
                               entry.offset, next_offset_, entry.offset < next_offset_ ? "overlaps" : "leaves a gap to",
                               kDownloadAgain));
    }
    // No overflow: the offset is below 2^63 (checked for the tensor before), the size too.
    const uint64_t end = entry.offset + entry.bytes;
    next_offset_ = (end + alignment_ - 1) / alignment_ * alignment_;
    if (next_offset_ > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return error(fmt::format("{} ends beyond what can be addressed: {}", what, kDownloadAgain));
    }
    data_end_ = end;
    last_name_ = entry.name;
    return Ok();
  }

  Status check_data_section() const {
    if (n_tensors_ == 0) return Ok();
    const uint64_t start = (at_ + alignment_ - 1) / alignment_ * alignment_;
    const uint64_t end = start + data_end_;  // both below 2^63
    if (end <= image_.size()) return Ok();
    return error(fmt::format(
        "the file ends at byte {} but its last tensor, \"{}\", ends at byte {}: it is truncated; download it again",
        image_.size(), printable(last_name_), end));
  }

  std::span<const std::byte> image_;
  const std::string& name_;
  uint64_t at_ = 0;
  uint64_t n_tensors_ = 0;
  uint64_t n_keys_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
  uint64_t next_offset_ = 0;
  uint64_t data_end_ = 0;  // of the last tensor, within the data section
  std::string_view last_name_;
  std::unordered_set<std::string_view> keys_;
  std::unordered_set<std::string_view> names_;
};

}  // namespace

Status scan_gguf(std::span<const std::byte> image, const std::string& name) {
  return Scanner(image, name).run();
}

}  // namespace s3d
