// The table of compute kernels of one instruction set. No SIMD in this header.
//
// Every kernel is single-threaded, and gives every instruction set the same bits: integer dot products are exact, and
// float work is written for sixteen lanes with fixed order and explicit fused multiply-adds. A result for one row
// never depends on how many rows share the call (DESIGN section 2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/packed_matrix.h"

namespace s3d {

enum class Isa { kPortable, kAvx2, kAvx512 };

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
  size_t padded_cols() const { return padded_cols_; }  // a multiple of 64, or of 256 for kQ8_256
  size_t tiles() const { return n_tiles_; }
  size_t tile_begin(size_t t) const { return t * n_ / n_tiles_; }  // first row of tile t
  size_t tile_of(size_t row) const;

  // Parts of tile t, which has w = tile_begin(t+1) - tile_begin(t) rows; j counts rows within the tile.
  int8_t* q(size_t t) { return q_.data() + tile_begin(t) * padded_cols_; }  // [padded_cols / 4][w][4]
  const int8_t* q(size_t t) const { return q_.data() + tile_begin(t) * padded_cols_; }
  float* f(size_t t) { return f_.data() + tile_begin(t) * padded_cols_; }  // [padded_cols][w] (kF32)
  const float* f(size_t t) const { return f_.data() + tile_begin(t) * padded_cols_; }
  size_t block() const { return format_ == ActFormat::kQ8_256 ? 256 : 32; }
  size_t blocks() const { return padded_cols_ / block(); }
  float* scale(size_t t) { return scale_.data() + tile_begin(t) * blocks(); }  // [blocks][w]
  const float* scale(size_t t) const { return scale_.data() + tile_begin(t) * blocks(); }
  int16_t* sums(size_t t) {
    return sums_.data() + tile_begin(t) * (padded_cols_ / 16);
  }  // [padded_cols/32][w][2]: sum of q over each 16
  const int16_t* sums(size_t t) const { return sums_.data() + tile_begin(t) * (padded_cols_ / 16); }

 private:
  ActFormat format_ = ActFormat::kF32;
  size_t n_ = 0, cols_ = 0, padded_cols_ = 0, n_tiles_ = 0;
  std::vector<int8_t> q_;
  std::vector<float> f_;
  std::vector<float> scale_;
  std::vector<int16_t> sums_;
};

struct Kernels {
  Isa isa;
  std::string_view name;  // "portable", "avx2", "avx512"
  int tile;               // rows of a matmul tile that this set likes best, <= Activations::kMaxTile

  // Stores row `row` of `x` ([cols] floats at `src`) in the format of `x`.
  void (*store_activation)(const float* src, Activations& x, size_t row);

  // y[row * ld_y + r] = dot(w row r, x row) for r in units [unit_begin, unit_end) (clipped to w.rows()), all rows of x.
  // x.format() must be act_format(w.type()) and x.cols() == w.cols().
  void (*matmul)(const PackedMatrix& w, size_t unit_begin, size_t unit_end, const Activations& x, float* y,
                 size_t ld_y);
};

// The set for an instruction set; nullptr if this build or this CPU lacks it.
const Kernels* kernels_for(Isa isa);

// The best set of this CPU, or the one that S3D_CPU names (portable, avx2, avx512). Error: unknown name, or a CPU
// without it. The environment is read here and nowhere else.
Result<const Kernels*> choose_kernels();

// Every set that this CPU can run, slowest first: for tests.
std::vector<const Kernels*> available_kernels();

}  // namespace s3d
