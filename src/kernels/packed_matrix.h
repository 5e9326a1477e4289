// Weights in the layout the kernels read: "r16", sixteen rows interleaved, one 32-bit lane a row (docs/kernels.md).
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/thread_pool.h"

namespace s3d {

// How a row of activations is stored for a weight type.
enum class ActFormat {
  kF32,     // float weights: floats
  kQ8_32,   // Q8_0, Q4_0, Q4_1, Q5_0, Q5_1: int8, one float scale per 32
  kQ8_256,  // K-quants: int8, one float scale per 256
};

// True for the tensor types the engine runs: F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K.
bool is_supported_weight(ggml_type type);
ActFormat act_format(ggml_type type);

// Memory for the matrices of a model. They take their parts of few large blocks in 2 MiB pages: a matrix with memory of
// its own begins and ends within such a page, and that part of it, a third of a model with small matrices, would lie in
// 4 KiB pages. A block lives as long as a matrix in it. Thread rule: one call at a time.
class WeightMemory {
 public:
  // 64-byte aligned zeros; null: out of memory.
  std::shared_ptr<std::byte> take(size_t bytes);

 private:
  std::shared_ptr<std::byte> block_;
  size_t used_ = 0, size_ = 0;  // bytes of the block
};

// A [rows, cols] matrix in r16 layout, 64-byte aligned. Copies share the memory.
// Rows are padded with zeros to a multiple of 16. Thread rule: const after pack().
class PackedMatrix {
 public:
  PackedMatrix() = default;

  // Packs `rows` rows of `cols` values of `type` from `src` (ggml's row-major block layout, each row starting at a
  // multiple of ggml_row_size). Work is shared among the threads of `pool`, which must be idle, when it is not null.
  // `order`: row r of the result is row order[r] of `src` ([rows] different rows of it); empty: all in their order.
  // `after_slice`, if given, is called by the caller's thread after every few MiB, so that the pages of a mapped `src`
  // that were read so far can be given back. `memory`, if given, is where the matrix takes its part. Errors:
  // unsupported type, cols not a multiple of the type's block, out of memory.
  static Result<PackedMatrix> pack(ggml_type type, const void* src, size_t rows, size_t cols, ThreadPool* pool,
                                   std::span<const int32_t> order = {}, const std::function<void()>& after_slice = {},
                                   WeightMemory* memory = nullptr);

  // The first `rows` rows, 1 to all of them, in the same memory.
  PackedMatrix first_rows(size_t rows) const {
    PackedMatrix out = *this;
    out.rows_ = rows;
    return out;
  }

  ggml_type type() const { return type_; }
  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  size_t units() const { return (rows_ + 15) / 16; }  // groups of 16 rows
  size_t unit_bytes() const { return unit_bytes_; }
  size_t bytes() const { return units() * unit_bytes_; }
  bool empty() const { return data_ == nullptr; }
  const std::byte* unit(size_t u) const { return data_.get() + u * unit_bytes_; }

 private:
  void pack_units(const std::byte* src, std::span<const int32_t> order, size_t begin, size_t end);

  std::shared_ptr<std::byte> data_;
  ggml_type type_ = GGML_TYPE_F32;
  size_t rows_ = 0;
  size_t cols_ = 0;
  size_t unit_bytes_ = 0;
};

}  // namespace s3d
