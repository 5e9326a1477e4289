#include "train/draft_block.h"

#include <cmath>

#include "base/check.h"

namespace s3d::train {
namespace {

// Attention of the rows of a draft pass: over the committed context of their sequence before their anchor, and causally
// within their own anchor's block. The blocks of all anchors of a sequence stand behind its context as further keys,
// and one mask hides what a row may not see: a few more products than needed, but one matrix product for all.
class BlockAttention {
 public:
  // `hidden`: [S, A R, C + A R], -inf where a row does not see a key, else 0.
  BlockAttention(const ModelConfig& config, const Tensor& hidden)
      : config_(config), hidden_(hidden), s_(hidden.size(0)), n_(hidden.size(1)), keys_(hidden.size(2)) {}

  // q: [S A R, heads, head_dim]; own: keys and values of the blocks, [S A R, kv_heads, head_dim];
  // context: [S, C, kv_heads, head_dim]. Returns [S A R, q_dim].
  Tensor run(const Tensor& q, const LayerKv& own, const LayerKv& context) const {
    const int64_t g = config_.n_kv_heads, p = config_.n_heads / g, e = config_.head_dim;
    // All queries of a sequence that share a key-value head are one matrix: [S g, p A R, e].
    const Tensor queries = (q * config_.attention_scale).view({s_, n_, g, p, e}).permute({0, 2, 3, 1, 4});
    Tensor scores = torch::bmm(queries.reshape({s_ * g, p * n_, e}), joined(context.keys, own.keys).transpose(1, 2));
    scores.view({s_, g * p, n_, keys_}).add_(hidden_.unsqueeze(1));
    const Tensor out = torch::bmm(scores.softmax(-1), joined(context.values, own.values));
    return out.view({s_, g, p, n_, e}).permute({0, 3, 1, 2, 4}).reshape({s_ * n_, config_.q_dim()});
  }

 private:
  // [S g, C + A R, e]
  Tensor joined(const Tensor& context, const Tensor& own) const {
    const int64_t g = config_.n_kv_heads, e = config_.head_dim;
    const Tensor all = torch::cat({context, own.view({s_, n_, g, e})}, 1);
    return all.permute({0, 2, 1, 3}).reshape({s_ * g, keys_, e});
  }

  const ModelConfig& config_;
  Tensor hidden_;
  int64_t s_, n_, keys_;  // sequences, rows of each, keys of each
};

// The mask of BlockAttention for anchors at `positions` [S, A] with `rows` rows each: [S, A R, C + A R].
Tensor hidden_keys(const Tensor& positions, int64_t rows, int64_t context) {
  const auto longs = torch::TensorOptions(torch::kLong).device(positions.device());
  const int64_t s = positions.size(0), n = positions.size(1) * rows;
  const Tensor first = positions.unsqueeze(2).expand({s, positions.size(1), rows}).reshape({s, n, 1});
  const Tensor far = torch::arange(context, longs).view({1, 1, context}) >= first;
  const Tensor row = torch::arange(n, longs);
  const Tensor anchor = row.div(rows, "floor");
  const Tensor near = (anchor.unsqueeze(0) != anchor.unsqueeze(1)) | (row.unsqueeze(0) > row.unsqueeze(1));
  const Tensor hidden = torch::cat({far, near.unsqueeze(0).expand({s, n, n})}, 2);
  return torch::zeros(hidden.sizes(), positions.device()).masked_fill(hidden, -INFINITY);
}

Tensor low_rank(const Tensor& x, const Tensor& down, const Tensor& up) {
  return torch::linear(torch::linear(x, down), up);
}

}  // namespace

DraftBlock::DraftBlock(const BaseModel& base, const std::vector<int32_t>& draft_ids)
    : base_(base), head_(base, draft_ids) {}

// [S * A * R, d_model]
Tensor DraftBlock::inputs(const DraftParams& params, const DraftBatch& batch) const {
  const int64_t n = batch.sequences * batch.anchors, d = base_.config.d_model;
  if (params.config.fused) {
    return params.masks.slice(0, 0, batch.rows).unsqueeze(0).expand({n, batch.rows, d}).reshape({n * batch.rows, d});
  }
  const int64_t masks = batch.rows - 1;
  Tensor first = embed(base_, batch.tokens.view({n})).unsqueeze(1);  // [n, 1, d]
  Tensor state;                                                      // [n, 1, d]
  if (params.state_down.defined()) {
    state = low_rank(batch.state.view({n, 1, d}), params.state_down, params.state_up);
    if (params.config.state_on_first_row) first = first + state;
  }
  if (masks == 0) return first.reshape({n, d});
  Tensor rest = params.masks.slice(0, 0, masks).unsqueeze(0).expand({n, masks, d});
  if (state.defined()) rest = rest + state;
  return torch::cat({first, rest}, 1).view({n * (masks + 1), d});
}

Tensor DraftBlock::layer(const DraftParams& params, const DraftBatch& batch, int index, const Tensor& x,
                         const Tensor& positions, const Tensor& hidden_keys) const {
  const ModelConfig& config = base_.config;
  const BaseLayer& base = base_.layers[static_cast<size_t>(params.config.layers.layer(index, config.n_layers))];
  const auto& lora = params.lora[static_cast<size_t>(index)];
  const auto apply = [&](LoraTarget target, const Tensor& input, const Tensor& bias = {}) {
    const auto t = static_cast<size_t>(target);
    Tensor y = project(input, base.matrices[t]);
    if (lora[t].first.defined()) y = y + low_rank(input, lora[t].first, lora[t].second);
    return bias.defined() ? y + bias : y;
  };
  const int64_t rows = x.size(0), head_dim = config.head_dim;
  const Tensor h = rms_norm(x, base.attn_norm, config.norm_eps);
  const Tensor q = rotate(base_, apply(LoraTarget::kQ, h, base.bq).view({rows, config.n_heads, head_dim}), positions);
  const LayerKv own = {
      rotate(base_, apply(LoraTarget::kK, h, base.bk).view({rows, config.n_kv_heads, head_dim}), positions),
      apply(LoraTarget::kV, h, base.bv).view({rows, config.n_kv_heads, head_dim})};
  const BlockAttention attention(config, hidden_keys);
  const Tensor mixed = x + apply(LoraTarget::kOutput, attention.run(q, own, batch.context_kv(index)));
  const Tensor f = rms_norm(mixed, base.ffn_norm, config.norm_eps);
  const Tensor gated = torch::silu(apply(LoraTarget::kGate, f)) * apply(LoraTarget::kUp, f);
  return mixed + apply(LoraTarget::kDown, gated);
}

Tensor DraftBlock::hidden(const DraftParams& params, const DraftBatch& batch) const {
  const AdapterConfig& config = params.config;
  const int64_t n = batch.sequences * batch.anchors, rows = batch.rows;
  const auto longs = torch::TensorOptions(torch::kLong).device(base_.device);
  const Tensor positions = (batch.positions.view({n, 1}) + torch::arange(rows, longs)).view({n * rows});
  const Tensor hidden = hidden_keys(batch.positions, rows, batch.context_length);
  Tensor x = inputs(params, batch);
  for (int i = 0; i < config.layers.count(); ++i) {
    if (i == config.layers.first && params.bridge_down.defined()) {
      x = x + low_rank(rms_norm(x, {}, base_.config.norm_eps), params.bridge_down, params.bridge_up);
    }
    x = layer(params, batch, i, x, positions, hidden);
  }
  return rms_norm(x, base_.output_norm, base_.config.norm_eps).view({n, rows, base_.config.d_model});
}

Tensor DraftBlock::markov_state(const DraftParams& params, const Tensor& tokens) const {
  return torch::linear(rms_norm(embed(base_, tokens), {}, base_.config.norm_eps), params.markov_p);
}

Tensor DraftBlock::logits(const DraftParams& params, const Tensor& hidden, const Tensor& previous) const {
  const Tensor plain = head_.logits(hidden);
  if (!params.markov_p.defined()) return plain;
  return plain + torch::linear(markov_state(params, previous), params.markov_w2);
}

Tensor DraftBlock::confidence(const DraftParams& params, const Tensor& hidden, const Tensor& previous) const {
  Tensor features = hidden;
  if (params.markov_p.defined()) features = torch::cat({hidden, markov_state(params, previous)}, -1);
  return torch::matmul(features, params.confidence_w) + params.confidence_b;
}

Tensor DraftBlock::draft(const DraftParams& params, const Tensor& hidden, const Tensor& tokens) const {
  const torch::NoGradGuard no_grad;
  const Tensor plain = head_.logits(hidden);
  Tensor previous = tokens;
  std::vector<Tensor> chain;
  for (int64_t j = 0; j < hidden.size(1); ++j) {
    Tensor row = plain.select(1, j);
    if (params.markov_p.defined()) {
      row = row + torch::linear(markov_state(params, previous), params.markov_w2);
    }
    previous = head_.best(row);
    chain.push_back(previous);
  }
  return torch::stack(chain, 1);
}

}  // namespace s3d::train
