#include "model/fingerprint.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

// The whole of xxHash is compiled into this file: it needs no other library at run time.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace s3d {
namespace {

constexpr size_t kSampleBytes = 4096;  // a page
// Longer than any value of a family's own keys (per-layer arrays of a thousand numbers).
constexpr size_t kMaxValueChars = 65536;

// Feeds values to one XXH3 state; each text is preceded by its length, so that no two lists of texts read alike.
class Hasher {
 public:
  Hasher() { XXH3_64bits_reset(&state_); }
  void bytes(const void* data, size_t size) { XXH3_64bits_update(&state_, data, size); }
  void number(uint64_t value) { bytes(&value, sizeof(value)); }
  void text(std::string_view value) {
    number(value.size());
    bytes(value.data(), value.size());
  }
  uint64_t digest() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

void add_samples(const Tensor& tensor, Hasher& hasher) {
  const size_t size = std::min(kSampleBytes, tensor.bytes);
  const size_t last = tensor.bytes - size;
  for (const size_t at : {size_t{0}, last / 2, last}) hasher.bytes(tensor.data + at, size);
}

void add_tensor(const Tensor& tensor, Hasher& hasher) {
  hasher.text(tensor.name);
  hasher.number(static_cast<uint64_t>(tensor.type));
  hasher.number(tensor.shape.size());
  for (const int64_t extent : tensor.shape) hasher.number(static_cast<uint64_t>(extent));
  add_samples(tensor, hasher);
}

}  // namespace

std::string tensor_checksum(const GgufFile& file, const Tensor& tensor) {
  const uint64_t hash = XXH3_64bits(tensor.data, tensor.bytes);
  file.release_pages(tensor);
  return fingerprint_text(hash);
}

uint64_t base_fingerprint(const GgufFile& file) {
  Hasher hasher;
  const std::string architecture = file.value_text("general.architecture", kMaxValueChars);
  hasher.text(architecture);
  std::vector<std::string> keys = file.keys();
  std::sort(keys.begin(), keys.end());
  for (const std::string& key : keys) {
    if (!key.starts_with(architecture + ".")) continue;
    hasher.text(key);
    hasher.text(file.value_text(key, kMaxValueChars));
  }
  std::vector<const Tensor*> tensors;
  for (const Tensor& tensor : file.tensors()) tensors.push_back(&tensor);
  std::sort(tensors.begin(), tensors.end(), [](const Tensor* a, const Tensor* b) { return a->name < b->name; });
  // A touched byte may map 2 MiB around it (large folios, Linux 6.18), so that samples alone map a quarter of a file.
  constexpr size_t kTensorsBetweenReleases = 2;
  for (size_t i = 0; i < tensors.size(); ++i) {
    add_tensor(*tensors[i], hasher);
    if (i % kTensorsBetweenReleases == 0) file.release_pages();
  }
  file.release_pages();
  return hasher.digest();
}

std::string fingerprint_text(uint64_t fingerprint) {
  return fmt::format("{:016x}", fingerprint);
}

}  // namespace s3d
