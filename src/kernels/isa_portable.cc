// The kernels compiled for portable: see the flags in CMakeLists.txt.
#define S3D_ISA_NS portable
#include <algorithm>
#include <cstddef>
#include <cstring>

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
#include "kernels/matmul_portable-inl.h"
#include "kernels/matmul_table-inl.h"
#include "kernels/read_loops-inl.h"
// clang-format on

namespace s3d {

const Kernels kPortableKernels{
    Isa::kPortable,           "portable",          8, &portable::store_activation, &portable::matmul,
    &portable::kFloatKernels, portable::kReadLoops};

}  // namespace s3d
