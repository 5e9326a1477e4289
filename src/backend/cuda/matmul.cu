// Matrix products for any number of rows: one kernel, with two ways of computing a segment (integers by the matrix
// instruction, floats by chains).
//
// The atom of work is an item: a unit of 16 rows times a segment of 256 columns, done by one warp. The segments' sums
// go through shared memory, and one thread adds those of an output in their order. So no bit depends on how the items
// are divided among warps and blocks, nor on how many rows share the pass (docs/gpu.md).
#include "backend/cuda/float_ops.h"
#include "backend/cuda/fragment_layout.h"
#include "backend/cuda/launchers.h"
#include "backend/cuda/matmul_shape.h"

namespace s3d::S3D_CUDA_NS {
namespace {

using cuda::fragment_layout;
using cuda::FragmentLayout;
using cuda::MatmulTask;
using cuda::MatrixProduct;

constexpr int kPairs = cuda::kSegmentColumns / 64;  // pairs of a segment

constexpr int kSumStride = 20;  // floats from a column's 16 sums to the next one's: keeps lanes on different banks

template <ggml_type kType>
constexpr bool kHasMinimum = kType == GGML_TYPE_Q4_1 || kType == GGML_TYPE_Q5_1;
template <ggml_type kType>
constexpr int kOffset = kType == GGML_TYPE_Q4_0   ? 8
                        : kType == GGML_TYPE_Q5_0 ? 16
                                                  : 0;
template <ggml_type kType>
constexpr bool kHasFifth = kType == GGML_TYPE_Q5_0 || kType == GGML_TYPE_Q5_1 || kType == GGML_TYPE_Q5_K;

// Place of a lane in the fragments.
struct LanePlace {
  unsigned lane, g, t;
};
S3D_DEVICE LanePlace lane_place() {
  const unsigned lane = lane_of_warp();
  return {lane, lane / 4, lane % 4};
}

template <typename T>
S3D_DEVICE const T* part(const std::byte* base, size_t offset) {
  return reinterpret_cast<const T*>(base + offset);
}

// Half i of the four in a word pair: piece i / 2, row g (even) or g + 8.
S3D_DEVICE float half_of(uint2 halves, int i) {
  const uint32_t word = i < 2 ? halves.x : halves.y;
  return half_to_float(word >> (i % 2 * 16) & 0xffffU);
}
S3D_DEVICE uint32_t word_of(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

// Bits of a pair of pieces, as a lane has them.
template <ggml_type kType>
struct PairBits {
  uint4 low[kType == GGML_TYPE_Q8_0 ? 2 : 1];
  uint4 high[kType == GGML_TYPE_Q6_K ? 2 : 1];  // where the type has them

  S3D_DEVICE void load(const std::byte* chunk, int pair, const LanePlace& at) {
    constexpr FragmentLayout kLay = fragment_layout(kType);
    const std::byte* from = chunk + kLay.low + static_cast<size_t>(pair) * kLay.low_pair;
    low[0] = load_weights(part<uint4>(from, at.lane * 16));
    if constexpr (kType == GGML_TYPE_Q8_0) low[1] = load_weights(part<uint4>(from, 512 + at.lane * 16));
    from = chunk + kLay.high + static_cast<size_t>(pair) * kLay.high_pair;
    if constexpr (kHasFifth<kType>) high[0] = load_weights(part<uint4>(from, at.g * 16));
    if constexpr (kType == GGML_TYPE_Q6_K) {
      high[0] = load_weights(part<uint4>(from, at.g * 32));
      high[1] = load_weights(part<uint4>(from, at.g * 32 + 16));
    }
  }

  // The A registers of piece 0 or 1: rows g, g + 8, then the same 16 columns further.
  S3D_DEVICE void unpack(int piece, const LanePlace& at, uint32_t (&a)[4]) const {
    if constexpr (kType == GGML_TYPE_Q8_0) {
      for (int i = 0; i < 4; ++i) a[i] = word_of(low[piece], i);
    } else {
      for (int row = 0; row < 2; ++row) {
        const uint32_t bits = word_of(low[0], 2 * piece + row);
        a[row] = bits & 0x0f0f0f0fU;
        a[row + 2] = bits >> 4 & 0x0f0f0f0fU;
        add_high_bits(piece, row, at, a);
      }
    }
  }

 private:
  S3D_DEVICE void add_high_bits(int piece, int row, const LanePlace& at, uint32_t (&a)[4]) const {
    if constexpr (kHasFifth<kType>) {
      const uint32_t fifth = word_of(high[0], 2 * piece + row) >> at.t;
      a[row] |= (fifth & 0x01010101U) << 4;
      a[row + 2] |= fifth & 0x10101010U;
    } else if constexpr (kType == GGML_TYPE_Q6_K) {
      a[row] |= (word_of(high[piece], 2 * row) >> (2 * at.t) & 0x03030303U) << 4;
      a[row + 2] |= (word_of(high[piece], 2 * row + 1) >> (2 * at.t) & 0x03030303U) << 4;
    }
  }
};

// What a lane sums: rows g, g + 8 (i / 2) of columns 2 t, 2 t + 1 (i % 2) of each octet.
template <int kOctets, typename T>
struct Outputs {
  T v[kOctets][4] = {};
};

// ---- Types with 32 columns a scale
// -----------------------------------------------------------------------------------

template <ggml_type kType, int kOctets>
S3D_DEVICE void add_piece(const MatmulTask& task, const uint32_t (&a)[4], const uint4 (&x)[kOctets], int piece,
                          int piece_of_pair, size_t octet, uint2 scale, uint2 minimum, const LanePlace& at,
                          Outputs<kOctets, float>& acc) {
  const size_t pieces = cuda::pairs_of(static_cast<size_t>(task.cols)) * 2;
  S3D_UNROLL
  for (int o = 0; o < kOctets; ++o) {
    const uint32_t b[2] = {word_of(x[o], 2 * piece_of_pair), word_of(x[o], 2 * piece_of_pair + 1)};
    int32_t c[4] = {};
    mma_k32<kType == GGML_TYPE_Q8_0>(c, a, b);
    const uint4 s = load_shared_input(part<uint4>(static_cast<const std::byte*>(task.x.scale32),
                                                  (((octet + o) * pieces + piece) * 8 + 2 * at.t) * 8));
    S3D_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float dx = from_bits(i % 2 == 0 ? s.x : s.z);
      const auto sum = static_cast<int32_t>(i % 2 == 0 ? s.y : s.w);
      const int32_t dot = kOffset<kType> == 0 ? c[i] : c[i] - kOffset<kType> * sum;
      const int half = 2 * piece_of_pair + i / 2;
      acc.v[o][i] = fma(to_float(dot), mul(half_of(scale, half), dx), acc.v[o][i]);
      if constexpr (kHasMinimum<kType>) {
        acc.v[o][i] = fma(half_of(minimum, half), mul(dx, to_float(sum)), acc.v[o][i]);
      }
    }
  }
}

template <ggml_type kType, int kOctets>
S3D_DEVICE void segment_of_32(const MatmulTask& task, const std::byte* unit, int segment, size_t octet,
                              Outputs<kOctets, float>& acc) {
  constexpr FragmentLayout kLay = fragment_layout(kType);
  const LanePlace at = lane_place();
  const int pieces = task.cols / 32, first = segment * kPairs * 2;
  const std::byte* chunk = unit + static_cast<size_t>(segment) * kPairs * kLay.bytes;
  PairBits<kType> bits[kPairs];
  uint2 scale[kPairs], minimum[kPairs] = {};
  S3D_UNROLL
  for (int p = 0; p < kPairs; ++p) {  // all loads first: they are what the time goes to
    if (first + 2 * p >= pieces) continue;
    bits[p].load(chunk + p * kLay.bytes, 0, at);
    scale[p] = load_weights(part<uint2>(chunk + p * kLay.bytes, kLay.scale + at.g * 8));
    if constexpr (kHasMinimum<kType>) {
      minimum[p] = load_weights(part<uint2>(chunk + p * kLay.bytes, kLay.minimum + at.g * 8));
    }
  }
  S3D_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    if (first + 2 * p >= pieces) break;
    uint4 x[kOctets];
    S3D_UNROLL
    for (int o = 0; o < kOctets; ++o) {
      const size_t pair = (octet + o) * cuda::pairs_of(static_cast<size_t>(task.cols)) + segment * kPairs + p;
      x[o] = load_shared_input(reinterpret_cast<const uint4*>(task.x.q32) + pair * kWarpLanes + at.lane);
    }
    S3D_UNROLL
    for (int piece = 0; piece < 2; ++piece) {
      if (first + 2 * p + piece >= pieces) break;
      uint32_t a[4];
      bits[p].unpack(piece, at, a);
      add_piece<kType, kOctets>(task, a, x, first + 2 * p + piece, piece, octet, scale[p], minimum[p], at, acc);
    }
  }
}

// ---- K-quants: a block is a segment
// ----------------------------------------------------------------------------------

// Pairs of a segment whose loads are in flight together. The widest products have eight octets of activations to load
// for each pair: with all pairs at once the registers do not suffice.
template <int kOctets>
constexpr int kPairsAtOnce = kOctets == 8 ? 1 : kPairs;

// Scale s of row g (0) or g + 8 (1) of Q4_K and Q5_K: 8 bytes each.
S3D_DEVICE int32_t scale_of(const uint4& v, int row, int s) {
  return static_cast<int32_t>(word_of(v, row * 2 + s / 4) >> (s % 4 * 8) & 0xffU);
}

template <int kOctets>
S3D_DEVICE void load_columns(const MatmulTask& task, int block, size_t octet, int pair, const LanePlace& at,
                             uint4 (&x)[kOctets]) {
  S3D_UNROLL
  for (int o = 0; o < kOctets; ++o) {
    const size_t index = (octet + o) * cuda::pairs_of(static_cast<size_t>(task.cols)) + block * kPairs + pair;
    x[o] = load_shared_input(reinterpret_cast<const uint4*>(task.x.q256) + index * kWarpLanes + at.lane);
  }
}

// sum over the sub-blocks of minimum * sum of 32 activations
S3D_DEVICE int32_t minimum_sum(const uint4& minimum, int row, const uint4& sums) {
  const uint32_t first = word_of(minimum, row * 2), second = word_of(minimum, row * 2 + 1);
  int32_t low = dot_low_pair(sums.x, first, 0);
  low = dot_high_pair(sums.y, first, low);
  low = dot_low_pair(sums.z, second, low);
  return dot_high_pair(sums.w, second, low);
}

template <ggml_type kType, int kOctets>
S3D_DEVICE void segment_of_q45_k(const MatmulTask& task, const std::byte* unit, int block, size_t octet,
                                 Outputs<kOctets, float>& acc) {
  constexpr FragmentLayout kLay = fragment_layout(kType);
  const LanePlace at = lane_place();
  const std::byte* chunk = unit + static_cast<size_t>(block) * kLay.bytes;
  PairBits<kType> bits[kPairsAtOnce<kOctets>];
  S3D_UNROLL
  for (int p = 0; p < kPairsAtOnce<kOctets>; ++p) bits[p].load(chunk, p, at);
  const uint4 scale = load_weights(part<uint4>(chunk, kLay.scale + at.g * 16));
  const uint4 minimum = load_weights(part<uint4>(chunk, kLay.minimum + at.g * 16));
  const uint2 d = load_weights(part<uint2>(chunk, kLay.d + at.g * 8));  // d of both rows, dmin of both

  Outputs<kOctets, int32_t> sum;
  S3D_UNROLL_BY(kPairsAtOnce<kOctets>)
  for (int p = 0; p < kPairs; ++p) {
    const int mine = p % kPairsAtOnce<kOctets>;
    if (kPairsAtOnce<kOctets> == 1 && p > 0) bits[0].load(chunk, p, at);
    uint4 x[kOctets];
    load_columns<kOctets>(task, block, octet, p, at, x);
    S3D_UNROLL
    for (int piece = 0; piece < 2; ++piece) {
      uint32_t a[4];
      bits[mine].unpack(piece, at, a);
      S3D_UNROLL
      for (int o = 0; o < kOctets; ++o) {
        const uint32_t b[2] = {word_of(x[o], 2 * piece), word_of(x[o], 2 * piece + 1)};
        int32_t c[4] = {};
        mma_k32<false>(c, a, b);
        S3D_UNROLL
        for (int i = 0; i < 4; ++i) sum.v[o][i] += scale_of(scale, i / 2, 2 * p + piece) * c[i];
      }
    }
  }
  const size_t blocks = static_cast<size_t>(task.cols) / 256;
  S3D_UNROLL
  for (int o = 0; o < kOctets; ++o) {
    const size_t column = ((octet + o) * blocks + block) * 8 + 2 * at.t;
    const float2 dx = load_shared_input(reinterpret_cast<const float2*>(task.x.scale256 + column));
    S3D_UNROLL
    for (int i = 0; i < 4; ++i) {
      const uint4 sums = load_shared_input(reinterpret_cast<const uint4*>(task.x.sums32) + column + i % 2);
      const float scale_x = i % 2 == 0 ? dx.x : dx.y;
      const int32_t low = minimum_sum(minimum, i / 2, sums);
      const float first = mul(to_float(sum.v[o][i]), mul(half_of(d, i / 2), scale_x));
      acc.v[o][i] = fma(to_float(-low), mul(half_of(d, 2 + i / 2), scale_x), first);
    }
  }
}

// Scale s of 16 of a row of Q6_K, signed.
S3D_DEVICE int32_t signed_scale_of(const uint4& v, int s) {
  return static_cast<int8_t>(word_of(v, s / 4) >> (s % 4 * 8));
}
S3D_DEVICE int32_t signed_half_of(uint2 v, int i) {
  return static_cast<int16_t>((i < 2 ? v.x : v.y) >> (i % 2 * 16));
}

template <int kOctets>
S3D_DEVICE void segment_of_q6_k(const MatmulTask& task, const std::byte* unit, int block, size_t octet,
                                Outputs<kOctets, float>& acc) {
  constexpr ggml_type kType = GGML_TYPE_Q6_K;
  constexpr FragmentLayout kLay = fragment_layout(kType);
  const LanePlace at = lane_place();
  const std::byte* chunk = unit + static_cast<size_t>(block) * kLay.bytes;
  PairBits<kType> bits[kPairsAtOnce<kOctets>];
  S3D_UNROLL
  for (int p = 0; p < kPairsAtOnce<kOctets>; ++p) bits[p].load(chunk, p, at);
  const uint4 scale[2] = {load_weights(part<uint4>(chunk, kLay.scale + at.g * 32)),
                          load_weights(part<uint4>(chunk, kLay.scale + at.g * 32 + 16))};
  const uint32_t d = load_shared_input(part<uint32_t>(chunk, kLay.d + at.g * 4));

  const size_t blocks = static_cast<size_t>(task.cols) / 256;
  Outputs<kOctets, int32_t> sum;
  S3D_UNROLL_BY(kPairsAtOnce<kOctets>)
  for (int p = 0; p < kPairs; ++p) {
    const int mine = p % kPairsAtOnce<kOctets>;
    if (kPairsAtOnce<kOctets> == 1 && p > 0) bits[0].load(chunk, p, at);
    uint4 x[kOctets];
    uint2 sums[kOctets][2];  // of the pair's four runs of 16, columns 2 t and 2 t + 1
    load_columns<kOctets>(task, block, octet, p, at, x);
    S3D_UNROLL
    for (int o = 0; o < kOctets; ++o) {
      const size_t column = ((octet + o) * blocks + block) * 8 + 2 * at.t;
      const uint2* from = reinterpret_cast<const uint2*>(task.x.sums16) + column * 4 + p;
      sums[o][0] = load_shared_input(from);
      sums[o][1] = load_shared_input(from + 4);
    }
    S3D_UNROLL
    for (int piece = 0; piece < 2; ++piece) {
      uint32_t a[4];
      bits[mine].unpack(piece, at, a);
      S3D_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int s = piece * 2 + half;
        S3D_UNROLL
        for (int o = 0; o < kOctets; ++o) {
          int32_t c[4] = {};
          mma_k16(c, a[half * 2], a[half * 2 + 1], word_of(x[o], s));
          S3D_UNROLL
          for (int i = 0; i < 4; ++i) {
            const int32_t dot = c[i] - 32 * signed_half_of(sums[o][i % 2], s);
            sum.v[o][i] += signed_scale_of(scale[i / 2], 4 * p + s) * dot;
          }
        }
      }
    }
  }
  S3D_UNROLL
  for (int o = 0; o < kOctets; ++o) {
    const size_t column = ((octet + o) * blocks + block) * 8 + 2 * at.t;
    const float2 dx = load_shared_input(reinterpret_cast<const float2*>(task.x.scale256 + column));
    S3D_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float row_d = half_to_float(i < 2 ? d & 0xffffU : d >> 16);
      acc.v[o][i] = mul(to_float(sum.v[o][i]), mul(row_d, i % 2 == 0 ? dx.x : dx.y));
    }
  }
}

template <ggml_type kType, int kOctets>
S3D_DEVICE void integer_segment(const MatmulTask& task, const std::byte* unit, int segment, size_t octet, float* sums) {
  Outputs<kOctets, float> acc;
  if constexpr (kType == GGML_TYPE_Q6_K) {
    segment_of_q6_k<kOctets>(task, unit, segment, octet, acc);
  } else if constexpr (fragment_layout(kType).columns == 256) {
    segment_of_q45_k<kType, kOctets>(task, unit, segment, octet, acc);
  } else {
    segment_of_32<kType, kOctets>(task, unit, segment, octet, acc);
  }
  const LanePlace at = lane_place();
  S3D_UNROLL
  for (int o = 0; o < kOctets; ++o) {
    S3D_UNROLL
    for (int i = 0; i < 4; ++i) {
      sums[(o * 8 + 2 * at.t + i % 2) * kSumStride + at.g + i / 2 * 8] = acc.v[o][i];
    }
  }
}

// ---- Floats: lanes 0 to 15 have the even columns of a row each, the others the odd ones
// ------------------------------

template <ggml_type kType>
S3D_DEVICE float float_weight(const std::byte* unit, size_t i) {
  if constexpr (kType == GGML_TYPE_F32) return load_shared_input(reinterpret_cast<const float*>(unit) + i);
  const uint16_t bits = load_shared_input(reinterpret_cast<const uint16_t*>(unit) + i);
  if constexpr (kType == GGML_TYPE_F16) return half_to_float(bits);
  return from_bits(static_cast<uint32_t>(bits) << 16);
}

template <ggml_type kType, int kOctets>
S3D_DEVICE void float_segment(const MatmulTask& task, const std::byte* unit, int segment, size_t octet, float* sums) {
  const unsigned lane = lane_of_warp(), row = lane % 16;
  const int begin = segment * static_cast<int>(cuda::kSegmentColumns);
  int end = begin + static_cast<int>(cuda::kSegmentColumns);
  if (end > task.cols) end = task.cols;
  float acc[kOctets * 8] = {};
  S3D_UNROLL_4
  for (int k = begin + static_cast<int>(lane / 16); k < end; k += 2) {
    const float w = float_weight<kType>(unit, static_cast<size_t>(k) * 16 + row);
    S3D_UNROLL
    for (int o = 0; o < kOctets; ++o) {
      const auto* x = reinterpret_cast<const float4*>(task.x.f + ((octet + o) * task.cols + k) * 8);
      const float4 first = load_shared_input(x), second = load_shared_input(x + 1);
      const float columns[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
      S3D_UNROLL
      for (int j = 0; j < 8; ++j) acc[o * 8 + j] = fma(w, columns[j], acc[o * 8 + j]);
    }
  }
  S3D_UNROLL
  for (int j = 0; j < kOctets * 8; ++j) {
    const float both = add(acc[j], shuffle_xor_float(acc[j], 16));
    if (lane < 16) sums[j * kSumStride + row] = both;
  }
}

// ---- The kernel
// ------------------------------------------------------------------------------------------------------

// The units of a block: `count` of them from `first` on, of one product.
struct BlockUnits {
  int product, first, count;
};
S3D_DEVICE BlockUnits block_units(const MatmulTask& task) {
  int block = static_cast<int>(blockIdx.x);
  for (int p = 0;; ++p) {
    const int units = (task.products[p].rows + 15) / 16;
    const int blocks = (units + task.units_per_block - 1) / task.units_per_block;
    if (block < blocks || p + 1 == task.n_products) {
      const int first = block * task.units_per_block, left = units - first;
      return {p, first, left < task.units_per_block ? left : task.units_per_block};
    }
    block -= blocks;
  }
}

S3D_DEVICE void store_output(const MatrixProduct& product, int row, int column, float value) {
  const size_t line = static_cast<size_t>(column) * static_cast<size_t>(product.ld);
  const bool adds = product.addend != nullptr && (product.addend_rows == nullptr || product.addend_rows[column] != 0);
  if (adds) value = add(value, product.addend[line + row]);
  if (product.bias != nullptr) value = add(value, product.bias[row]);
  if (product.softcap != 0) value = soft_cap(product.softcap, div(2.0F, product.softcap), value);
  float* y = product.y + line + (product.places == nullptr ? row : product.places[row]);
  *y = product.accumulate ? add(*y, value) : value;
}

// Asks for the weights of a warp's first items while the kernel before still runs.
template <ggml_type kType>
S3D_DEVICE void fetch_items(const MatmulTask& task, const BlockUnits& block, int items, size_t unit_bytes) {
  constexpr FragmentLayout kLay = fragment_layout(kType);
  constexpr size_t kBytes = cuda::kSegmentColumns / kLay.columns * kLay.bytes, kLine = 128;  // of a segment
  const int segments = cuda::segments_of(task.cols);
  const int last = task.items_per_round < items ? task.items_per_round : items;
  const std::byte* weights = task.products[block.product].weights;
  for (int item = static_cast<int>(warp_of_block()); item < last; item += static_cast<int>(warps_of_block())) {
    const size_t begin = static_cast<size_t>(item % segments) * kBytes;
    const size_t end = begin + kBytes < unit_bytes ? begin + kBytes : unit_bytes;
    const std::byte* unit = weights + static_cast<size_t>(block.first + item / segments) * unit_bytes;
    for (size_t at = begin + lane_of_warp() * kLine; at < end; at += kWarpLanes * kLine) fetch_early(unit + at);
  }
}

// Two blocks a multiprocessor: at most 128 registers, with which nothing is spilled on any architecture; 16 warps have
// twice the loads in flight that an H100's memory wants (docs/gpu.md). Left to itself, ptxas spills in some variants.
// Wide tiles are bound by instructions, and want the registers of a block that is alone.
template <ggml_type kType, int kOctets>
__global__ void __launch_bounds__(cuda::kMatmulThreads, kOctets <= 2 ? 2 : 1) matmul_kernel(const MatmulTask task) {
  constexpr int kColumns = kOctets * 8, kOutputs = kColumns * 16;
  const BlockUnits block = block_units(task);
  const MatrixProduct& product = task.products[block.product];
  const size_t octet = static_cast<size_t>(blockIdx.y) * kOctets;
  const int segments = cuda::segments_of(task.cols), items = block.count * segments;
  const size_t unit_bytes = cuda::fragment_unit_bytes(kType, static_cast<size_t>(task.cols));
  const int outputs = block.count * kOutputs, thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  auto* totals = reinterpret_cast<float*>(block_shared());
  float* sums = totals + task.units_per_block * kOutputs;
  let_next_start();
  if constexpr (kStartsEarly) fetch_items<kType>(task, block, items, unit_bytes);
  wait_for_previous();

  for (int o = thread; o < outputs; o += threads) totals[o] = 0;  // a total has one thread, here and below
  for (int first = 0; first < items; first += task.items_per_round) {
    const int last = first + task.items_per_round < items ? first + task.items_per_round : items;
    for (int item = first + static_cast<int>(warp_of_block()); item < last;
         item += static_cast<int>(warps_of_block())) {
      const std::byte* unit = product.weights + static_cast<size_t>(block.first + item / segments) * unit_bytes;
      float* to = sums + (item - first) * kColumns * kSumStride;
      if constexpr (fragment_layout(kType).columns == 1) {
        float_segment<kType, kOctets>(task, unit, item % segments, octet, to);
      } else {
        integer_segment<kType, kOctets>(task, unit, item % segments, octet, to);
      }
    }
    __syncthreads();
    for (int o = thread; o < outputs; o += threads) {
      const int unit = o / kOutputs, column = o % kOutputs / 16, row = o % 16;
      const int begin = unit * segments > first ? unit * segments : first;
      const int end = (unit + 1) * segments < last ? (unit + 1) * segments : last;
      float total = totals[o];
      for (int item = begin; item < end; ++item) {
        total = add(total, sums[((item - first) * kColumns + column) * kSumStride + row]);
      }
      totals[o] = total;
    }
    __syncthreads();  // before the next round's sums take the place of these
  }
  for (int o = thread; o < outputs; o += threads) {
    const int row = (block.first + o / kOutputs) * 16 + o % 16;
    const int column = static_cast<int>(octet) * 8 + o % kOutputs / 16;
    if (row < product.rows && column < task.n) store_output(product, row, column, totals[o]);
  }
}

template <ggml_type kType>
void launch(void* stream, const MatmulTask& task) {
  const int octets = cuda::matmul_octets(task.n, fragment_layout(kType).columns > 1);
  const cuda::MatmulShape shape = cuda::matmul_shape(task);
  MatmulTask shaped = task;
  shaped.units_per_block = shape.units_per_block;
  shaped.items_per_round = shape.items_per_round;
  if (octets == 1) {
    S3D_LAUNCH(stream, (matmul_kernel<kType, 1>), shape.grid, shape.threads, shape.shared_bytes, shaped);
  } else if (octets == 2) {
    S3D_LAUNCH(stream, (matmul_kernel<kType, 2>), shape.grid, shape.threads, shape.shared_bytes, shaped);
  } else if constexpr (fragment_layout(kType).columns > 1) {
    if (octets == 4) {
      S3D_LAUNCH(stream, (matmul_kernel<kType, 4>), shape.grid, shape.threads, shape.shared_bytes, shaped);
    } else {
      S3D_LAUNCH(stream, (matmul_kernel<kType, 8>), shape.grid, shape.threads, shape.shared_bytes, shaped);
    }
  }
}

}  // namespace

void launch_matmul(void* stream, const MatmulTask& task) {
  switch (task.type) {
    case GGML_TYPE_F32:
      return launch<GGML_TYPE_F32>(stream, task);
    case GGML_TYPE_F16:
      return launch<GGML_TYPE_F16>(stream, task);
    case GGML_TYPE_BF16:
      return launch<GGML_TYPE_BF16>(stream, task);
    case GGML_TYPE_Q8_0:
      return launch<GGML_TYPE_Q8_0>(stream, task);
    case GGML_TYPE_Q4_0:
      return launch<GGML_TYPE_Q4_0>(stream, task);
    case GGML_TYPE_Q4_1:
      return launch<GGML_TYPE_Q4_1>(stream, task);
    case GGML_TYPE_Q5_0:
      return launch<GGML_TYPE_Q5_0>(stream, task);
    case GGML_TYPE_Q5_1:
      return launch<GGML_TYPE_Q5_1>(stream, task);
    case GGML_TYPE_Q4_K:
      return launch<GGML_TYPE_Q4_K>(stream, task);
    case GGML_TYPE_Q5_K:
      return launch<GGML_TYPE_Q5_K>(stream, task);
    default:
      return launch<GGML_TYPE_Q6_K>(stream, task);
  }
}

}  // namespace s3d::S3D_CUDA_NS
