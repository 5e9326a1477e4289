#include "backend/split_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/index.h"

namespace s3d {

Result<std::unique_ptr<SplitBackend>> SplitBackend::create(std::shared_ptr<const Model> model,
                                                           std::vector<Part> parts) {
  S3D_CHECK(model != nullptr && !parts.empty());
  int layers = 0;
  for (const Part& part : parts) {
    S3D_CHECK(part.backend != nullptr && part.layers >= 0);
    layers += part.layers;
  }
  if (layers != model->config.n_layers) {
    return Error{
        fmt::format("a model of {} layers was divided into parts of {} in all", model->config.n_layers, layers)};
  }
  return std::unique_ptr<SplitBackend>(new SplitBackend(std::move(model), std::move(parts)));
}

SplitBackend::SplitBackend(std::shared_ptr<const Model> model, std::vector<Part> parts)
    : model_(std::move(model)), parts_(std::move(parts)) {
  for (const Part& part : parts_) name_ += (name_.empty() ? "" : "+") + std::string(part.backend->name());
}

Result<PassOutput> SplitBackend::run(const Block& block, KvCache& kv) {
  const size_t size = block.rows.size() * usize(config().d_model);
  PassPart part;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const bool ends = i + 1 == parts_.size();
    std::vector<float>& out = stream_[i % 2];
    part.first_layer = part.end_layer;
    part.end_layer += parts_[i].layers;
    out.resize(ends ? 0 : size);
    part.out = out;
    KvCache mine = kv.part(i);
    Result<PassOutput> result = parts_[i].backend->run_part(block, mine, part);
    if (!result.ok()) {
      for (const Row& row : block.rows) {
        if (kv.has_sequence(row.seq)) kv.truncate(row.seq, kv.length(row.seq));  // what earlier parts left pending
      }
      return result;
    }
    take_taps(block, part, result->tapped);
    if (ends) {
      result->tapped = tapped_;
      return result;
    }
    part.in = out;
  }
  return PassOutput{};
}

// Those behind layers of `part`.
void SplitBackend::take_taps(const Block& block, const PassPart& part, std::span<const float> from) {
  const size_t d = usize(config().d_model), taps = block.taps.size();
  tapped_.resize(block.tapped.size() * taps * d);
  for (size_t at = 0; at < tapped_.size(); at += d) {
    const int layers_run = block.taps[at / d % taps];
    if (layers_run > part.first_layer && layers_run <= part.end_layer) std::copy_n(&from[at], d, &tapped_[at]);
  }
}

void SplitBackend::add_markov(const PackedAdapter& adapter, std::span<const TokenId> previous, std::span<float> logits,
                              std::span<float> z) {
  last().add_markov(adapter, previous, logits, z);
}

Status SplitBackend::choose(const LogitRows& rows, const ChoiceAsk& ask, Choices& out) {
  return last().choose(rows, ask, out);
}

Status SplitBackend::choose_draft(const PackedAdapter& adapter, const LogitRows& rows, TokenId previous,
                                  const ChoiceAsk& ask, Choices& out) {
  return last().choose_draft(adapter, rows, previous, ask, out);
}

Result<KvCache> SplitBackend::make_kv_cache(KvType type, int64_t tokens) {
  std::vector<KvCache::Part> parts;
  for (const Part& part : parts_) parts.push_back({part.layers, part.backend->kv_storage()});
  return KvCache::create(config(), type, tokens, parts);
}

int SplitBackend::max_rows() const {
  int most = last().max_rows();
  for (const Part& part : parts_) most = std::min(most, part.backend->max_rows());
  return most;
}

size_t SplitBackend::weight_bytes() const {
  size_t bytes = 0;
  for (const Part& part : parts_) bytes += part.backend->weight_bytes();
  return bytes;
}

size_t SplitBackend::scratch_bytes() const {
  size_t bytes = (stream_[0].capacity() + stream_[1].capacity() + tapped_.capacity()) * sizeof(float);
  for (const Part& part : parts_) bytes += part.backend->scratch_bytes();
  return bytes;
}

}  // namespace s3d
