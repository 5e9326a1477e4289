// What device code is written in: threads, warp operations, matrix products, loads. Only .cu files include this. nvcc
// compiles them for NVIDIA cards (namespace cuda_device); the C++ compiler compiles the same files for the emulated
// device (namespace cuda_emulated, emulator/emulator.h).
//
// A kernel takes one struct by value, uses no static shared memory (block_shared()), and runs with whole warps. It may
// start before the kernel before it has ended (programmatic dependent launch, from compute capability 9.0 on): its
// first words are let_next_start() and wait_for_previous(), in every thread. Between the two it may touch nothing but
// what no kernel of a pass writes. As all threads of all kernels wait, all kernels before have ended when one of them
// goes on.
#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#define S3D_CUDA_NS cuda_device
#define S3D_DEVICE __device__ __forceinline__
#define S3D_UNROLL _Pragma("unroll")
#define S3D_UNROLL_4 _Pragma("unroll 4")
#define S3D_PRAGMA(text) _Pragma(#text)
#define S3D_UNROLL_BY(count) S3D_PRAGMA(unroll count)
#else
#include "backend/cuda/emulator/cuda_on_cpu.h"
#define S3D_CUDA_NS cuda_emulated
#define S3D_DEVICE inline
#define S3D_UNROLL
#define S3D_UNROLL_4
#define S3D_UNROLL_BY(count)
#endif

namespace s3d::S3D_CUDA_NS {

constexpr unsigned kWarpLanes = 32;

S3D_DEVICE unsigned warp_of_block() {
  return threadIdx.x / kWarpLanes;
}
S3D_DEVICE unsigned warps_of_block() {
  return blockDim.x / kWarpLanes;
}
S3D_DEVICE unsigned lane_of_warp() {
  return threadIdx.x % kWarpLanes;
}

#if defined(__CUDACC__)

// The block's shared memory, as many bytes as the launch names, aligned to 16.
S3D_DEVICE std::byte* block_shared() {
  extern __shared__ uint4 s3d_shared[];
  return reinterpret_cast<std::byte*>(s3d_shared);
}

// Lane i gets the value of lane i ^ mask. All lanes take part, here and below.
S3D_DEVICE uint32_t shuffle_xor(uint32_t x, unsigned mask) {
  return __shfl_xor_sync(0xffffffffU, x, mask);
}
S3D_DEVICE uint32_t shuffle(uint32_t x, unsigned from) {
  return __shfl_sync(0xffffffffU, x, from);
}
// Bit i: the vote of lane i.
S3D_DEVICE uint32_t ballot(bool vote) {
  return __ballot_sync(0xffffffffU, vote);
}

// c += a b over 16 columns by one 8 x 8 piece: the only integer matrix instruction of compute capability 7.5.
template <bool kSignedA>
S3D_DEVICE void mma_8x8(int32_t& c0, int32_t& c1, uint32_t a, uint32_t b) {
  if constexpr (kSignedA) {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(c0), "+r"(c1)
        : "r"(a), "r"(b));
  } else {
    asm("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(c0), "+r"(c1)
        : "r"(a), "r"(b));
  }
}

#if __CUDA_ARCH__ >= 800
template <bool kSignedA>
S3D_DEVICE void mma_16x8x32(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (kSignedA) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}
S3D_DEVICE void mma_16x8x16(int32_t (&c)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  asm("mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(b));
}
S3D_DEVICE bool has_wide_mma() {
  return true;
}
#else
template <bool kSignedA>
S3D_DEVICE void mma_16x8x32(int32_t (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]) {}
S3D_DEVICE void mma_16x8x16(int32_t (&)[4], uint32_t, uint32_t, uint32_t) {}
S3D_DEVICE bool has_wide_mma() {
  return false;
}
#endif

// The next kernel may start as soon as all blocks of this one have said so.
S3D_DEVICE void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
// Until the kernel before has ended, and what it wrote is seen.
S3D_DEVICE void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
#if __CUDA_ARCH__ >= 900
constexpr bool kStartsEarly = true;
#else
constexpr bool kStartsEarly = false;
#endif
// The 128 bytes around an address come into the L2 cache.
S3D_DEVICE void fetch_early(const std::byte* p) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

// Weights: read once a pass, so neither kept in the L1 cache nor long in the L2.
S3D_DEVICE uint4 load_weights(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
S3D_DEVICE uint2 load_weights(const uint2* p) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
  return v;
}
// What many blocks read. Not by the path for constants (__ldg): the kernel before may write it while this one starts.
template <typename T>
S3D_DEVICE T load_shared_input(const T* p) {
  return *p;
}

// c + the two 16-bit halves of `pairs` times the lower (upper) two bytes of `bytes`, all signed.
S3D_DEVICE int32_t dot_low_pair(uint32_t pairs, uint32_t bytes, int32_t c) {
  return __dp2a_lo(static_cast<int>(pairs), static_cast<int>(bytes), c);
}
S3D_DEVICE int32_t dot_high_pair(uint32_t pairs, uint32_t bytes, int32_t c) {
  return __dp2a_hi(static_cast<int>(pairs), static_cast<int>(bytes), c);
}

// An error is told by the next synchronization of the device.
template <typename Task>
void start_kernel(void* stream, void (*kernel)(Task), dim3 blocks, unsigned threads, size_t shared_bytes,
                  const Task& task) {
  int device = 0, capability = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&capability, cudaDevAttrComputeCapabilityMajor, device);
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &early;
  config.numAttrs = capability >= 9 ? 1 : 0;
  cudaLaunchKernelEx(&config, kernel, task);
}
#define S3D_LAUNCH(stream, kernel, blocks, threads, shared_bytes, task) \
  start_kernel(stream, kernel, dim3((blocks).x, (blocks).y, (blocks).z), threads, shared_bytes, task)

#else  // the emulated device

using emulator::Emulator;
using emulator::MmaFragment;
using emulator::MmaShape;
using emulator::Where;

inline std::byte* block_shared() {
  return Emulator::current().shared();
}
inline uint32_t shuffle(uint32_t x, unsigned from, Where where = Where::current()) {
  return Emulator::current().shuffle(x, from, where);
}
inline uint32_t shuffle_xor(uint32_t x, unsigned mask, Where where = Where::current()) {
  return Emulator::current().shuffle(x, Emulator::current().thread_index() ^ mask, where);
}
inline uint32_t ballot(bool vote, Where where = Where::current()) {
  return Emulator::current().ballot(vote, where);
}
inline bool has_wide_mma() {
  return !Emulator::current().turing;
}
template <bool kSignedA>
void mma_8x8(int32_t& c0, int32_t& c1, uint32_t a, uint32_t b, Where where = Where::current()) {
  MmaFragment f{{a}, {b}, {c0, c1}};
  Emulator::current().multiply(MmaShape::kM8N8K16, kSignedA, f, where);
  c0 = f.c[0];
  c1 = f.c[1];
}
template <bool kSignedA>
void mma_16x8x32(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Where where = Where::current()) {
  MmaFragment f{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {c[0], c[1], c[2], c[3]}};
  Emulator::current().multiply(MmaShape::kM16N8K32, kSignedA, f, where);
  for (int i = 0; i < 4; ++i) c[i] = f.c[static_cast<size_t>(i)];
}
inline void mma_16x8x16(int32_t (&c)[4], uint32_t a0, uint32_t a1, uint32_t b, Where where = Where::current()) {
  MmaFragment f{{a0, a1}, {b}, {c[0], c[1], c[2], c[3]}};
  Emulator::current().multiply(MmaShape::kM16N8K16, false, f, where);
  for (int i = 0; i < 4; ++i) c[i] = f.c[static_cast<size_t>(i)];
}

inline void let_next_start() {}
inline void wait_for_previous(Where where = Where::current()) {
  Emulator::current().wait_for_previous(where);
}
constexpr bool kStartsEarly = true;
inline void fetch_early(const std::byte*) {}

// A load of T, which traps on a card unless it is aligned.
template <typename T>
T load_shared_input(const T* p) {
  S3D_CHECK(reinterpret_cast<uintptr_t>(p) % alignof(T) == 0, "a load from an address that is not aligned");
  return *p;
}
template <typename T>
T load_weights(const T* p) {
  return load_shared_input(p);
}

inline int32_t dot_pair(uint32_t pairs, uint32_t two_bytes, int32_t c) {
  const auto half = [&](int i) { return static_cast<int16_t>(pairs >> (16 * i)); };
  const auto byte = [&](int i) { return static_cast<int8_t>(two_bytes >> (8 * i)); };
  return c + half(0) * byte(0) + half(1) * byte(1);
}
inline int32_t dot_low_pair(uint32_t pairs, uint32_t bytes, int32_t c) {
  return dot_pair(pairs, bytes, c);
}
inline int32_t dot_high_pair(uint32_t pairs, uint32_t bytes, int32_t c) {
  return dot_pair(pairs, bytes >> 16, c);
}

#define S3D_LAUNCH(stream, kernel, blocks, threads, shared_bytes, task)                      \
  static_cast<::s3d::emulator::Emulator*>(stream)->launch(::s3d::emulator::Emulator::Launch{ \
      {(blocks).x, (blocks).y, (blocks).z}, threads, shared_bytes, [s3d_task = task] { kernel(s3d_task); }, true})

#endif

// c (16 rows x 8 columns, lane 4 g + t: rows g and g + 8, columns 2 t and 2 t + 1) += a b over 32 columns of weights.
// a: rows g, g + 8, g, g + 8; k = 4 t … 4 t + 3, the last two registers 16 further. b: column g, likewise.
template <bool kSignedA>
S3D_DEVICE void mma_k32(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if (has_wide_mma()) return mma_16x8x32<kSignedA>(c, a, b);
  mma_8x8<kSignedA>(c[0], c[1], a[0], b[0]);
  mma_8x8<kSignedA>(c[0], c[1], a[2], b[1]);
  mma_8x8<kSignedA>(c[2], c[3], a[1], b[0]);
  mma_8x8<kSignedA>(c[2], c[3], a[3], b[1]);
}

// The same over 16 columns; unsigned weights.
S3D_DEVICE void mma_k16(int32_t (&c)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  if (has_wide_mma()) return mma_16x8x16(c, a0, a1, b);
  mma_8x8<false>(c[0], c[1], a0, b);
  mma_8x8<false>(c[2], c[3], a1, b);
}

}  // namespace s3d::S3D_CUDA_NS
