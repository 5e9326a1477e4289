// Rows of activations -> int8 with scales and sums (included by isa_*.cc).
//
// q = round(x * (127 / max|x|)) per block of 32 or 256 values, ties to even; value = q * (max|x| / 127).

namespace s3d::S3D_ISA_NS {

// Largest magnitude of x[0, count), NaN where there is one, so that it reaches the logits; count is a multiple of 16.
inline float max_abs(const float* x, size_t count) {
  F32x16 largest = zero();
  for (size_t i = 0; i < count; i += 16) largest = max_magnitude(abs(load(x + i)), largest);
  return reduce_max_magnitude(largest);
}

// Quantizes values, sixteen and thirty-two, and returns their sum: from the register, because bytes that were just
// stored cannot be read in larger pieces before they have reached a cache line, which the other threads hold.
inline int32_t quantize16(const float* x, F32x16 inverse, int8_t* q) {
  const F32x16 scaled = scaled_to_i8(load(x), inverse);
  store_i8_rounded(q, scaled);
  return sum_rounded(scaled);
}
inline int32_t quantize32(const float* x, F32x16 inverse, int8_t* q) {
  const F32x16 first = scaled_to_i8(load(x), inverse), second = scaled_to_i8(load(x + 16), inverse);
  store_i8_rounded(q, first);
  store_i8_rounded(q + 16, second);
  return sum_rounded(add(round_even(first), round_even(second)));
}

// The places of one row of an Activations: every `step`-th line or record from here on.
struct StoredRow {
  ActLine* lines;
  size_t step;
};

// 32 columns, the `part`-th of a segment of 256.
inline void store_q8_32(const float* x, int8_t* q, size_t part, ActScales32& out) {
  const float largest = max_abs(x, 32);
  const F32x16 inverse = inverse_scale(largest);
  const float scale = largest / 127.0F;
  const int32_t sum = quantize32(x, inverse, q);
  out.scale[part] = scale;
  out.sum[part] = sum;
  out.dsum[part] = scale * static_cast<float>(sum);
}

// 256 columns, in four lines.
inline void store_q8_256(const float* x, StoredRow to, ActScales256& out) {
  const float largest = max_abs(x, 256);
  const F32x16 inverse = inverse_scale(largest);
  out.scale = largest / 127.0F;
  for (size_t s = 0; s < 8; ++s) {  // runs of 32
    int8_t* q = to.lines[s / 2 * to.step].q + s % 2 * 32;
    const int32_t first = quantize16(x + 32 * s, inverse, q), second = quantize16(x + 32 * s + 16, inverse, q + 16);
    out.sum16[2 * s] = static_cast<int16_t>(first);
    out.sum16[2 * s + 1] = static_cast<int16_t>(second);
    out.sum32[s] = static_cast<int16_t>(first + second);
  }
}

// The block of columns that begins at `begin`; where the row ends in it, a copy with zeros behind them.
inline const float* whole_block(const float* row, size_t begin, size_t size, size_t cols, float* padded) {
  if (begin + size <= cols) return row + begin;
  std::memset(padded, 0, size * sizeof(float));
  if (begin < cols) std::memcpy(padded, row + begin, (cols - begin) * sizeof(float));
  return padded;
}

inline void store_activation(const float* src, Activations& out, size_t row) {
  if (out.format() == ActFormat::kF32) {
    std::memcpy(out.f(row), src, out.cols() * sizeof(float));
    return;
  }
  alignas(64) float padded[256];
  const size_t tile = out.tile_of(row), place = row - out.tile_begin(tile), step = out.tile_rows(tile);
  ActLine* lines = out.q(tile) + place;
  if (out.format() == ActFormat::kQ8_256) {
    ActScales256* scales = out.scales256(tile) + place;
    for (size_t k = 0; k < out.padded_cols(); k += 256, lines += 4 * step, scales += step) {
      store_q8_256(whole_block(src, k, 256, out.cols(), padded), {lines, step}, *scales);
    }
    return;
  }
  ActScales32* scales = out.scales32(tile) + place;
  for (size_t k = 0; k < out.padded_cols(); k += 32) {
    const float* x = whole_block(src, k, 32, out.cols(), padded);
    store_q8_32(x, lines[k / 64 * step].q + k % 64, k % 256 / 32, scales[k / 256 * step]);
  }
}

}  // namespace s3d::S3D_ISA_NS
