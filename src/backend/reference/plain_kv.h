// Keys and values in the pages of a cache, one number at a time: what attention kernels do with whole vectors. For the
// reference.
#pragma once

#include <cstddef>

#include "kernels/kv_layout.h"

namespace s3d {

// One key or value of a slot: where its numbers lie (KvLayout says how).
class PlainKv {
 public:
  static PlainKv key(const KvLayout& layout, std::byte* page, int layer, int kv_head, int slot);
  static PlainKv value(const KvLayout& layout, std::byte* page, int layer, int kv_head, int slot);

  void write(const double* from) const;  // [head_dim], rounded to the cache's type
  void read(double* to) const;

 private:
  PlainKv(const KvLayout& layout, std::byte* page, const KvLayout::Place& place);
  void write_q8_0(const double* from) const;

  KvType type_;
  size_t head_dim_;
  std::byte* numbers_;  // of dimension 0
  size_t step_;         // bytes from one dimension to the next
  std::byte* scales_;   // Q8_0: of the first block of dimensions
  size_t scale_step_;
};

}  // namespace s3d
