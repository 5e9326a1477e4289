// The backends of this build, by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/weights.h"

namespace s3d {

// What computes the passes.
enum class BackendKind : uint8_t {
  kCpu,           // the kernels
  kCuda,          // an NVIDIA card; in builds with -DS3D_CUDA=ON (docs/gpu.md)
  kCudaEmulated,  // its kernels on the CPU, thousands of times slower; in the same builds, for checking
  kReference,  // double precision on the file's weights: about a hundred times slower; for checking (docs/numerics.md)
};

// By name; "auto" is the card if one can be used, else the CPU. Errors: not a name, with all names; not in this build.
Result<BackendKind> parse_backend(std::string_view name);
std::string_view backend_name(BackendKind kind);  // "cpu", "cuda", "cuda-emulated", "reference"
std::string_view backend_note(BackendKind kind);  // what it is, in a few words
std::vector<BackendKind> backend_kinds();         // of this build
// Whether it is there to compute, and not to check others.
inline bool is_for_speed(BackendKind kind) {
  return kind == BackendKind::kCpu || kind == BackendKind::kCuda;
}

struct BackendOptions {
  BackendKind kind;
  int threads;
  int max_rows;  // of one pass
};

// `model`: with packed weights, but for kReference. `pool` is idle, and used while weights are uploaded. Errors: those
// of the backend's create(); no card.
Result<std::unique_ptr<Backend>> make_backend(const std::shared_ptr<const Model>& model, const BackendOptions& options,
                                              ThreadPool& pool);

}  // namespace s3d
