// For tests: every set of kernels that can run here, and the AVX-512 code through SIMDe where this build has it.
#pragma once

#include <vector>

#include "kernels/isa_sets.h"
#include "kernels/kernels.h"

namespace s3d {

#if defined(S3D_TEST_SIMDE)
extern const Kernels kAvx512SimdeKernels;  // simde/isa_avx512_simde.cc
#endif

inline std::vector<const Kernels*> sets_for_tests() {
  std::vector<const Kernels*> sets = available_kernels();
#if defined(S3D_TEST_SIMDE)
  sets.push_back(&kAvx512SimdeKernels);
#endif
  return sets;
}

}  // namespace s3d
