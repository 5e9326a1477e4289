// How matrices and activations lie in a device's memory: in the order in which the lanes of a warp need them for the
// matrix instruction. No CUDA in this header; the host packs by it, the kernels read by it.
//
// Lane 4 g + t (g = 0 … 7, t = 0 … 3) of a warp works on rows g and g + 8 of a unit of 16 rows, and needs of every 32
// columns ("a piece") of a row the bytes 4 t … 4 t + 3 and 16 + 4 t … 16 + 4 t + 3. A "pair" is two pieces, 64 columns.
// "word(row, i)" is the word whose byte j belongs to column 4 i + j of the piece.
//
//   low bits, 4-bit types, of a pair: lane by lane 16 bytes: piece 0 of row g, of row g + 8, piece 1 likewise;
//     each word: word(row, t) in the low nibbles, word(row, t + 4) in the high ones
//   low bits, Q8_0, of a piece: lane by lane 16 bytes: word(g, t), word(g + 8, t), word(g, t + 4), word(g + 8, t + 4)
//   fifth bits of a pair: g by g 16 bytes: piece 0 of row g, of row g + 8, piece 1 likewise; bit i of byte j is column
//     4 i + j
//   upper bits of Q6_K, of a pair: g by g 32 bytes: for each piece, row g, row g + 8, two words each, of 16 columns:
//   bits
//     2 i and 2 i + 1 of byte j are column 4 i + j of them
//   scales of types with 32 columns a scale, of a pair: g by g 8 bytes of halves: as the fifth bits; minima likewise
//   scales of Q4_K and Q5_K: g by g 16 bytes: 8 of row g, 8 of row g + 8; minima likewise
//   scales of Q6_K: g by g 32 bytes: 16 of row g, 16 of row g + 8
//   d and dmin of K-quants: g by g halves d(g), d(g + 8), and for Q4_K and Q5_K dmin(g), dmin(g + 8)
//
// Float matrices lie as in r16: [column][16 rows].
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

namespace s3d::cuda {

inline constexpr size_t kUnitRows = 16;
inline constexpr size_t kOctet = 8;             // rows of activations that one matrix instruction takes
inline constexpr size_t kSegmentColumns = 256;  // of a chain of float additions: kernels.h, kSumSegment

// A chunk of a unit: `columns` columns of 16 rows; parts at byte offsets.
struct FragmentLayout {
  size_t columns;          // 64, K-quants 256, floats 1
  size_t low, low_pair;    // low bits, bytes of a pair
  size_t high, high_pair;  // further bits; 0 = none
  size_t scale, minimum;   // 8-bit or half, as above; minimum 0 = none
  size_t d;                // K-quants
  size_t bytes;
};

constexpr FragmentLayout fragment_layout(ggml_type type) {
  switch (type) {
    case GGML_TYPE_Q4_0:
      return {64, 0, 512, 0, 0, 512, 0, 0, 576};
    case GGML_TYPE_Q4_1:
      return {64, 0, 512, 0, 0, 512, 576, 0, 640};
    case GGML_TYPE_Q5_0:
      return {64, 0, 512, 512, 128, 640, 0, 0, 704};
    case GGML_TYPE_Q5_1:
      return {64, 0, 512, 512, 128, 640, 704, 0, 768};
    case GGML_TYPE_Q8_0:
      return {64, 0, 1024, 0, 0, 1024, 0, 0, 1088};
    case GGML_TYPE_Q4_K:
      return {256, 0, 512, 0, 0, 2048, 2176, 2304, 2368};
    case GGML_TYPE_Q5_K:
      return {256, 0, 512, 2048, 128, 2560, 2688, 2816, 2880};
    case GGML_TYPE_Q6_K:
      return {256, 0, 512, 2048, 256, 3072, 0, 3328, 3360};
    case GGML_TYPE_F16:
    case GGML_TYPE_BF16:
      return {1, 0, 0, 0, 0, 0, 0, 0, 32};
    default:
      return {1, 0, 0, 0, 0, 0, 0, 0, 64};  // F32
  }
}

// Of 16 rows; a last chunk that is not full takes a whole one's bytes.
constexpr size_t fragment_unit_bytes(ggml_type type, size_t columns) {
  const FragmentLayout lay = fragment_layout(type);
  return (columns + lay.columns - 1) / lay.columns * lay.bytes;
}

// Rows of activations in one format, in groups of 8 ("octets"; the last one may hold rows that nobody asked for).
//   quantized: q [octet][pair][lane][16 bytes]: lane 4 g + t has of row g: the bytes 4 t … of piece 0, 16 + 4 t … of
//                piece 0, then of piece 1 likewise
//   32 columns a scale: scale [octet][piece][8 rows] of { float scale, int32 sum of the q }
//   256 columns a scale: scale [octet][block][8 rows] floats; sums16 [octet][block][8 rows][16] int16 sums of 16 q;
//                sums32 [octet][block][8 rows][8]
//   floats: f [octet][column][8 rows]
constexpr size_t pairs_of(size_t columns) {
  return (columns + 63) / 64;
}
constexpr size_t octets_of(size_t rows) {
  return (rows + kOctet - 1) / kOctet;
}
// Where byte `column` of row `row` of an octet lies in its q.
constexpr size_t fragment_byte(size_t row, size_t column) {
  const size_t in_piece = column % 32, t = in_piece % 16 / 4;
  return (column / 64 * 32 + row * 4 + t) * 16 + column / 32 % 2 * 8 + in_piece / 16 * 4 + in_piece % 4;
}

}  // namespace s3d::cuda
