// The backends of this build, by name.
#pragma once

#include <cstddef>
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
// Whether it has a device's memory.
inline bool is_on_device(BackendKind kind) {
  return kind == BackendKind::kCuda || kind == BackendKind::kCudaEmulated;
}
// Whether it is there to compute, and not to check others.
inline bool is_for_speed(BackendKind kind) {
  return kind == BackendKind::kCpu || kind == BackendKind::kCuda;
}

struct BackendOptions {
  BackendKind kind;
  int threads;
  int max_rows;  // of one pass
  // For a device: how many of the layers lie there, from the last one down (-1: as many as fit), and the bytes that may
  // be used (0: those that are free). The other layers are run by the CPU.
  int gpu_layers = -1;
  size_t gpu_memory = 0;
  // What will lie there beside the weights.
  KvType kv_type = KvType::kF16;
  int64_t positions = 0;  // of the KV cache
  int64_t context = 0;    // of one sequence
  size_t adapter_bytes = 0;
};

// `model`: with packed weights, but for kReference. `pool` is idle, and used while weights are uploaded. Errors: those
// of the backend's create(); no card; too little memory on it.
Result<std::unique_ptr<Backend>> make_backend(const std::shared_ptr<const Model>& model, const BackendOptions& options,
                                              ThreadPool& pool);

}  // namespace s3d
