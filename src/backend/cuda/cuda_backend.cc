#include "backend/cuda/cuda_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "backend/cuda/cuda_pass.h"
#include "backend/cuda/device_kv_storage.h"
#include "backend/cuda/device_matrix.h"
#include "backend/cuda/markov_head.h"
#include "backend/cuda/side_products.h"
#include "backend/cuda/token_chooser.h"
#include "base/check.h"
#include "base/index.h"

namespace s3d {

struct CudaBackend::Impl {
  Impl(std::shared_ptr<const Model> m, std::shared_ptr<cuda::Device> d, cuda::DeviceModel w, cuda::LayerRange r,
       int most)
      : model(std::move(m)),
        device(std::move(d)),
        weights(std::move(w)),
        range(r),
        pass(*device, *model, weights),
        markov(*device, *model, weights.ones),
        chooser(*device),
        side(*device, *model, weights),
        max_rows(most) {}

  // The adapter on the device, uploaded when it is first used; null for null.
  Result<cuda::DeviceAdapter*> on_device(const PackedAdapter* adapter) {
    if (adapter == nullptr) return static_cast<cuda::DeviceAdapter*>(nullptr);
    const auto found = adapters.find(adapter);
    if (found != adapters.end() && is_source(found->second, *adapter)) return &found->second;
    S3D_ASSIGN(cuda::DeviceAdapter uploaded, upload(*device, *adapter, model->config, range));
    if (limits) {
      S3D_TRY(pass.reserve(*limits, &uploaded));
      if (!uploaded.markov_p.empty()) S3D_TRY(markov.reserve(uploaded));
    }
    pass.forget_graphs();
    return &(adapters[adapter] = std::move(uploaded));
  }

  std::shared_ptr<const Model> model;
  std::shared_ptr<cuda::Device> device;  // before what lies on it
  cuda::DeviceModel weights;
  cuda::LayerRange range;
  std::optional<cuda::PassLimits> limits;  // of what is reserved
  std::map<const PackedAdapter*, cuda::DeviceAdapter> adapters;
  cuda::CudaPass pass;
  cuda::MarkovHead markov;
  cuda::TokenChooser chooser;
  cuda::SideProducts side;
  int kept = 0;  // rows of logits of the last pass that are on the device
  BlockPlacement placement;
  int max_rows;
};

Result<std::unique_ptr<CudaBackend>> CudaBackend::create(std::shared_ptr<const Model> model,
                                                         std::shared_ptr<cuda::Device> device, ThreadPool* pool,
                                                         int max_rows, std::optional<cuda::LayerRange> layers,
                                                         WeightReader* reader) {
  S3D_CHECK(model != nullptr && device != nullptr);
  if (max_rows < 1) return Error{fmt::format("CUDA backend: passes of {} rows; expected 1 or more", max_rows)};
  // A norm holds its row in shared memory, of which every card gives 48 KiB without being asked.
  constexpr int kMostColumns = 48 * 1024 / sizeof(float);
  const ModelConfig& config = model->config;
  if (std::max(config.d_model, config.wide_qk_norm ? config.q_dim() : 0) > kMostColumns) {
    return Error{fmt::format("CUDA backend: rows of {} numbers, at most {} are supported; use --backend cpu",
                             config.d_model, kMostColumns)};
  }
  const cuda::LayerRange range = layers.value_or(cuda::LayerRange{0, config.n_layers});
  S3D_ASSIGN(cuda::DeviceModel weights, upload(*device, *model, range, {.pool = pool, .reader = reader}));
  return std::unique_ptr<CudaBackend>(new CudaBackend(
      std::make_unique<Impl>(std::move(model), std::move(device), std::move(weights), range, max_rows)));
}

Status CudaBackend::reserve(const cuda::PassLimits& limits) {
  impl_->limits = limits;
  S3D_TRY(impl_->pass.reserve(limits, nullptr));
  return impl_->weights.lm_head->empty() ? Ok() : impl_->chooser.reserve(limits.wanted, config().vocab_size);
}

CudaBackend::CudaBackend(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CudaBackend::~CudaBackend() = default;

Result<PassOutput> CudaBackend::run(const Block& block, KvCache& kv) {
  return run_part(block, kv, {0, config().n_layers});
}

Result<PassOutput> CudaBackend::run_part(const Block& block, KvCache& kv, const PassPart& part) {
  S3D_CHECK(part.first_layer >= impl_->range.first && part.end_layer <= impl_->range.end,
            "layers of a model that are on this device");
  impl_->kept = 0;
  S3D_ASSIGN(const cuda::DeviceAdapter* adapter,
             impl_->on_device(block.riders != nullptr ? block.riders : block.adapter));
  S3D_TRY(place_block(block, impl_->model->config, impl_->max_rows, kv, impl_->placement));
  const Status done = impl_->pass.run(block, kv, impl_->placement, adapter, part);
  if (!done.ok() || block.kv == KvUse::kScratch) drop_pending(impl_->placement, kv);
  if (!done.ok()) return done.error();
  PassOutput out;
  out.logits = impl_->pass.logits;
  out.hidden = impl_->pass.hidden;
  out.tapped = impl_->pass.tapped;
  if (!part.out.empty()) return out;
  impl_->kept = isize(impl_->placement.wanted);
  if (block.keep_logits) out.kept = impl_->kept;
  return out;
}

void CudaBackend::add_markov(const PackedAdapter& adapter, std::span<const TokenId> previous, std::span<float> logits,
                             std::span<float> z) {
  if (adapter.markov_p().empty()) return;
  const size_t size = adapter.draft_size();
  S3D_CHECK(logits.size() == previous.size() * size &&
            (z.empty() || z.size() == previous.size() * adapter.markov_p().rows()));
  const auto on_device = impl_->on_device(&adapter);
  std::vector<float> low, sums;
  const Status done =
      on_device.ok() ? impl_->markov.terms(**on_device, previous, low, sums) : Status(on_device.error());
  S3D_CHECK(done.ok(), done.ok() ? "" : done.error().message);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] += sums[i];
  if (!z.empty()) std::copy(low.begin(), low.end(), z.begin());
}

Status CudaBackend::choose(const LogitRows& rows, const ChoiceAsk& ask, Choices& out) {
  if (!rows.logits.empty() || rows.rows == 0) return Backend::choose(rows, ask, out);
  S3D_CHECK(rows.first >= 0 && rows.first + rows.rows <= impl_->kept, "rows of logits that the last pass left");
  S3D_TRY(impl_->chooser.prepare(rows.rows, impl_->pass.width(), ask));
  impl_->chooser.start(impl_->pass.kept_logits(rows.first), 0, rows.rows);
  return impl_->chooser.fetch(out);
}

Status CudaBackend::choose_draft(const PackedAdapter& adapter, const LogitRows& rows, TokenId previous,
                                 const ChoiceAsk& ask, Choices& out) {
  if (adapter.markov_p().empty()) return choose(rows, ask, out);
  if (!rows.logits.empty() || rows.rows == 0) return Backend::choose_draft(adapter, rows, previous, ask, out);
  S3D_CHECK(
      rows.first >= 0 && rows.first + rows.rows <= impl_->kept && usize(impl_->pass.width()) == adapter.draft_size(),
      "rows of logits that the last draft pass left");
  S3D_ASSIGN(cuda::DeviceAdapter * on_device, impl_->on_device(&adapter));
  return impl_->markov.choose(*on_device, adapter, impl_->pass.kept_logits(rows.first), rows.rows, previous, ask,
                              impl_->chooser, out);
}

Result<std::unique_ptr<Backend>> CudaBackend::beside(std::shared_ptr<const Model> model, int max_rows) {
  S3D_CHECK(model != nullptr && model->side != nullptr);
  const PackedMatrix &own = model->lm_head, &base = impl_->model->lm_head;
  const bool shares_head = own.empty() || (!base.empty() && own.unit(0) == base.unit(0));
  const cuda::LayerRange range = {0, model->config.n_layers};
  S3D_ASSIGN(cuda::DeviceModel weights,
             upload(*impl_->device, *model, range, {.head = shares_head ? impl_->weights.lm_head : nullptr}));
  return std::unique_ptr<Backend>(
      new CudaBackend(std::make_unique<Impl>(std::move(model), impl_->device, std::move(weights), range, max_rows)));
}

Status CudaBackend::take(const SideMatrix& w) {
  return impl_->side.take(w);
}

void CudaBackend::multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out) {
  const Status done = impl_->side.multiply(w, in, out);
  S3D_CHECK(done.ok(), done.ok() ? "" : done.error().message);
}

KvStorageMaker CudaBackend::kv_storage() {
  return [device = impl_->device, most_moves = impl_->max_rows](const KvLayout& layout, size_t n_pages) {
    return cuda::make_device_kv_storage(device, layout, n_pages, most_moves);
  };
}

const ModelConfig& CudaBackend::config() const {
  return impl_->model->config;
}
int CudaBackend::max_rows() const {
  return impl_->max_rows;
}
std::string_view CudaBackend::name() const {
  return impl_->device->name() == "emulated" ? "cuda-emulated" : "cuda";
}
size_t CudaBackend::weight_bytes() const {
  return impl_->weights.bytes();
}
size_t CudaBackend::scratch_bytes() const {
  return impl_->pass.scratch_bytes() + impl_->markov.bytes() + impl_->chooser.bytes() + impl_->side.bytes();
}

}  // namespace s3d
