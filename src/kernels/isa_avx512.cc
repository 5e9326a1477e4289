// The kernels compiled for avx512: see the flags in CMakeLists.txt.
#define S3D_ISA_AVX512
#define S3D_ISA_NS avx512
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "kernels/isa_sets.h"
#include "kernels/kernels.h"
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

const Kernels kAvx512Kernels{
    Isa::kAvx512,           "avx512",          avx512::kWidestTile, &avx512::store_activation, &avx512::matmul,
    &avx512::kFloatKernels, avx512::kReadLoops};

}  // namespace s3d
