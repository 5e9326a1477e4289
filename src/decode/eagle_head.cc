#include "decode/eagle_head.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/index.h"

namespace s3d {
namespace {

// Buffers for wider passes would take memory that only prompts need.
constexpr int kMaxRows = 64;

void rms_in_place(std::span<float> row, float eps) {
  double sum = 0;
  for (const float x : row) sum += double{x} * x;
  const double scale = 1 / std::sqrt(sum / static_cast<double>(row.size()) + eps);
  for (float& x : row) x = static_cast<float>(x * scale);
}

}  // namespace

Result<std::shared_ptr<EagleHead>> EagleHead::create(EagleFile file, std::shared_ptr<const Model> base,
                                                     Backend& backend, const KvCache& base_kv, ThreadPool& pool) {
  S3D_ASSIGN(SideMatrix head, side_head(*base, file.draft_ids, &pool));
  S3D_ASSIGN(Model side, load_side_model(*base, file.file, head.packed, head.ids, pool));
  const auto model = std::make_shared<const Model>(std::move(side));
  S3D_ASSIGN(std::unique_ptr<Backend> layer, backend.beside(model, std::min(kMaxRows, backend.max_rows())));
  S3D_ASSIGN(KvCache kv, layer->make_kv_cache(base_kv.type(), base_kv.capacity()));
  const std::shared_ptr<EagleHead> out(new EagleHead(std::move(file), std::move(base), std::move(kv)));
  out->model_ = model;
  out->layer_ = std::move(layer);
  out->taps_ = out->file_.taps;
  if (out->taps_.empty()) out->taps_ = {out->base_->config.n_layers};
  S3D_ASSIGN(out->fc_, pack_side_matrix(*out->file_.file, out->file_.fc, &pool));
  S3D_ASSIGN(out->tap_, pack_side_matrix(*out->file_.file, out->file_.tap, &pool));
  out->head_ = std::move(head);
  S3D_TRY(out->layer_->take(out->fc_));
  S3D_TRY(out->layer_->take(out->tap_));
  return out;
}

size_t EagleHead::bytes_for(int tokens) const {
  constexpr int kPage = KvCache::kPageTokens;
  return bytes() - kv_.bytes() + kv_.bytes_per_token() * usize((tokens + kPage - 1) / kPage * kPage);
}

size_t EagleHead::bytes() const {
  size_t bytes = fc_.own_bytes + tap_.own_bytes + head_.own_bytes + kv_.bytes() + layer_->scratch_bytes();
  return bytes + model_->packed_bytes() - (model_->layers.empty() ? 0 : model_->lm_head.bytes());
}

std::vector<float> EagleHead::rms(std::span<const float> rows) const {
  const size_t d = usize(base_->config.d_model);
  std::vector<float> out(rows.begin(), rows.end());
  for (size_t at = 0; at < out.size(); at += d) rms_in_place(std::span(out).subspan(at, d), base_->config.norm_eps);
  return out;
}

std::vector<float> EagleHead::features(std::span<const float> states) const {
  std::vector<float> normed = rms(states);
  if (tap_.empty()) return normed;
  std::vector<float> out(normed.size() / tap_.cols() * tap_.rows());
  layer_->multiply(tap_, normed, out);
  return out;
}

std::vector<float> EagleHead::inputs(std::span<const TokenId> tokens, std::span<const float> features) const {
  const size_t d = usize(base_->config.d_model), n = tokens.size();
  S3D_CHECK(features.size() == n * d);
  std::vector<float> both(n * 2 * d), out(n * d);
  for (size_t i = 0; i < n; ++i) {
    float* row = &both[i * 2 * d];
    base_->embed(tokens[i], row);
    rms_in_place({row, d}, base_->config.norm_eps);
    std::copy_n(&features[i * d], d, row + d);
  }
  base_->file->release_pages(*base_->token_embedding);
  layer_->multiply(fc_, both, out);
  return out;
}

DraftPass EagleHead::pass(KvUse use) {
  return {.backend = layer_.get(), .kv = &kv_, .use = use, .layers = LayerSet::all(1), .want_hidden = true};
}

}  // namespace s3d
