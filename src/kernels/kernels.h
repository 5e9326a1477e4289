// The table of compute kernels of one instruction set. No SIMD in this header.
//
// Every kernel is single-threaded, and gives every instruction set the same bits: integer dot products are exact, and
// float work is written for sixteen lanes with fixed order and explicit fused multiply-adds. A result for one row
// never depends on how many rows share the call (docs/kernels.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/float_ops.h"
#include "kernels/packed_matrix.h"

namespace s3d {

enum class Isa { kPortable, kAvx2, kAvx512 };

// Columns of a matrix whose products are one chain of float additions; the chains' results are added in their order
// (docs/numerics.md, "The order of sums"). Other backends share it: whoever divides a sum divides it here.
inline constexpr size_t kSumSegment = 256;

// n rows of activations in one ActFormat, in tiles of at most kMaxTile rows, interleaved for the kernels.
// Owns its memory and keeps it across resize() calls. Thread rule: different rows may be written at once.
class Activations {
 public:
  static constexpr int kMaxTile = 8;

  // Prepares for `n` rows of `cols` values, in tiles of at most `tile` rows. Contents are undefined afterwards.
  void resize(ActFormat format, size_t n, size_t cols, int tile);

  ActFormat format() const { return format_; }
  size_t n() const { return n_; }
  size_t cols() const { return cols_; }
  size_t padded_cols() const { return padded_cols_; }  // a multiple of 64, or of 256 for kQ8_256; for kF32 cols()
  size_t tiles() const { return n_tiles_; }
  size_t tile_begin(size_t t) const { return t * n_ / n_tiles_; }  // first row of tile t
  size_t tile_of(size_t row) const;

  size_t tile_rows(size_t t) const { return tile_begin(t + 1) - tile_begin(t); }

  // Parts of tile t, w = tile_rows(t). kF32 has f alone; kQ8_32 has q, scale, sum32, dsum; kQ8_256 q, scale, pairs16,
  // pairs32.
  int8_t* q(size_t t) { return at(q_, t, 1); }                // [padded_cols / 4][w][4]
  float* f(size_t t) { return at(f_, t, 1); }                 // [padded_cols][w]
  float* scale(size_t t) { return at(scale_, t, block()); }   // [blocks][w]: value = q * scale
  int32_t* sum32(size_t t) { return at(sum32_, t, 32); }      // [padded_cols / 32][w]: sum of 32 q
  float* dsum(size_t t) { return at(dsum_, t, 32); }          // [padded_cols / 32][w]: scale * sum32
  int16_t* pairs16(size_t t) { return at(pairs16_, t, 16); }  // [padded_cols / 32][w][2]: sums of 16 q
  int16_t* pairs32(size_t t) { return at(pairs32_, t, 32); }  // [padded_cols / 64][w][2]: sums of 32 q
  const int8_t* q(size_t t) const { return at(q_, t, 1); }
  const float* f(size_t t) const { return at(f_, t, 1); }
  const float* scale(size_t t) const { return at(scale_, t, block()); }
  const int32_t* sum32(size_t t) const { return at(sum32_, t, 32); }
  const float* dsum(size_t t) const { return at(dsum_, t, 32); }
  const int16_t* pairs16(size_t t) const { return at(pairs16_, t, 16); }
  const int16_t* pairs32(size_t t) const { return at(pairs32_, t, 32); }
  size_t block() const { return format_ == ActFormat::kQ8_256 ? 256 : 32; }
  size_t bytes() const;  // of memory held

 private:
  // Start of tile t in a buffer that has one value per `per` columns.
  template <typename T>
  T* at(std::vector<T>& buffer, size_t t, size_t per) {
    return buffer.data() + tile_begin(t) * (padded_cols_ / per);
  }
  template <typename T>
  const T* at(const std::vector<T>& buffer, size_t t, size_t per) const {
    return buffer.data() + tile_begin(t) * (padded_cols_ / per);
  }

  ActFormat format_ = ActFormat::kF32;
  size_t n_ = 0, cols_ = 0, padded_cols_ = 0, n_tiles_ = 0;
  std::vector<int8_t> q_;
  std::vector<float> f_;
  std::vector<float> scale_;
  std::vector<int32_t> sum32_;
  std::vector<float> dsum_;
  std::vector<int16_t> pairs16_;
  std::vector<int16_t> pairs32_;
};

// Reads `lines` cache lines of 64 bytes from `data` on and returns their exclusive or, folded to 64 bits.
using ReadLoop = uint64_t (*)(const std::byte* data, size_t lines);

struct Kernels {
  Isa isa;
  std::string_view name;  // "portable", "avx2", "avx512"
  int tile;               // the widest matmul tile of this set, <= Activations::kMaxTile

  // Stores row `row` of `x` ([cols] floats at `src`) in the format of `x`.
  void (*store_activation)(const float* src, Activations& x, size_t row);

  // y[row * ld_y + r] = dot(w row r, x row) for r in units [unit_begin, unit_end) (clipped to w.rows()), all rows of x.
  // x.format() must be act_format(w.type()) and x.cols() == w.cols().
  void (*matmul)(const PackedMatrix& w, size_t unit_begin, size_t unit_end, const Activations& x, float* y,
                 size_t ld_y);

  const FloatKernels* floats;  // norms, rotations, activations, attention

  // Ways of reading memory, for measuring its speed. Which one is the fastest depends on the machine.
  std::span<const ReadLoop> read_loops;
};

// The set for an instruction set; nullptr if this build or this CPU lacks it.
const Kernels* kernels_for(Isa isa);

// The best set of this CPU, or the one that S3D_CPU names (portable, avx2, avx512). Error: unknown name, or a CPU
// without it. The environment is read here and nowhere else.
Result<const Kernels*> choose_kernels();

// Every set that this CPU can run, slowest first: for tests.
std::vector<const Kernels*> available_kernels();

}  // namespace s3d
