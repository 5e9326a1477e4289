#include "backend/packed_adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backend/side_matrix.h"
#include "base/check.h"
#include "base/index.h"
#include "model/tensor_floats.h"

namespace s3d {
namespace {

// Where matrices are packed, one behind the other in the order in which a pass reads them.
struct Place {
  ThreadPool* pool;
  WeightMemory memory;
};

Result<PackedMatrix> pack(ggml_type type, const std::byte* data, size_t rows, int64_t cols, Place& place) {
  return PackedMatrix::pack(type, data, rows, usize(cols), place.pool, {}, {}, &place.memory);
}

Status pack(const Tensor* tensor, Place& place, PackedMatrix& out) {
  if (tensor == nullptr) return Ok();
  S3D_ASSIGN(out, pack(tensor->type, tensor->data, usize(tensor->rows()), tensor->cols(), place));
  return Ok();
}

// `pairs`: those of matrices that read one input. All a's of a layer have one type and one number of columns.
Status pack_lora(std::span<const LoraPair> pairs, Place& place, PackedLora& out) {
  std::vector<std::byte> stacked;
  const Tensor* like = nullptr;
  size_t rows = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (!pairs[i]) continue;
    like = pairs[i].a;
    out.first[i] = rows;
    rows += usize(like->rows());
    stacked.insert(stacked.end(), like->data, like->data + like->bytes);
  }
  if (like == nullptr) return Ok();
  S3D_ASSIGN(out.a, pack(like->type, stacked.data(), rows, like->cols(), place));
  for (size_t i = 0; i < pairs.size(); ++i) S3D_TRY(pack(pairs[i].b, place, out.b[i]));
  return Ok();
}

size_t bytes_of(const PackedLora& lora) {
  size_t bytes = lora.a.bytes();
  for (const PackedMatrix& b : lora.b) bytes += b.bytes();
  return bytes;
}

// Pairs of one PackedLora must share the type of their a's, because these are stacked.
Status check_types(std::span<const LoraPair> pairs) {
  const Tensor* like = nullptr;
  for (const LoraPair& pair : pairs) {
    if (!pair) continue;
    if (like != nullptr && pair.a->type != like->type) {
      return Error{fmt::format("adapter: tensors {} and {} must have one type, found {} and {}", like->name,
                               pair.a->name, ggml_type_name(like->type), ggml_type_name(pair.a->type))};
    }
    like = pair.a;
  }
  return Ok();
}

Status pack_layers(const Adapter& adapter, Place& place, std::vector<PackedAdapter::Layer>& layers) {
  for (const std::array<LoraPair, kLoraTargets>& pairs : adapter.lora) {
    const std::span all(pairs);
    const auto at = [](LoraTarget target) { return usize(target); };
    const struct {
      std::span<const LoraPair> pairs;
      PackedLora PackedAdapter::Layer::*out;
    } groups[] = {{all.subspan(at(LoraTarget::kQ), 3), &PackedAdapter::Layer::qkv},
                  {all.subspan(at(LoraTarget::kOutput), 1), &PackedAdapter::Layer::output},
                  {all.subspan(at(LoraTarget::kGate), 2), &PackedAdapter::Layer::gate_up},
                  {all.subspan(at(LoraTarget::kDown), 1), &PackedAdapter::Layer::down}};
    PackedAdapter::Layer& layer = layers.emplace_back();
    for (const auto& group : groups) {
      S3D_TRY(check_types(group.pairs));
      S3D_TRY(pack_lora(group.pairs, place, layer.*group.out));
    }
  }
  return Ok();
}

// The rows of the head that draft passes run, unless the model's own begin with them. Riders have the logits of a full
// pass.
Status pack_own_head(const Adapter& adapter, const Model& model, ThreadPool* pool, PackedMatrix& out) {
  if (adapter.config.fused || (adapter.draft_ids.empty() && model.lm_head_ids.empty())) return Ok();
  std::vector<TokenId> ids = adapter.draft_ids;
  if (ids.empty()) {  // all tokens, in the vocabulary's order
    ids.resize(usize(model.config.vocab_size));
    std::iota(ids.begin(), ids.end(), 0);
  }
  S3D_ASSIGN(const SideMatrix head, side_head(model, ids, pool));
  if (head.own_bytes > 0) out = head.packed;
  return Ok();
}

}  // namespace

Result<std::shared_ptr<const PackedAdapter>> PackedAdapter::create(const Adapter& adapter, const Model& model,
                                                                   ThreadPool* pool) {
  const std::shared_ptr<PackedAdapter> out(new PackedAdapter);
  out->source_ = adapter;
  out->d_model_ = usize(model.config.d_model);
  out->draft_size_ = adapter.draft_ids.empty() ? usize(model.config.vocab_size) : adapter.draft_ids.size();
  if (adapter.masks != nullptr) {
    out->masks_.resize(usize(adapter.masks->rows()) * out->d_model_);
    tensor_to_floats(*adapter.masks, out->masks_.data());
  }
  Place place = {.pool = pool, .memory = {}};
  S3D_TRY(pack_layers(adapter, place, out->layers_));
  S3D_TRY(pack(adapter.state.a, place, out->state_down_));
  S3D_TRY(pack(adapter.state.b, place, out->state_up_));
  S3D_TRY(pack(adapter.bridge.a, place, out->bridge_down_));
  S3D_TRY(pack(adapter.bridge.b, place, out->bridge_up_));
  S3D_TRY(pack(adapter.markov_p, place, out->markov_p_));
  S3D_TRY(pack(adapter.markov_w2, place, out->markov_w2_));
  S3D_TRY(pack_own_head(adapter, model, pool, out->own_head_));
  for (const Tensor& tensor : adapter.file->tensors()) adapter.file->release_pages(tensor);
  return std::shared_ptr<const PackedAdapter>(out);
}

Result<std::shared_ptr<const PackedAdapter>> PackedAdapter::untrained(const Model& model, LayerSet layers, int masks,
                                                                      int draft_vocab) {
  const int n_layers = model.config.n_layers;
  if (layers.first < 0 || layers.last < 0 || layers.count() < 1 || layers.count() > n_layers) {
    return Error{fmt::format("a draft over the first {} and the last {} layers: the model has {}", layers.first,
                             layers.last, n_layers)};
  }
  const std::shared_ptr<PackedAdapter> out(new PackedAdapter);
  out->source_.config = {.layers = layers, .masks = masks, .draft_vocab = draft_vocab};
  out->d_model_ = usize(model.config.d_model);
  out->draft_size_ = usize(draft_vocab > 0 ? draft_vocab : model.config.vocab_size);
  out->source_.draft_ids.assign(model.lm_head_ids.begin(),
                                model.lm_head_ids.begin() + (draft_vocab > 0 ? draft_vocab : 0));
  if (draft_vocab == 0) out->source_.draft_ids = model.lm_head_ids;
  out->layers_.resize(usize(layers.count()));
  out->source_.lora.resize(out->layers_.size());
  // Every 16th row: the mean of a few thousand rows differs from that of all by a hundredth of a row's length.
  constexpr int kStep = 16;
  std::vector<float> row(out->d_model_), mean(out->d_model_);
  int count = 0;
  for (TokenId token = 0; token < model.config.vocab_size; token += kStep, ++count) {
    model.embed(token, row.data());
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += row[i];
  }
  model.file->release_pages(*model.token_embedding);
  for (float& value : mean) value /= static_cast<float>(count);
  for (int j = 0; j < masks; ++j) out->masks_.insert(out->masks_.end(), mean.begin(), mean.end());
  return std::shared_ptr<const PackedAdapter>(out);
}

size_t PackedAdapter::bytes() const {
  size_t bytes =
      (masks_.size() + source_.confidence_w.size()) * sizeof(float) + source_.draft_ids.size() * sizeof(int32_t);
  for (const Layer& layer : layers_) {
    bytes += bytes_of(layer.qkv) + bytes_of(layer.output) + bytes_of(layer.gate_up) + bytes_of(layer.down);
  }
  for (const PackedMatrix* matrix :
       {&state_down_, &state_up_, &bridge_down_, &bridge_up_, &markov_p_, &markov_w2_, &own_head_}) {
    bytes += matrix->bytes();
  }
  return bytes;
}

float PackedAdapter::confidence(std::span<const float> hidden, std::span<const float> z) const {
  S3D_CHECK(source_.confidence_w.size() == hidden.size() + z.size());
  float sum = source_.confidence_b;
  for (size_t i = 0; i < hidden.size(); ++i) sum += source_.confidence_w[i] * hidden[i];
  for (size_t i = 0; i < z.size(); ++i) sum += source_.confidence_w[hidden.size() + i] * z[i];
  return 1 / (1 + std::exp(-sum));
}

}  // namespace s3d
