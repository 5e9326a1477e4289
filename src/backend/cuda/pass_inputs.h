// What the host tells the kernels about one pass: which rows there are, what they see, and where their keys go. It is
// gathered in one piece of memory, and uploaded at once.
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "backend/block_placement.h"
#include "backend/cuda/buffer.h"
#include "backend/cuda/tasks.h"

namespace s3d::cuda {

// Arrays side by side; their addresses on the device are known after upload().
class UploadPack {
 public:
  template <typename T>
  struct Part {
    size_t offset = 0;
  };

  void clear() { bytes_.clear(); }
  // Where the next array begins behind so many bytes.
  static constexpr size_t aligned(size_t bytes) {
    constexpr size_t kAlign = 16;
    return (bytes + kAlign - 1) / kAlign * kAlign;
  }
  template <typename T>
  Part<T> add(std::span<const T> values) {
    bytes_.resize(aligned(bytes_.size()));
    const Part<T> part{bytes_.size()};
    bytes_.resize(part.offset + values.size_bytes());
    if (!values.empty()) std::memcpy(&bytes_[part.offset], values.data(), values.size_bytes());
    return part;
  }
  [[nodiscard]] bool reserve(Device& device, size_t bytes) { return buffer_.ensure(device, bytes); }
  [[nodiscard]] bool upload(Device& device) { return buffer_.assign(device, bytes_); }
  template <typename T>
  T* at(Part<T> part) const {
    return reinterpret_cast<T*>(buffer_.data() + part.offset);
  }
  size_t bytes() const { return buffer_.bytes(); }

 private:
  std::vector<std::byte> bytes_;
  Buffer<std::byte> buffer_;
};

// How attention divides a pass's rows (tasks.h, AttentionTask).
struct AttentionPlan {
  std::vector<SeenBy> seen;
  std::vector<const std::byte*> pages;
  std::vector<int32_t> first_page;
  std::vector<int32_t> row_order;
  std::vector<AttentionTile> tiles[2];  // [is local]
  int heads_per_part = 1, rows_per_tile = 1;
  int max_segments = 1;  // of the whole context of any row
};

// `group`: query heads of a key-value head. `window`: of local layers, 0 = none.
AttentionPlan plan_attention(const BlockPlacement& placement, int group, int window);

}  // namespace s3d::cuda
