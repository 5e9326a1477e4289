#include "engine/backend_choice.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_backend.h"
#include "kernels/kernels.h"

#if defined(S3D_WITH_CUDA)
#include "backend/cuda/cuda_backend.h"
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
Made make_cuda(const std::shared_ptr<const Model>& model, const BackendOptions& options, ThreadPool& pool) {
  S3D_ASSIGN(std::shared_ptr<cuda::Device> device, cuda::open_device());
  return as_backend(CudaBackend::create(model, std::move(device), &pool, options.max_rows));
}

Made make_cuda_emulated(const std::shared_ptr<const Model>& model, const BackendOptions& options, ThreadPool& pool) {
  return as_backend(CudaBackend::create(model, cuda::make_emulated_device(), &pool, options.max_rows));
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
