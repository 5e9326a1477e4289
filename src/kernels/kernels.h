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

// 64 columns of a row of activations.
struct alignas(64) ActLine {
  int8_t q[64];
};

// What 256 columns of a row have beside their integers; value = q * scale.
struct alignas(64) ActScales32 {  // kQ8_32: one of each for 32 columns
  float scale[8];
  int32_t sum[8];  // of q
  float dsum[8];   // scale * sum
};
struct alignas(64) ActScales256 {  // kQ8_256
  float scale;
  int16_t sum16[16];  // of 16 q
  int16_t sum32[8];   // of 32 q
};

// n rows of activations in one ActFormat, in tiles of at most kMaxTile rows, whose lines take turns. Different rows
// share no cache line, for different threads store them: with interleaved columns, storing eight rows on two threads
// took as long as all of their products. Owns its memory and keeps it across resize() calls. Thread rule: different
// rows may be written at once.
class Activations {
 public:
  static constexpr int kMaxTile = 8;

  // Prepares for `n` rows of `cols` values, in tiles of at most `tile` rows. Contents are undefined afterwards.
  void resize(ActFormat format, size_t n, size_t cols, int tile);

  ActFormat format() const { return format_; }
  size_t n() const { return n_; }
  size_t cols() const { return cols_; }
  size_t padded_cols() const { return lines_ * 64; }  // a multiple of 64, or of 256 for kQ8_256; 0 for kF32
  size_t tiles() const { return n_tiles_; }
  size_t tile_begin(size_t t) const { return t * n_ / n_tiles_; }  // first row of tile t
  size_t tile_of(size_t row) const;

  size_t tile_rows(size_t t) const { return tile_begin(t + 1) - tile_begin(t); }

  // Parts of tile t, w = tile_rows(t).
  ActLine* q(size_t t) { return q_.data() + tile_begin(t) * lines_; }  // [padded_cols / 64][w]; of kF32 empty
  ActScales32* scales32(size_t t) { return scales32_.data() + tile_begin(t) * segments(); }     // [segments][w], kQ8_32
  ActScales256* scales256(size_t t) { return scales256_.data() + tile_begin(t) * segments(); }  // likewise, kQ8_256
  float* f(size_t row) { return f_.data() + row * cols_; }                                      // [cols], kF32
  const ActLine* q(size_t t) const { return q_.data() + tile_begin(t) * lines_; }
  const ActScales32* scales32(size_t t) const { return scales32_.data() + tile_begin(t) * segments(); }
  const ActScales256* scales256(size_t t) const { return scales256_.data() + tile_begin(t) * segments(); }
  const float* f(size_t row) const { return f_.data() + row * cols_; }
  size_t segments() const { return (lines_ + 3) / 4; }  // of 256 columns, the last perhaps shorter
  size_t bytes() const;                                 // of memory held

 private:
  ActFormat format_ = ActFormat::kF32;
  size_t n_ = 0, cols_ = 0, lines_ = 0, n_tiles_ = 0;
  std::vector<ActLine> q_;
  std::vector<float> f_;
  std::vector<ActScales32> scales32_;
  std::vector<ActScales256> scales256_;
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
