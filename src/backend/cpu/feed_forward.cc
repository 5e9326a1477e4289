#include "backend/cpu/feed_forward.h"

#include <algorithm>

#include "base/index.h"

namespace s3d {

FeedForward::FeedForward(CpuPass& pass, size_t max_rows)
    : pass_(pass), d_ff_(usize(pass.config.d_ff)), gate_(max_rows * d_ff_), up_(gate_.size()) {
  for (const LayerWeights& w : pass_.model.layers) {
    formats_.push_back({.input = {&w.w_gate, &w.w_up}, .down = {&w.w_down}});
    input_formats_.add(formats_.back().input);
    down_formats_.add(formats_.back().down);
  }
}

SublayerInput FeedForward::input(int layer) const {
  return {&weights(layer).ffn_norm, formats_[usize(layer)].input};
}

void FeedForward::prepare() {
  gated_.prepare(pass_.n, d_ff_, pass_.threads, [&](StoredRows& copy) {
    copy.resize(down_formats_ | pass_.low_rank.formats(), pass_.n, d_ff_, pass_.kernels.tile);
  });
}

void FeedForward::run(Team& team, int layer, const PackedAdapter::Layer& lora, const SublayerEnd& end) {
  gate_and_up(team, layer, lora.gate_up);
  const StoredRows& gated = gated_.mine(team);
  pass_.low_rank_inputs(team, lora.down, gated);
  const PackedMatrix& down = weights(layer).w_down;
  const LowRankTerm more = pass_.low_rank.term(team, lora.down, 0);
  pass_.end_sublayer(team, {&down, &gated.for_matrix(down), pass_.mixed.data(), nullptr, more}, end);
}

// act(gate x) * up x, stored for the down projection.
void FeedForward::gate_and_up(Team& team, int layer, const PackedLora& lora) {
  const LayerWeights& w = weights(layer);
  const StoredRows& in = pass_.stream.mine(team).normed;
  const FloatKernels& floats = pass_.floats;
  const auto act_mul = pass_.config.activation == Activation::kSilu ? floats.silu_mul : floats.gelu_tanh_mul;
  pass_.low_rank_inputs(team, lora, in);
  const LowRankTerm more_gate = pass_.low_rank.term(team, lora, 0), more_up = pass_.low_rank.term(team, lora, 1);
  const Product gate[] = {{&w.w_gate, &in.for_matrix(w.w_gate), gate_.data(), nullptr, more_gate}};
  const Product up[] = {{&w.w_up, &in.for_matrix(w.w_up), up_.data(), nullptr, more_up}};
  const size_t units = w.w_gate.units();
  const auto body = [&](size_t begin, size_t last) {
    pass_.multiply(gate, begin, last);
    pass_.multiply(up, begin, last);
    const size_t first = begin * 16, count = std::min(last * 16, d_ff_) - first;
    for (size_t r = 0; r < pass_.n; ++r) {
      float* g = &gate_[r * d_ff_ + first];
      act_mul(g, &up_[r * d_ff_ + first], count, g);
    }
  };
  team.for_chunks(units, pass_.grain(units, w.w_gate.unit_bytes() + w.w_up.unit_bytes()), body);
  const FormatSet formats = formats_[usize(layer)].down | pass_.low_rank.formats();
  gated_.each_row(team, [&](StoredRows& to, size_t r) { to.store(pass_.kernels, &gate_[r * d_ff_], formats, r); });
}

size_t FeedForward::scratch_bytes() const {
  return (gate_.capacity() + up_.capacity()) * sizeof(float) +
         gated_.sum([](const StoredRows& copy) { return copy.bytes(); });
}

}  // namespace s3d
