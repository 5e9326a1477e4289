// The backends of this build, by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/adapter.h"
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

// Which layers lie on cards. The others are run by the CPU.
struct GpuOptions {
  int layers = -1;    // so many, from the last one down; -1: as many as fit
  size_t memory = 0;  // bytes that may be used on each card; 0: those that are free
  // Numbers of the cards, counted from 0, in the order of their layers; empty: all. Without shares, only as many of
  // them are used as the layers need.
  std::vector<int> cards = {};
  std::vector<double> shares = {};  // of the layers, one for each card; empty: by the memory of the cards
  // Memory of the emulated cards, of which there are so many; empty: one of 4 GiB.
  std::vector<size_t> emulated = {};
};

struct BackendOptions {
  BackendKind kind;
  int threads;
  int max_rows;  // of one pass
  GpuOptions gpu = {};
  // What will lie there beside the weights.
  KvType kv_type = KvType::kF16;
  int64_t positions = 0;  // of the KV cache
  int64_t context = 0;    // of one sequence
  std::span<const Adapter> adapters = {};
  int taps = 0;  // layers of which a drafter wants the rows (Block::taps)
};

// Who runs layers [first_layer, end_layer) of a model. The last part has the LM head too.
struct BackendPart {
  std::string device;  // "avx512", "NVIDIA L4"
  bool on_card;
  int first_layer, end_layer;
  size_t weight_bytes;       // on a card or packed by the host
  size_t kv_bytes = 0;       // of keys and values, for each position
  size_t on_card_bytes = 0;  // of the card's memory: weights, KV cache, adapters and buffers
};

// A backend with the model that it runs. What lies on cards is not kept by the host.
struct LoadedBackend {
  std::shared_ptr<const Model> model;
  std::unique_ptr<Backend> backend;
  std::vector<BackendPart> parts;
};

// Packs and uploads the weights of a model that was opened (open_model), each to where it is computed with; nothing for
// kReference. `pool` is idle, and used for that. Errors: those of load_model and of the backend's create(); no such
// card; too little memory on the cards.
Result<LoadedBackend> load_backend(Model model, const BackendOptions& options, ThreadPool& pool,
                                   const LoadProgress& progress = {});

// How load_backend() would divide it; nothing is packed or uploaded. Weights that the host would pack count as they lie
// in the file. Errors: as above.
Result<std::vector<BackendPart>> plan_backend(const Model& model, const BackendOptions& options);

}  // namespace s3d
