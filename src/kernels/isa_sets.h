// The kernel tables of the instruction sets in this build. A table may be used only on a CPU that has its set.
#pragma once

#include "kernels/kernels.h"

namespace s3d {

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

}  // namespace s3d
