// The r16 layout: sixteen rows of a weight matrix interleaved so that one 32-bit lane is one row.
//
// A "line" is 64 bytes = 16 rows x 4 consecutive k, row-major: byte 4 * row + k % 4. A line group of eight k-groups
// (32 k) is the unit that integer scales and float scales refer to.
//
// Integer weights are stored unsigned (Q4 0..15, Q5 0..31, Q6 0..63) except Q8 (signed); what they are offset by is
// subtracted through the sums of the activations. 4-bit lines hold two k-groups: low nibbles = group 2i, high = 2i + 1.
// Fifth bits: one line for 32 k, bit g of byte (row, k % 4) belongs to k-group g. Q6's upper two bits: one line for
// 16 k, bits 2i and 2i + 1 belong to k-group i. A line of high bits stands before the lines of low bits that it belongs
// to (together a "run"), so that a unit is read from its first byte to its last: as two sequences, high bits after all
// low ones, the processor's prefetchers gave Q6_K a third of the memory's speed.
//
// Measured against row-major blocks by ../docs/kernels.md: no horizontal sums, one load and unpack for all rows of a
// pass.
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

namespace s3d::r16 {

inline constexpr size_t kRows = 16;
inline constexpr size_t kLine = 64;

// One block of a unit: 16 rows x `k` columns, parts at byte offsets from the block's start.
struct Layout {
  size_t k;      // columns of a block: 64 (per-32 types), 256 (K-quants), 1 (floats)
  size_t d;      // float16 scales: [k / 32][16] for per-32 types, [16] for K-quants
  size_t m;      // float16 minima, same shape (Q4_1, Q5_1), or [16] dmin (Q4_K, Q5_K)
  size_t sc;     // Q4_K, Q5_K: u8 [8][16] scales; Q6_K: i8 [8][16][2], scale pairs of adjacent 16-k sub-blocks
  size_t mn;     // Q4_K, Q5_K: u8 [4][16][2] minima, pairs of adjacent 32-k sub-blocks
  size_t q;      // low bits of the first run: Q4 and Q5 four lines, Q6 two, Q8 eight; floats: 16 values
  size_t qh;     // high bits of the first run, one line: Q5, Q6
  size_t run;    // bytes from one run's bits to the next one's
  size_t bytes;  // of the block
};

constexpr Layout layout(ggml_type type) {
  switch (type) {
    case GGML_TYPE_Q4_0:
      return {64, 0, 0, 0, 0, 64, 0, 256, 576};
    case GGML_TYPE_Q4_1:
      return {64, 0, 64, 0, 0, 128, 0, 256, 640};
    case GGML_TYPE_Q5_0:
      return {64, 0, 0, 0, 0, 128, 64, 320, 704};
    case GGML_TYPE_Q5_1:
      return {64, 0, 64, 0, 0, 192, 128, 320, 768};
    case GGML_TYPE_Q8_0:
      return {64, 0, 0, 0, 0, 64, 0, 512, 1088};
    case GGML_TYPE_Q4_K:
      return {256, 0, 32, 64, 192, 320, 0, 256, 2368};
    case GGML_TYPE_Q5_K:
      return {256, 0, 32, 64, 192, 384, 320, 320, 2880};
    case GGML_TYPE_Q6_K:
      return {256, 0, 0, 64, 0, 384, 320, 192, 3392};
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
      return {1, 0, 0, 0, 0, 0, 0, 0, 32};
    default:
      return {1, 0, 0, 0, 0, 0, 0, 0, 64};  // F32
  }
}

// k-groups of a run: 32 k, or 16.
constexpr size_t run_groups(ggml_type type) {
  return type == GGML_TYPE_Q6_K ? 4 : 8;
}

// Bytes of a last block that holds 32 columns, half of what it could: it ends after its first run. Low-rank matrices
// have such blocks (rank 32).
constexpr size_t half_block_bytes(ggml_type type) {
  return layout(type).bytes - layout(type).run;
}
constexpr size_t unit_bytes(ggml_type type, size_t cols) {
  const Layout lay = layout(type);
  return cols / lay.k * lay.bytes + (cols % lay.k != 0 ? half_block_bytes(type) : 0);
}

// Packs up to 16 rows (`n_rows`; the rest is zero) of `cols` values from ggml's row-major blocks, rows
// `row_bytes` apart, into one unit at `out` (unit_bytes). `type` must be supported, cols a multiple of its block size.
void pack_unit(ggml_type type, const void* src, size_t row_bytes, size_t n_rows, size_t cols, std::byte* out);

// The inverse, as floats (for tests and docs): `out` is [16][cols]; equals ggml's own dequantization bit for bit.
void unpack_unit(ggml_type type, const std::byte* unit, size_t cols, float* out);

}  // namespace s3d::r16
