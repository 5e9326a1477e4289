#include "train/draft_block.h"

#include <cmath>

#include "base/check.h"

namespace s3d::train {
namespace {

// Attention of the rows of a draft pass: over the committed context of their sequence before their anchor, and causally
// within their own anchor's block.
class BlockAttention {
 public:
  // `hidden_context`: [S, A, C], true where a context position is not before the anchor.
  BlockAttention(const ModelConfig& config, int64_t sequences, int64_t anchors, int64_t rows,
                 const Tensor& hidden_context)
      : config_(config),
        s_(sequences),
        a_(anchors),
        r_(rows),
        g_(config.n_kv_heads),
        p_(config.n_heads / config.n_kv_heads),
        hidden_context_(hidden_context.view({s_, 1, 1, a_, 1, hidden_context.size(2)})) {}

  // q: [S * A * R, heads, head_dim]; own: keys and values of the block, [S * A * R, kv_heads, head_dim];
  // context: [S, C, kv_heads, head_dim]. Returns [S * A * R, q_dim].
  Tensor run(const Tensor& q, const LayerKv& own, const LayerKv& context) const {
    const int64_t e = config_.head_dim, n = s_ * a_, c = hidden_context_.size(5);
    // Against the context, all queries of a sequence that share a key-value head are one matrix: [S, g, p A R, e].
    const Tensor heads = q.view({s_, a_, r_, g_, p_, e});
    const Tensor by_sequence = heads.permute({0, 3, 4, 1, 2, 5}).reshape({s_, g_, p_ * a_ * r_, e});
    Tensor far = torch::matmul(by_sequence, context.keys.permute({0, 2, 3, 1})).view({s_, g_, p_, a_, r_, c});
    far = (far * config_.attention_scale).masked_fill(hidden_context_, -INFINITY);
    // Against its own block, each anchor is a small matrix: [S A, g, p R, e].
    const Tensor by_anchor = heads.reshape({n, r_, g_, p_, e}).permute({0, 2, 3, 1, 4}).reshape({n, g_, p_ * r_, e});
    const Tensor near_keys = own.keys.view({n, r_, g_, e}).permute({0, 2, 3, 1});
    Tensor near = torch::matmul(by_anchor, near_keys).view({s_, a_, g_, p_, r_, r_}) * config_.attention_scale;
    near = near.masked_fill(later_rows(q), -INFINITY).permute({0, 2, 3, 1, 4, 5});

    const Tensor weights = torch::cat({far, near}, -1).softmax(-1);
    const Tensor far_weights = weights.slice(-1, 0, c).reshape({s_, g_, p_ * a_ * r_, c});
    const Tensor far_out = torch::matmul(far_weights, context.values.permute({0, 2, 1, 3}));
    const Tensor near_weights = weights.slice(-1, c).permute({0, 3, 1, 2, 4, 5}).reshape({n, g_, p_ * r_, r_});
    const Tensor near_out = torch::matmul(near_weights, own.values.view({n, r_, g_, e}).permute({0, 2, 1, 3}));
    const Tensor out = far_out.view({s_, g_, p_, a_, r_, e}).permute({0, 3, 4, 1, 2, 5}) +
                       near_out.view({s_, a_, g_, p_, r_, e}).permute({0, 1, 4, 2, 3, 5});
    return out.reshape({n * r_, config_.q_dim()});
  }

 private:
  Tensor later_rows(const Tensor& like) const {
    return torch::ones({r_, r_}, torch::TensorOptions(torch::kBool).device(like.device())).triu(1);
  }

  const ModelConfig& config_;
  int64_t s_, a_, r_, g_, p_;  // sequences, anchors, rows, key-value heads, query heads of each
  Tensor hidden_context_;
};

Tensor low_rank(const Tensor& x, const Tensor& down, const Tensor& up) {
  return torch::linear(torch::linear(x, down), up);
}

}  // namespace

DraftBlock::DraftBlock(const BaseModel& base, const std::vector<int32_t>& draft_ids) : base_(base), head_(base.head) {
  const int64_t vocab = base.config.vocab_size;
  if (draft_ids.empty()) {
    draft_index_ = torch::arange(vocab, torch::TensorOptions(torch::kLong).device(base.device));
    return;
  }
  draft_ids_ = torch::tensor(std::vector<int64_t>(draft_ids.begin(), draft_ids.end())).to(base.device);
  head_ = base.head.detach().index_select(0, draft_ids_);
  draft_index_ = torch::full({vocab}, -1, torch::TensorOptions(torch::kLong).device(base.device));
  draft_index_.index_put_({draft_ids_}, torch::arange(draft_ids_.size(0), draft_index_.options()));
}

// [S * A * R, d_model]
Tensor DraftBlock::inputs(const DraftParams& params, const DraftBatch& batch) const {
  const int64_t n = batch.sequences * batch.anchors, d = base_.config.d_model, masks = params.config.masks;
  Tensor first = embed(base_, batch.tokens.view({n})).unsqueeze(1);  // [n, 1, d]
  Tensor state;                                                      // [n, 1, d]
  if (params.state_down.defined()) {
    state = low_rank(batch.state.view({n, 1, d}), params.state_down, params.state_up);
    if (params.config.state_on_first_row) first = first + state;
  }
  if (masks == 0) return first.reshape({n, d});
  Tensor rest = params.masks.unsqueeze(0).expand({n, masks, d});
  if (state.defined()) rest = rest + state;
  return torch::cat({first, rest}, 1).view({n * (masks + 1), d});
}

Tensor DraftBlock::layer(const DraftParams& params, const DraftBatch& batch, int kept_layer, const Tensor& x,
                         const Tensor& positions, const Tensor& hidden_context) const {
  const ModelConfig& config = base_.config;
  const int index = kept_layer < params.config.head
                        ? kept_layer
                        : config.n_layers - params.config.head - params.config.tail + kept_layer;
  const BaseLayer& base = base_.layers[static_cast<size_t>(index)];
  const auto& lora = params.lora[static_cast<size_t>(kept_layer)];
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
  const BlockAttention attention(config, batch.sequences, batch.anchors, params.config.masks + 1, hidden_context);
  const Tensor mixed = x + apply(LoraTarget::kOutput, attention.run(q, own, batch.context(kept_layer)));
  const Tensor f = rms_norm(mixed, base.ffn_norm, config.norm_eps);
  const Tensor gated = torch::silu(apply(LoraTarget::kGate, f)) * apply(LoraTarget::kUp, f);
  return mixed + apply(LoraTarget::kDown, gated);
}

Tensor DraftBlock::hidden(const DraftParams& params, const DraftBatch& batch) const {
  const AdapterConfig& plan = params.config;
  const int64_t n = batch.sequences * batch.anchors, rows = plan.masks + 1;
  const auto longs = torch::TensorOptions(torch::kLong).device(base_.device);
  const Tensor positions = (batch.positions.view({n, 1}) + torch::arange(rows, longs)).view({n * rows});
  const int64_t context = batch.context(0).keys.size(1);
  const Tensor hidden_context = torch::arange(context, longs).view({1, 1, context}) >= batch.positions.unsqueeze(2);
  Tensor x = inputs(params, batch);
  for (int i = 0; i < plan.head + plan.tail; ++i) {
    if (i == plan.head && params.bridge_down.defined()) {
      x = x + low_rank(rms_norm(x, {}, base_.config.norm_eps), params.bridge_down, params.bridge_up);
    }
    x = layer(params, batch, i, x, positions, hidden_context);
  }
  return rms_norm(x, base_.output_norm, base_.config.norm_eps).view({n, rows, base_.config.d_model});
}

Tensor DraftBlock::markov_state(const DraftParams& params, const Tensor& tokens) const {
  return torch::linear(rms_norm(embed(base_, tokens), {}, base_.config.norm_eps), params.markov_p);
}

Tensor DraftBlock::logits(const DraftParams& params, const Tensor& hidden, const Tensor& previous) const {
  const Tensor plain = project(hidden, head_);
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
  const Tensor plain = project(hidden, head_);
  Tensor previous = tokens;
  std::vector<Tensor> chain;
  for (int64_t j = 0; j < hidden.size(1); ++j) {
    Tensor row = plain.select(1, j);
    if (params.markov_p.defined()) {
      row = row + torch::linear(markov_state(params, previous), params.markov_w2);
    }
    const Tensor best = row.argmax(-1);
    previous = draft_ids_.defined() ? draft_ids_.index_select(0, best) : best;
    chain.push_back(previous);
  }
  return torch::stack(chain, 1);
}

}  // namespace s3d::train
