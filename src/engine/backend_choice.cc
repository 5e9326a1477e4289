#include "engine/backend_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
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
using Parts = Result<std::vector<BackendPart>>;
using PartPlanner = Parts (*)(const Model&, const BackendOptions&);

size_t kv_bytes_of_token(const ModelConfig& c, KvType type, int layers) {
  return KvLayout{type, c.head_dim, c.n_kv_heads, layers}.page_bytes() / KvLayout::kPageTokens;
}

// Of matrices, in the file.
size_t file_bytes(const Model& model, int first, int end, bool head) {
  const auto bytes_of = [](const MatrixSize& m) {
    return m.rows * ggml_row_size(m.type, static_cast<int64_t>(m.cols));
  };
  size_t bytes = head ? bytes_of(lm_head_matrix(model)) : 0;
  for (int layer = first; layer < end; ++layer) {
    for (const MatrixSize& matrix : layer_matrices(model, layer)) bytes += bytes_of(matrix);
  }
  return bytes;
}

BackendPart on_host(const Model& model, const BackendOptions& options, std::string_view name, int end) {
  const bool all = end == model.config.n_layers;
  return {.device = std::string(name),
          .on_card = false,
          .first_layer = 0,
          .end_layer = end,
          .weight_bytes = file_bytes(model, 0, end, all),
          .kv_bytes = kv_bytes_of_token(model.config, options.kv_type, end)};
}

template <typename B>
Result<std::unique_ptr<Backend>> as_backend(Result<std::unique_ptr<B>> made) {
  if (!made.ok()) return made.error();
  return std::unique_ptr<Backend>(std::move(*made));
}

// The whole model as one part.
Loaded in_one(std::shared_ptr<const Model> model, const BackendOptions& options,
              Result<std::unique_ptr<Backend>> made) {
  if (!made.ok()) return made.error();
  std::vector<BackendPart> parts = {on_host(*model, options, (*made)->name(), model->config.n_layers)};
  parts.front().weight_bytes = model->packed_bytes();
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
  return in_one(model, options, cpu_backend(model, options));
}

Parts plan_cpu(const Model& model, const BackendOptions& options) {
  S3D_ASSIGN(const Kernels* kernels, choose_kernels());
  return std::vector<BackendPart>{on_host(model, options, kernels->name, model.config.n_layers)};
}

Parts plan_reference(const Model& model, const BackendOptions& options) {
  return std::vector<BackendPart>{on_host(model, options, "reference", model.config.n_layers)};
}

Loaded make_reference(const std::shared_ptr<Model>& model, const BackendOptions& options, WeightReader& /*reader*/) {
  return in_one(model, options,
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

// Rounds want the logits of their rows, and prompts that are scored are run in parts of 64; should a pass want more,
// the buffers grow.
cuda::PassLimits pass_limits(const BackendOptions& options) {
  constexpr int64_t kScoredRows = 64;
  const int64_t sequences = std::min<int64_t>(options.positions / options.context, options.max_rows);
  return {
      .rows = options.max_rows,
      .wanted = static_cast<int>(std::min<int64_t>(options.max_rows, kScoredRows + (sequences - 1) * kMaxRoundRows)),
      .sequences = static_cast<int>(sequences),
      .context = static_cast<int>(options.context),
      .taps = options.taps};
}

cuda::PlannedUse planned_use(const BackendOptions& options) {
  return {.kv_type = options.kv_type,
          .positions = options.positions,
          .limits = pass_limits(options),
          .adapters = options.adapters};
}

// Cards are opened one after the other, as an opened card loses memory, until all layers have a place. `spare`: of what
// is free on each, for the driver.
Result<ChosenCards> choose_cards(const Model& model, const BackendOptions& options, const std::vector<int>& numbers,
                                 const OpenCard& open, size_t spare) {
  const GpuOptions& gpu = options.gpu;
  const int n = model.config.n_layers, wanted = gpu.layers < 0 ? n : std::min(gpu.layers, n);
  ChosenCards chosen;
  std::vector<cuda::CardMemory> memory;
  std::map<std::pair<int, int>, cuda::CardNeeds> known;
  const cuda::NeedsOf needs = [&](const cuda::LayerRange& range) {
    const auto [found, is_new] = known.try_emplace({range.first, range.end});
    if (is_new) found->second = cuda::needs_of(model, planned_use(options), range, *chosen.devices.front());
    return found->second;
  };
  for (const int number : numbers) {
    S3D_ASSIGN(chosen.devices.emplace_back(), open(number));
    const size_t free = std::max(chosen.devices.back()->free_bytes(), spare) - spare;
    memory.push_back({chosen.devices.back()->name(), gpu.memory > 0 ? std::min(gpu.memory, free) : free});
    if (!gpu.shares.empty()) continue;
    auto division = cuda::divide_layers(needs, n, memory, wanted);
    if (!division.ok()) continue;
    chosen.division = std::move(*division);
    return chosen;
  }
  S3D_ASSIGN(chosen.division, cuda::divide_layers(needs, n, memory, gpu.layers, gpu.shares));
  return chosen;
}

// A part of a divided model; the card is an index of ChosenCards, -1: the CPU.
struct PlacedPart {
  BackendPart part;
  int card;
};

// The first layers on the CPU, if some are left for it, the others on the cards.
Result<std::vector<PlacedPart>> place_parts(const Model& model, const BackendOptions& options,
                                            const ChosenCards& cards) {
  const auto& [counts, last] = cards.division;
  const ModelConfig& config = model.config;
  const int on_cpu = config.n_layers - std::accumulate(counts.begin(), counts.end(), 0);
  std::vector<PlacedPart> out;
  if (on_cpu > 0) {
    S3D_ASSIGN(const Kernels* kernels, choose_kernels());
    out.push_back({on_host(model, options, kernels->name, on_cpu), -1});
  }
  int first = on_cpu;
  for (int card = 0; card < isize(counts); ++card) {
    const int count = counts[usize(card)];
    if (count == 0 && card != last) continue;
    const cuda::Device& device = *cards.devices[usize(card)];
    const cuda::LayerRange range = {first, first + count};
    const cuda::CardNeeds needs = cuda::needs_of(model, planned_use(options), range, device);
    out.push_back({{.device = device.name(),
                    .on_card = true,
                    .first_layer = first,
                    .end_layer = range.end,
                    .weight_bytes = needs.weights + needs.head,
                    .kv_bytes = kv_bytes_of_token(config, options.kv_type, count),
                    .on_card_bytes = needs.all()},
                   card});
    first = range.end;
  }
  return out;
}

Parts without_cards(const std::vector<PlacedPart>& placed) {
  std::vector<BackendPart> parts;
  for (const PlacedPart& part : placed) parts.push_back(part.part);
  return parts;
}

Result<std::unique_ptr<Backend>> card_backend(const std::shared_ptr<const Model>& model, const BackendOptions& options,
                                              WeightReader& reader, const std::shared_ptr<cuda::Device>& device,
                                              const cuda::LayerRange& range) {
  S3D_ASSIGN(std::unique_ptr<CudaBackend> backend,
             CudaBackend::create(model, device, &reader.pool(), options.max_rows, range, &reader));
  S3D_TRY(backend->reserve(pass_limits(options)));
  return std::unique_ptr<Backend>(std::move(backend));
}

Loaded make_on_cards(const std::shared_ptr<Model>& model, const BackendOptions& options, WeightReader& reader,
                     const ChosenCards& cards) {
  S3D_ASSIGN(std::vector<PlacedPart> placed, place_parts(*model, options, cards));
  S3D_TRY(pack_layers(*model, placed.front().card < 0 ? placed.front().part.end_layer : 0, reader));
  S3D_ASSIGN(model->output_norm, reader.output_norm());
  std::vector<SplitBackend::Part> parts;
  for (PlacedPart& place : placed) {
    const cuda::LayerRange range = {place.part.first_layer, place.part.end_layer};
    S3D_ASSIGN(std::unique_ptr<Backend> backend,
               place.card < 0 ? cpu_backend(model, options)
                              : card_backend(model, options, reader, cards.devices[usize(place.card)], range));
    place.part.weight_bytes = backend->weight_bytes();
    parts.push_back({std::move(backend), range.end - range.first});
  }
  LoadedBackend loaded{.model = model, .backend = nullptr, .parts = {}};
  S3D_ASSIGN(loaded.parts, without_cards(placed));
  if (parts.size() == 1) {
    loaded.backend = std::move(parts.front().backend);
  } else {
    S3D_ASSIGN(loaded.backend, SplitBackend::create(model, std::move(parts)));
  }
  return loaded;
}

Result<ChosenCards> cuda_cards(const Model& model, const BackendOptions& options) {
  S3D_ASSIGN(const int count, cuda::count_cards());
  S3D_ASSIGN(const std::vector<int> numbers, card_numbers(options.gpu.cards, count));
  const OpenCard open = [](int number) -> Result<std::shared_ptr<cuda::Device>> {
    S3D_ASSIGN(std::shared_ptr<cuda::Device> device, cuda::open_device(number));
    return device;
  };
  constexpr size_t kSpare = size_t{128} << 20;  // kernels are loaded and graphs made later; no card told how much it is
  return choose_cards(model, options, numbers, open, kSpare);
}

Result<ChosenCards> emulated_cards(const Model& model, const BackendOptions& options) {
  std::vector<size_t> memory = options.gpu.emulated;
  if (memory.empty()) memory = {cuda::kEmulatedBytes};
  S3D_ASSIGN(const std::vector<int> numbers, card_numbers(options.gpu.cards, isize(memory)));
  const OpenCard open = [&](int number) -> Result<std::shared_ptr<cuda::Device>> {
    return std::shared_ptr<cuda::Device>(cuda::make_emulated_device(1, false, false, memory[usize(number)]));
  };
  return choose_cards(model, options, numbers, open, 0);
}

using ChooseCards = Result<ChosenCards> (*)(const Model&, const BackendOptions&);

template <ChooseCards choose>
Loaded make_with(const std::shared_ptr<Model>& model, const BackendOptions& options, WeightReader& reader) {
  S3D_ASSIGN(const ChosenCards cards, choose(*model, options));
  return make_on_cards(model, options, reader, cards);
}

template <ChooseCards choose>
Parts plan_with(const Model& model, const BackendOptions& options) {
  S3D_ASSIGN(const ChosenCards cards, choose(model, options));
  S3D_ASSIGN(const std::vector<PlacedPart> placed, place_parts(model, options, cards));
  return without_cards(placed);
}

constexpr Maker make_cuda = make_with<cuda_cards>, make_cuda_emulated = make_with<emulated_cards>;
constexpr PartPlanner plan_cuda = plan_with<cuda_cards>, plan_cuda_emulated = plan_with<emulated_cards>;
#else
constexpr Maker make_cuda = nullptr, make_cuda_emulated = nullptr;
constexpr PartPlanner plan_cuda = nullptr, plan_cuda_emulated = nullptr;
#endif

struct Entry {
  BackendKind kind;
  std::string_view name, note;
  Maker make;  // null: not in this build
  PartPlanner plan;
};
constexpr Entry kBackends[] = {
    {BackendKind::kCpu, "cpu", "the kernels of this processor", make_cpu, plan_cpu},
    {BackendKind::kCuda, "cuda", "an NVIDIA card", make_cuda, plan_cuda},
    {BackendKind::kCudaEmulated, "cuda-emulated", "its kernels on the CPU, for checking", make_cuda_emulated,
     plan_cuda_emulated},
    {BackendKind::kReference, "reference", "double precision, for checking", make_reference, plan_reference},
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

Result<std::vector<BackendPart>> plan_backend(const Model& model, const BackendOptions& options) {
  return entry_of(options.kind).plan(model, options);
}

}  // namespace s3d
