#include <string>

#include "base/environment.h"
#include "kernels/isa_sets.h"
#include "kernels/kernels.h"

namespace s3d {
namespace {

bool cpu_has(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") &&
                    __builtin_cpu_supports("fma");  // F16C came before AVX2; clang 14 cannot ask for it
  if (isa == Isa::kAvx2) return avx2;
  if (isa == Isa::kAvx512) {
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
  }
#endif
  return isa == Isa::kPortable;
}

}  // namespace

const Kernels* kernels_for(Isa isa) {
  if (!cpu_has(isa)) return nullptr;
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return &kAvx2Kernels;
  if (isa == Isa::kAvx512) return &kAvx512Kernels;
#endif
  return &kPortableKernels;
}

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> all;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (const Kernels* k = kernels_for(isa)) all.push_back(k);
  }
  return all;
}

Result<const Kernels*> choose_kernels() {
  const std::vector<const Kernels*> all = available_kernels();
  const std::string forced = environment("S3D_CPU");
  if (forced.empty()) return all.back();
  std::string known;
  for (const Kernels* k : all) {
    if (k->name == forced) return k;
    known += (known.empty() ? "" : ", ") + std::string(k->name);
  }
  return Error{"S3D_CPU=" + forced + ": this CPU can run " + known + "; unset S3D_CPU to use the best"};
}

}  // namespace s3d
