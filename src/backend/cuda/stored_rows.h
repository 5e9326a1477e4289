// Rows as the input of a product (fragment_layout.h), stored by whole warps.
#pragma once

#include "backend/cuda/float_ops.h"
#include "backend/cuda/fragment_layout.h"
#include "backend/cuda/tasks.h"

namespace s3d::S3D_CUDA_NS {

using cuda::StoredInput;

constexpr int kPerLane = 8;              // columns of a lane
constexpr int kPerWarp = kPerLane * 32;  // of a warp at a time: a block of the format with 256 columns a scale

// Eight columns of a row, from `column` on (a multiple of 8), of which those below `cols` are there.
struct Eight {
  float v[kPerLane];
  int column;
};

S3D_DEVICE void store_floats(const StoredInput& stored, int cols, int row, const Eight& x) {
  float* to = stored.f + (static_cast<size_t>(row / 8) * static_cast<size_t>(cols) * 8) + row % 8;
  for (int i = 0; i < kPerLane; ++i) {
    if (x.column + i < cols) to[static_cast<size_t>(x.column + i) * 8] = x.v[i];
  }
}

// Largest magnitude of `lanes` neighbouring lanes' columns.
S3D_DEVICE float largest_of(const Eight& x, unsigned lanes) {
  uint32_t largest = 0;
  for (int i = 0; i < kPerLane; ++i) largest = max2(largest, magnitude_bits(x.v[i]));
  for (unsigned mask = 1; mask < lanes; mask *= 2) largest = max2(largest, shuffle_xor(largest, mask));
  return from_bits(largest);
}

// Eight columns as int8: two words in the order of the fragments; returns their sum.
S3D_DEVICE int32_t store_int8(int8_t* q, int cols, int row, const Eight& x, float largest) {
  const float inverse = inverse_scale(largest);
  int32_t sum = 0;
  uint32_t words[2] = {};
  for (int i = 0; i < kPerLane; ++i) {
    const int32_t value = to_int8(x.v[i], inverse);
    sum += value;
    words[i / 4] |= (static_cast<uint32_t>(value) & 0xffU) << (i % 4 * 8);
  }
  if (x.column >= cols) return sum;
  const size_t pairs = cuda::pairs_of(static_cast<size_t>(cols)), octet = static_cast<size_t>(row) / 8;
  int8_t* to = q + octet * pairs * 512;
  for (int w = 0; w < 2; ++w) {
    const size_t at = cuda::fragment_byte(static_cast<size_t>(row) % 8, static_cast<size_t>(x.column + 4 * w));
    *reinterpret_cast<uint32_t*>(to + at) = words[w];
  }
  return sum;
}

S3D_DEVICE void store_q32(const StoredInput& stored, int cols, int row, const Eight& x) {
  const float largest = largest_of(x, 4);
  int32_t sum = store_int8(stored.q32, cols, row, x, largest);
  sum += static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(sum), 1));
  sum += static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(sum), 2));
  if (lane_of_warp() % 4 != 0 || x.column >= cols) return;
  const size_t pieces = cuda::pairs_of(static_cast<size_t>(cols)) * 2;
  const size_t at = (static_cast<size_t>(row / 8) * pieces + static_cast<size_t>(x.column / 32)) * 8 + row % 8;
  reinterpret_cast<uint2*>(stored.scale32)[at] = {bits_of(div(largest, 127.0F)), static_cast<uint32_t>(sum)};
}

S3D_DEVICE void store_q256(const StoredInput& stored, int cols, int row, const Eight& x) {
  const float largest = largest_of(x, 32);
  const int32_t sum8 = store_int8(stored.q256, cols, row, x, largest);
  const int32_t sum16 = sum8 + static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(sum8), 1));
  const int32_t sum32 = sum16 + static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(sum16), 2));
  if (x.column >= cols) return;
  const size_t blocks = static_cast<size_t>(cols) / 256;
  const size_t at = (static_cast<size_t>(row / 8) * blocks + static_cast<size_t>(x.column / 256)) * 8 + row % 8;
  const unsigned lane = lane_of_warp();
  if (lane % 2 == 0) stored.sums16[at * 16 + lane / 2] = static_cast<int16_t>(sum16);
  if (lane % 4 == 0) stored.sums32[at * 8 + lane / 4] = static_cast<int16_t>(sum32);
  if (lane == 0) stored.scale256[at] = div(largest, 127.0F);
}

// A warp's 256 columns of a row of `cols` columns, from a multiple of 256 on, in all formats that were asked for.
S3D_DEVICE void store(const StoredInput& stored, int cols, int row, const Eight& x) {
  if (stored.f != nullptr) store_floats(stored, cols, row, x);
  if (stored.q32 != nullptr) store_q32(stored, cols, row, x);
  if (stored.q256 != nullptr) store_q256(stored, cols, row, x);
}

}  // namespace s3d::S3D_CUDA_NS
