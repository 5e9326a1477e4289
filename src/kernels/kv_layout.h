// How keys and values of one layer lie in a page of 64 slots. Shared by the cache, which owns the pages, and the
// attention kernels, which read and write them.
//
// Keys are grouped by sixteen slots and transposed, so that sixteen scores are computed side by side, one in each
// lane, with no sum across lanes. Values are rows, so that a weighted sum of them is a sum of vectors.
//
//   one layer of a page: keys   [kv_head][4 groups]{ [head_dim][16 slots] values, [scale_blocks][16 slots] scales }
//                        values [kv_head]{ [64 slots][padded_head_dim] values, [64 slots][scale_blocks] scales }
//
// Scales are half floats and exist for Q8_0 only, one for each 32 dimensions of a slot (the last may cover fewer).
#pragma once

#include <cstddef>
#include <cstdint>

namespace s3d {

enum class KvType { kF16, kF32, kQ8_0 };

struct KvLayout {
  static constexpr int kPageTokens = 64;
  static constexpr int kGroup = 16;  // slots of a key group: the lanes of F32x16
  static constexpr int kScaleDims = 32;

  KvType type;
  int head_dim;
  int n_kv_heads;
  int n_layers;         // that a page holds,
  int first_layer = 0;  // of the model's, from this one on

  constexpr size_t element_bytes() const { return type == KvType::kF32 ? 4 : type == KvType::kF16 ? 2 : 1; }
  constexpr int padded_head_dim() const { return (head_dim + 15) / 16 * 16; }
  constexpr int scale_blocks() const { return type == KvType::kQ8_0 ? (head_dim + kScaleDims - 1) / kScaleDims : 0; }

  constexpr size_t key_scales_offset() const {
    return static_cast<size_t>(head_dim) * kGroup * element_bytes();
  }  // in a group
  constexpr size_t key_group_bytes() const {
    return round_up(key_scales_offset() + static_cast<size_t>(scale_blocks()) * kGroup * 2);
  }
  constexpr size_t key_head_bytes() const { return key_group_bytes() * (kPageTokens / kGroup); }

  constexpr size_t value_row_bytes() const { return static_cast<size_t>(padded_head_dim()) * element_bytes(); }
  constexpr size_t value_scales_offset() const { return value_row_bytes() * kPageTokens; }  // in a head
  constexpr size_t value_scale_row_bytes() const { return static_cast<size_t>(scale_blocks()) * 2; }
  constexpr size_t value_head_bytes() const {
    return round_up(value_scales_offset() + value_scale_row_bytes() * static_cast<size_t>(kPageTokens));
  }

  constexpr size_t keys_bytes() const { return key_head_bytes() * static_cast<size_t>(n_kv_heads); }  // of one layer
  constexpr size_t values_bytes() const { return value_head_bytes() * static_cast<size_t>(n_kv_heads); }
  constexpr size_t layer_bytes() const { return keys_bytes() + values_bytes(); }
  constexpr size_t page_bytes() const { return layer_bytes() * static_cast<size_t>(n_layers); }

  // Offsets in a page.
  constexpr size_t key_head_offset(int layer, int kv_head) const {
    return layer_bytes() * static_cast<size_t>(layer - first_layer) + key_head_bytes() * static_cast<size_t>(kv_head);
  }
  constexpr size_t value_head_offset(int layer, int kv_head) const {
    return layer_bytes() * static_cast<size_t>(layer - first_layer) + keys_bytes() +
           value_head_bytes() * static_cast<size_t>(kv_head);
  }

  // Where one key or value of a slot lies in a page, in bytes: dimension d at `numbers` + d * `step`; with Q8_0, the
  // scale of dimensions [32 b, 32 b + 32) at `scales` + b * `scale_step`.
  struct Place {
    size_t numbers, step, scales, scale_step;
  };
  constexpr Place key(int layer, int kv_head, int slot) const {
    const auto group = static_cast<size_t>(slot / kGroup), lane = static_cast<size_t>(slot % kGroup);
    const size_t base = key_head_offset(layer, kv_head) + group * key_group_bytes();
    return {base + lane * element_bytes(), kGroup * element_bytes(), base + key_scales_offset() + lane * 2, kGroup * 2};
  }
  constexpr Place value(int layer, int kv_head, int slot) const {
    const size_t base = value_head_offset(layer, kv_head), row = static_cast<size_t>(slot);
    return {base + row * value_row_bytes(), element_bytes(),
            base + value_scales_offset() + row * value_scale_row_bytes(), 2};
  }

 private:
  static constexpr size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }  // to cache lines
};

}  // namespace s3d
