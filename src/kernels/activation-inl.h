// Rows of activations -> int8 with scales and sums, interleaved for the matmul (included by isa_*.cc).
//
// q = round(x * (127 / max|x|)) per block of 32 or 256 values, ties to even; value = q * (max|x| / 127).

namespace s3d::S3D_ISA_NS {

// Largest magnitude of x[0, count), NaN where there is one, so that it reaches the logits; count is a multiple of 16.
inline float max_abs(const float* x, size_t count) {
  F32x16 largest = zero();
  for (size_t i = 0; i < count; i += 16) largest = max_magnitude(abs(load(x + i)), largest);
  return reduce_max_magnitude(largest);
}

// Quantizes one block of `count` (a multiple of 32) values; returns the scale.
inline float quantize_block(const float* x, size_t count, int8_t* q) {
  const float largest = max_abs(x, count);
  store_scaled_i8(x, count, largest, q);
  return largest / 127.0F;
}

inline int32_t sum_of(const int8_t* q, size_t count) {
  int32_t sum = 0;
  for (size_t i = 0; i < count; ++i) sum += q[i];
  return sum;
}

// Where row `row` of an Activations lies: its tile, width, and place in it.
struct Place {
  size_t tile, width, column;
};

inline void interleave(const int8_t* q, size_t count, size_t k0, const Place& at, int8_t* tile) {
  for (size_t i = 0; i < count; i += 4) std::memcpy(tile + ((k0 + i) / 4 * at.width + at.column) * 4, q + i, 4);
}

inline void store_q8_32(const float* x, size_t block, const Place& at, Activations& out) {
  alignas(64) int8_t q[32];
  const float scale = quantize_block(x, 32, q);
  const int32_t sum = sum_of(q, 32);
  const size_t i = block * at.width + at.column;
  interleave(q, 32, block * 32, at, out.q(at.tile));
  out.scale(at.tile)[i] = scale;
  out.sum32(at.tile)[i] = sum;
  out.dsum(at.tile)[i] = scale * static_cast<float>(sum);
}

inline void store_q8_256(const float* x, size_t block, const Place& at, Activations& out) {
  alignas(64) int8_t q[256];
  out.scale(at.tile)[block * at.width + at.column] = quantize_block(x, 256, q);
  interleave(q, 256, block * 256, at, out.q(at.tile));
  for (size_t s = 0; s < 8; ++s) {  // runs of 32 values
    const auto first = static_cast<int16_t>(sum_of(q + 32 * s, 16));
    const auto second = static_cast<int16_t>(sum_of(q + 32 * s + 16, 16));
    int16_t* pair = out.pairs16(at.tile) + ((block * 8 + s) * at.width + at.column) * 2;
    pair[0] = first;
    pair[1] = second;
    out.pairs32(at.tile)[((block * 4 + s / 2) * at.width + at.column) * 2 + s % 2] =
        static_cast<int16_t>(first + second);
  }
}

inline void store_activation(const float* src, Activations& out, size_t row) {
  const size_t tile = out.tile_of(row);
  const Place at{tile, out.tile_rows(tile), row - out.tile_begin(tile)};
  if (out.format() == ActFormat::kF32) {
    float* f = out.f(tile) + at.column;
    for (size_t k = 0; k < out.cols(); ++k) f[k * at.width] = src[k];
    return;
  }
  const size_t size = out.block();
  for (size_t k = 0; k < out.padded_cols(); k += size) {
    alignas(64) float padded[256];
    const float* x = src + k;
    if (k + size > out.cols()) {  // the last block of a row that is not a multiple of it
      std::memset(padded, 0, sizeof padded);
      if (k < out.cols()) std::memcpy(padded, src + k, (out.cols() - k) * sizeof(float));
      x = padded;
    }
    size == 256 ? store_q8_256(x, k / 256, at, out) : store_q8_32(x, k / 32, at, out);
  }
}

}  // namespace s3d::S3D_ISA_NS
