#include "backend/cpu/self_attention.h"

#include "base/index.h"

namespace s3d {
namespace {

const float* or_null(const std::vector<float>& v) {
  return v.empty() ? nullptr : v.data();
}

}  // namespace

SelfAttention::SelfAttention(CpuPass& pass, size_t max_rows)
    : pass_(pass),
      config_(pass.config),
      attention_(config_, pass.floats, static_cast<int>(pass.threads)),
      rope_{RopeTable(config_.rope), RopeTable(config_.rope_local)},
      q_(max_rows * usize(config_.q_dim())),
      attended_(q_.size()),
      k_(max_rows * usize(config_.kv_dim())),
      v_(k_.size()) {
  for (const LayerWeights& w : pass_.model.layers) {
    formats_.push_back({.input = {&w.wq, &w.wk, &w.wv}, .output = {&w.wo}});
    input_formats_.add(formats_.back().input);
    output_formats_.add(formats_.back().output);
  }
}

SublayerInput SelfAttention::input(int layer) const {
  return {&weights(layer).attn_norm, formats_[usize(layer)].input};
}

void SelfAttention::prepare(const BlockPlacement& placement, const KvCache& kv) {
  placement_ = &placement;
  layout_ = &kv.layout();
  positions_.clear();
  rope_sets_.clear();
  for (const Row& row : pass_.rows) {
    positions_.push_back(row.position);
    rope_sets_.push_back(kv.rope_set(row.seq));
  }
  rope_[0].fill(positions_, rope_sets_);
  if (!config_.local_layer.empty()) rope_[1].fill(positions_, rope_sets_);
  attention_.prepare(placement, *layout_);
  const size_t q_dim = usize(config_.q_dim());
  attended_in_.prepare(pass_.n, q_dim, pass_.threads, [&](StoredRows& copy) {
    copy.resize(output_formats_ | pass_.low_rank.formats(), pass_.n, q_dim, pass_.kernels.tile);
  });
}

void SelfAttention::run(int thread, Team& team, int layer, const PackedAdapter::Layer& lora, const SublayerEnd& end) {
  project(team, layer, lora.qkv);
  attend(thread, team, layer);
  const StoredRows& attended = attended_in_.mine(team);
  pass_.low_rank_inputs(team, lora.output, attended);
  const PackedMatrix& wo = weights(layer).wo;
  const LowRankTerm more = pass_.low_rank.term(team, lora.output, 0);
  pass_.end_sublayer(team, {&wo, &attended.for_matrix(wo), pass_.mixed.data(), nullptr, more}, end);
}

// In place; nothing where the family has no such norm.
void SelfAttention::norm(const std::vector<float>& weight, float* vector) const {
  if (!weight.empty()) pass_.floats.rms_norm(vector, weight.data(), config_.norm_eps, weight.size(), vector);
}

// Queries, keys and values.
void SelfAttention::project(Team& team, int layer, const PackedLora& lora) {
  const LayerWeights& w = weights(layer);
  const StoredRows& in = pass_.stream.mine(team).normed;
  LowRankRows& low = pass_.low_rank;
  pass_.low_rank_inputs(team, lora, in);
  const Product products[] = {{&w.wq, &in.for_matrix(w.wq), q_.data(), or_null(w.bq), low.term(team, lora, 0)},
                              {&w.wk, &in.for_matrix(w.wk), k_.data(), or_null(w.bk), low.term(team, lora, 1)},
                              {&w.wv, &in.for_matrix(w.wv), v_.data(), or_null(w.bv), low.term(team, lora, 2)}};
  const size_t units = w.wq.units() + w.wk.units() + w.wv.units();
  const size_t grain = pass_.grain(units, w.wq.unit_bytes());
  const auto body = [&](size_t begin, size_t last) { pass_.multiply(products, begin, last); };
  team.for_chunks(units, grain, body);
  if (!config_.wide_qk_norm) return;
  team.for_chunks(pass_.n, 1, [&](size_t r, size_t last) {
    for (; r < last; ++r) {
      norm(w.q_norm, &q_[r * usize(config_.q_dim())]);
      norm(w.k_norm, &k_[r * usize(config_.kv_dim())]);
    }
  });
}

// Keys and values into the cache; what each row sees there, stored for the output projection.
void SelfAttention::attend(int thread, Team& team, int layer) {
  const size_t heads = usize(config_.n_kv_heads);
  if (attention_.by_head()) {
    team.for_chunks(heads, 1, [&](size_t h, size_t last) {
      for (; h < last; ++h) {
        for (size_t r = 0; r < pass_.n; ++r) place_head(layer, r, static_cast<int>(h));
        attention_.run_head(thread, layer, static_cast<int>(h), q_.data(), attended_.data());
      }
    });
  } else {  // a head's rows after one another: their keys lie in the same lines
    const size_t places = pass_.n * heads;
    team.for_chunks(places, pass_.grain(places, 1), [&](size_t i, size_t last) {
      for (; i < last; ++i) place_head(layer, i % pass_.n, static_cast<int>(i / pass_.n));
    });
    attention_.run(team, thread, layer, q_.data(), attended_.data());
  }
  const FormatSet formats = formats_[usize(layer)].output | pass_.low_rank.formats();
  attended_in_.each_row(team, [&](StoredRows& to, size_t r) {
    to.store(pass_.kernels, &attended_[r * usize(config_.q_dim())], formats, r);
  });
}

// Norms and rotates one key-value head of a row and the query heads that share it; writes the key and the value.
void SelfAttention::place_head(int layer, size_t r, int kv_head) {
  const LayerWeights& w = weights(layer);
  const FloatKernels& floats = pass_.floats;
  const RopeTable& table = rope_[config_.is_local(layer)];
  const auto rotate = config_.rope_style == RopeStyle::kInterleaved ? floats.rope_interleaved : floats.rope_split;
  const size_t head_dim = usize(config_.head_dim), head = usize(kv_head);
  const auto finish = [&](float* vector, const std::vector<float>& weight) {
    if (!config_.wide_qk_norm) norm(weight, vector);
    rotate(table.cos(r), table.sin(r), table.pairs(), vector);
  };
  const size_t group = usize(config_.n_heads / config_.n_kv_heads);
  float* queries = &q_[r * usize(config_.q_dim()) + head * group * head_dim];
  for (size_t h = 0; h < group; ++h) finish(queries + h * head_dim, w.q_norm);
  const size_t kv_at = r * usize(config_.kv_dim()) + head * head_dim;
  finish(&k_[kv_at], w.k_norm);

  const PlacedRow& row = placement_->rows[r];
  std::byte* page = placement_->sequences[usize(row.sequence)].pages[usize(row.slot / KvLayout::kPageTokens)];
  const int slot = row.slot % KvLayout::kPageTokens;
  floats.write_key(*layout_, &k_[kv_at], slot, page + layout_->key_head_offset(layer, kv_head));
  floats.write_value(*layout_, &v_[kv_at], slot, page + layout_->value_head_offset(layer, kv_head));
}

size_t SelfAttention::scratch_bytes() const {
  const size_t count = q_.capacity() + attended_.capacity() + k_.capacity() + v_.capacity();
  return count * sizeof(float) + attended_in_.sum([](const StoredRows& copy) { return copy.bytes(); }) +
         attention_.scratch_bytes() + rope_[0].bytes() + rope_[1].bytes();
}

}  // namespace s3d
