// The AVX-512 kernels through SIMDe, which computes them with what this CPU has: slow, but the same code is tested on
// machines without AVX-512. Linked into tests only.
#define S3D_ISA_SIMDE
#define S3D_ISA_AVX512
#define S3D_ISA_NS avx512_simde
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/kernels.h"
#include "kernels/test_sets.h"
#include "quant/r16.h"

// The order matters here.
// clang-format off
#include "kernels/simd.h"
#include "kernels/float_ops-inl.h"
#include "kernels/attention-inl.h"
#include "kernels/activation-inl.h"
#include "kernels/matmul_float-inl.h"
#include "kernels/matmul_tile-inl.h"
#include "kernels/matmul_avx512-inl.h"
#include "kernels/matmul_driver-inl.h"
#include "kernels/matmul_table-inl.h"
#include "kernels/read_loops-inl.h"
// clang-format on

namespace s3d {

const Kernels kAvx512SimdeKernels{Isa::kAvx512,
                                  "avx512-simde",
                                  avx512_simde::kWidestTile,
                                  &avx512_simde::store_activation,
                                  &avx512_simde::matmul,
                                  &avx512_simde::kFloatKernels,
                                  avx512_simde::kReadLoops};

}  // namespace s3d
