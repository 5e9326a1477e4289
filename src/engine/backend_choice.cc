#include "engine/backend_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_backend.h"
#include "kernels/kernels.h"

#if defined(S3D_WITH_CUDA)
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/memory_plan.h"
#include "backend/split_backend.h"
#endif

namespace s3d {
namespace {

using Made = Result<std::unique_ptr<Backend>>;
using Maker = Made (*)(const std::shared_ptr<const Model>&, const BackendOptions&, ThreadPool&);

template <typename B>
Made as_backend(Result<std::unique_ptr<B>> made) {
  if (!made.ok()) return made.error();
  return std::unique_ptr<Backend>(std::move(*made));
}

Made make_cpu(const std::shared_ptr<const Model>& model, const BackendOptions& options, ThreadPool& /*pool*/) {
  S3D_ASSIGN(const Kernels* kernels, choose_kernels());
  return as_backend(CpuBackend::create(model, options.threads, kernels, options.max_rows));
}

Made make_reference(const std::shared_ptr<const Model>& model, const BackendOptions& options, ThreadPool& /*pool*/) {
  return as_backend(ReferenceBackend::create(model->file, model->config, options.threads, options.max_rows));
}

#if defined(S3D_WITH_CUDA)
// The last layers on the device, as many as are wanted or fit, the others on the CPU.
Made make_on_device(const std::shared_ptr<const Model>& model, const std::shared_ptr<cuda::Device>& device,
                    const BackendOptions& options, ThreadPool& pool) {
  const int n = model->config.n_layers;
  const size_t free = device->free_bytes(), most = options.gpu_memory > 0 ? std::min(options.gpu_memory, free) : free;
  const cuda::MemoryNeeds needs = cuda::memory_needs(*model, options.kv_type, options.positions, options.context,
                                                     options.max_rows, options.adapter_bytes);
  S3D_ASSIGN(const int layers, cuda::choose_layers(needs, most, options.gpu_layers, device->name()));
  if (layers == n) return as_backend(CudaBackend::create(model, device, &pool, options.max_rows));
  std::vector<SplitBackend::Part> parts(2);
  S3D_ASSIGN(parts[0].backend, make_cpu(model, options, pool));
  parts[0].layers = n - layers;
  S3D_ASSIGN(parts[1].backend,
             CudaBackend::create(model, device, &pool, options.max_rows, cuda::LayerRange{n - layers, n}));
  parts[1].layers = layers;
  return as_backend(SplitBackend::create(model, std::move(parts)));
}

Made make_cuda(const std::shared_ptr<const Model>& model, const BackendOptions& options, ThreadPool& pool) {
  S3D_ASSIGN(std::shared_ptr<cuda::Device> device, cuda::open_device());
  return make_on_device(model, device, options, pool);
}

Made make_cuda_emulated(const std::shared_ptr<const Model>& model, const BackendOptions& options, ThreadPool& pool) {
  return make_on_device(model, cuda::make_emulated_device(), options, pool);
}
#else
constexpr Maker make_cuda = nullptr, make_cuda_emulated = nullptr;
#endif

struct Entry {
  BackendKind kind;
  std::string_view name, note;
  Maker make;  // null: not in this build
};
constexpr Entry kBackends[] = {
    {BackendKind::kCpu, "cpu", "the kernels of this processor", make_cpu},
    {BackendKind::kCuda, "cuda", "an NVIDIA card", make_cuda},
    {BackendKind::kCudaEmulated, "cuda-emulated", "its kernels on the CPU, for checking", make_cuda_emulated},
    {BackendKind::kReference, "reference", "double precision, for checking", make_reference},
};

const Entry& entry_of(BackendKind kind) {
  for (const Entry& entry : kBackends) {
    if (entry.kind == kind) return entry;
  }
  return kBackends[0];
}

// "a, b or c"
std::string names() {
  std::string all;
  const std::vector<BackendKind> kinds = backend_kinds();
  for (size_t i = 0; i < kinds.size(); ++i) {
    all += i == 0 ? "" : i + 1 == kinds.size() ? " or " : ", ";
    all += backend_name(kinds[i]);
  }
  return all;
}

BackendKind best_kind() {
#if defined(S3D_WITH_CUDA)
  if (cuda::open_device().ok()) return BackendKind::kCuda;
#endif
  return BackendKind::kCpu;
}

}  // namespace

Result<BackendKind> parse_backend(std::string_view name) {
  if (name == "auto") return best_kind();
  for (const Entry& entry : kBackends) {
    if (entry.name != name) continue;
    if (entry.make != nullptr) return entry.kind;
    return Error{
        fmt::format("backend '{}' is not in this build, which was configured without -DS3D_CUDA=ON; "
                    "expected {}",
                    name, names())};
  }
  return Error{fmt::format("backend '{}' is not known; expected {}", name, names())};
}

std::string_view backend_name(BackendKind kind) {
  return entry_of(kind).name;
}

std::string_view backend_note(BackendKind kind) {
  return entry_of(kind).note;
}

std::vector<BackendKind> backend_kinds() {
  std::vector<BackendKind> kinds;
  for (const Entry& entry : kBackends) {
    if (entry.make != nullptr) kinds.push_back(entry.kind);
  }
  return kinds;
}

Result<std::unique_ptr<Backend>> make_backend(const std::shared_ptr<const Model>& model, const BackendOptions& options,
                                              ThreadPool& pool) {
  return entry_of(options.kind).make(model, options, pool);
}

}  // namespace s3d
