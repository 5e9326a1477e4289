#include "engine/backend_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <utility>

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_backend.h"
#include "base/index.h"
#include "kernels/kernels.h"

#if defined(S3D_WITH_CUDA)
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/memory_plan.h"
#include "backend/split_backend.h"
#endif

namespace s3d {
namespace {

using Loaded = Result<LoadedBackend>;
using Maker = Loaded (*)(const std::shared_ptr<Model>&, const BackendOptions&, WeightReader&);

template <typename B>
Result<std::unique_ptr<Backend>> as_backend(Result<std::unique_ptr<B>> made) {
  if (!made.ok()) return made.error();
  return std::unique_ptr<Backend>(std::move(*made));
}

// The whole model as one part.
Loaded in_one(std::shared_ptr<const Model> model, Result<std::unique_ptr<Backend>> made) {
  if (!made.ok()) return made.error();
  const int n = model->config.n_layers;
  std::vector<BackendPart> parts = {{std::string((*made)->name()), false, 0, n, model->packed_bytes()}};
  return LoadedBackend{std::move(model), std::move(*made), std::move(parts)};
}

// The first `count` layers.
Status pack_layers(Model& model, int count, WeightReader& reader) {
  model.layers.resize(usize(model.config.n_layers));
  for (int layer = 0; layer < count; ++layer) {
    S3D_ASSIGN(model.layers[usize(layer)], reader.layer(layer, WeightReader::Stay::kYes));
  }
  return Ok();
}

Result<std::unique_ptr<Backend>> cpu_backend(std::shared_ptr<const Model> model, const BackendOptions& options) {
  S3D_ASSIGN(const Kernels* kernels, choose_kernels());
  return as_backend(CpuBackend::create(std::move(model), options.threads, kernels, options.max_rows));
}

Loaded make_cpu(const std::shared_ptr<Model>& model, const BackendOptions& options, WeightReader& reader) {
  S3D_TRY(pack_layers(*model, model->config.n_layers, reader));
  S3D_ASSIGN(model->output_norm, reader.output_norm());
  S3D_ASSIGN(model->lm_head, reader.lm_head(WeightReader::Stay::kYes));
  return in_one(model, cpu_backend(model, options));
}

Loaded make_reference(const std::shared_ptr<Model>& model, const BackendOptions& options, WeightReader& /*reader*/) {
  return in_one(model,
                as_backend(ReferenceBackend::create(model->file, model->config, options.threads, options.max_rows)));
}

#if defined(S3D_WITH_CUDA)
using OpenCard = std::function<Result<std::shared_ptr<cuda::Device>>(int)>;

struct ChosenCards {
  std::vector<std::shared_ptr<cuda::Device>> devices;
  cuda::LayerDivision division;
};

// Numbers of the cards that may be used. Error: there is no such card, or one is named twice.
Result<std::vector<int>> card_numbers(const std::vector<int>& asked, int count) {
  std::vector<int> numbers = asked;
  if (numbers.empty()) {
    numbers.resize(usize(count));
    std::iota(numbers.begin(), numbers.end(), 0);
  }
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] < 0 || numbers[i] >= count) {
      return Error{fmt::format("there is no card {}: there are {}, counted from 0", numbers[i], count)};
    }
    if (std::find(numbers.begin(), numbers.end(), numbers[i]) < numbers.begin() + static_cast<std::ptrdiff_t>(i)) {
      return Error{fmt::format("card {} is named twice", numbers[i])};
    }
  }
  return numbers;
}

// Cards are opened one after the other, as an opened card loses memory, until all layers have a place.
Result<ChosenCards> choose_cards(const Model& model, const BackendOptions& options, const std::vector<int>& numbers,
                                 const OpenCard& open) {
  const GpuOptions& gpu = options.gpu;
  const cuda::MemoryNeeds needs = cuda::memory_needs(model, options.kv_type, options.positions, options.context,
                                                     options.max_rows, options.adapter_bytes);
  const int n = model.config.n_layers, wanted = gpu.layers < 0 ? n : std::min(gpu.layers, n);
  ChosenCards chosen;
  std::vector<cuda::CardMemory> memory;
  for (const int number : numbers) {
    S3D_ASSIGN(chosen.devices.emplace_back(), open(number));
    const size_t free = chosen.devices.back()->free_bytes();
    memory.push_back({chosen.devices.back()->name(), gpu.memory > 0 ? std::min(gpu.memory, free) : free});
    if (!gpu.shares.empty()) continue;
    auto division = cuda::divide_layers(needs, memory, wanted);
    if (!division.ok()) continue;
    chosen.division = std::move(*division);
    return chosen;
  }
  S3D_ASSIGN(chosen.division, cuda::divide_layers(needs, memory, gpu.layers, gpu.shares));
  return chosen;
}

// The first layers on the CPU, if some are left for it, the others on the cards.
Loaded make_on_cards(const std::shared_ptr<Model>& model, const BackendOptions& options, WeightReader& reader,
                     const ChosenCards& cards) {
  const auto& [counts, last] = cards.division;
  const int n = model->config.n_layers, on_cpu = n - std::accumulate(counts.begin(), counts.end(), 0);
  S3D_TRY(pack_layers(*model, on_cpu, reader));
  S3D_ASSIGN(model->output_norm, reader.output_norm());
  std::vector<SplitBackend::Part> parts;
  LoadedBackend loaded{.model = model, .backend = nullptr, .parts = {}};
  const auto add = [&](std::unique_ptr<Backend> backend, const std::string& device, bool on_card, int first, int end) {
    loaded.parts.push_back({device, on_card, first, end, backend->weight_bytes()});
    parts.push_back({std::move(backend), end - first});
  };
  if (on_cpu > 0) {
    S3D_ASSIGN(std::unique_ptr<Backend> cpu, cpu_backend(model, options));
    const std::string name(cpu->name());
    add(std::move(cpu), name, false, 0, on_cpu);
  }
  int first = on_cpu;
  for (size_t card = 0; card < counts.size(); ++card) {
    if (counts[card] == 0 && static_cast<int>(card) != last) continue;
    const cuda::LayerRange range = {first, first + counts[card]};
    S3D_ASSIGN(
        std::unique_ptr<Backend> backend,
        as_backend(CudaBackend::create(model, cards.devices[card], &reader.pool(), options.max_rows, range, &reader)));
    add(std::move(backend), cards.devices[card]->name(), true, range.first, range.end);
    first = range.end;
  }
  if (parts.size() == 1) {
    loaded.backend = std::move(parts.front().backend);
  } else {
    S3D_ASSIGN(loaded.backend, SplitBackend::create(model, std::move(parts)));
  }
  return loaded;
}

Loaded make_cuda(const std::shared_ptr<Model>& model, const BackendOptions& options, WeightReader& reader) {
  S3D_ASSIGN(const int count, cuda::count_cards());
  S3D_ASSIGN(const std::vector<int> numbers, card_numbers(options.gpu.cards, count));
  const OpenCard open = [](int number) -> Result<std::shared_ptr<cuda::Device>> {
    S3D_ASSIGN(std::shared_ptr<cuda::Device> device, cuda::open_device(number));
    return device;
  };
  S3D_ASSIGN(const ChosenCards cards, choose_cards(*model, options, numbers, open));
  return make_on_cards(model, options, reader, cards);
}

Loaded make_cuda_emulated(const std::shared_ptr<Model>& model, const BackendOptions& options, WeightReader& reader) {
  std::vector<size_t> memory = options.gpu.emulated;
  if (memory.empty()) memory = {cuda::kEmulatedBytes};
  S3D_ASSIGN(const std::vector<int> numbers, card_numbers(options.gpu.cards, isize(memory)));
  const OpenCard open = [&](int number) -> Result<std::shared_ptr<cuda::Device>> {
    return std::shared_ptr<cuda::Device>(cuda::make_emulated_device(1, false, false, memory[usize(number)]));
  };
  S3D_ASSIGN(const ChosenCards cards, choose_cards(*model, options, numbers, open));
  return make_on_cards(model, options, reader, cards);
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
  if (cuda::count_cards().ok()) return BackendKind::kCuda;
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

Result<LoadedBackend> load_backend(Model model, const BackendOptions& options, ThreadPool& pool,
                                   const LoadProgress& progress) {
  const auto shared = std::make_shared<Model>(std::move(model));
  WeightReader reader(*shared, pool, progress);
  return entry_of(options.kind).make(shared, options, reader);
}

}  // namespace s3d
