// The words of CUDA for a kernel's source that is compiled as C++: what a thread asks, it asks of the Emulator that
// runs it. Only device_code.h includes this, and only where nvcc does not compile.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/cuda/emulator/emulator.h"
#include "base/check.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (::s3d::emulator::thread_position())
#define blockIdx (::s3d::emulator::Emulator::current().block_index())
#define gridDim (::s3d::emulator::Emulator::current().block_count())
#define blockDim (::s3d::emulator::block_size())

namespace s3d::emulator {

inline Dim thread_position() {
  return {Emulator::current().thread_index(), 0, 0};
}
inline Dim block_size() {
  return {Emulator::current().thread_count(), 1, 1};
}

}  // namespace s3d::emulator

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};

inline void __syncthreads(s3d::emulator::Where where = s3d::emulator::Where::current()) {
  s3d::emulator::Emulator::current().sync_block(where);
}
inline void __syncwarp(s3d::emulator::Where where = s3d::emulator::Where::current()) {
  s3d::emulator::Emulator::current().sync_warp(where);
}
