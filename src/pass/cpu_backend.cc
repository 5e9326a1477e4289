#include "pass/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "pass/cpu_backend_impl.h"

namespace s3d {
namespace {

// Weights that the last chunks of a thread's share of a matmul read (the first ones are larger): long enough that going
// from one matrix to another (gate and up take turns) costs little, short enough that a last chunk does not keep
// others. On Zen 4, 32 to 256 KiB are equal.
constexpr size_t kChunkBytes = 128 * 1024;
constexpr size_t kChunksPerThread = 8;  // at least, where the matrix has as many units

const float* or_null(const std::vector<float>& v) {
  return v.empty() ? nullptr : v.data();
}

// Units of the head whose logits are put into the vocabulary's order at once, while they are in the L1 cache.
constexpr size_t kHeadPiece = 8;

}  // namespace

CpuBackend::Impl::Impl(std::shared_ptr<const Model> m, int threads, const Kernels& k, int most)
    : model(std::move(m)),
      config(model->config),
      kernels(k),
      floats(*k.floats),
      max_rows(static_cast<size_t>(most)),
      pool(threads),
      attention(config, floats, threads),
      rope{RopeTable(config.rope), RopeTable(config.rope_local)},
      x(max_rows * static_cast<size_t>(config.d_model)),
      mixed(x.size()),
      q(max_rows * static_cast<size_t>(config.q_dim())),
      attended(q.size()),
      k(max_rows * static_cast<size_t>(config.kv_dim())),
      v(this->k.size()),
      gate(max_rows * static_cast<size_t>(config.d_ff)),
      up(gate.size()),
      ones(static_cast<size_t>(config.d_model), 1.0F) {
  for (const LayerWeights& w : model->layers) {
    formats.push_back({.attention = {&w.wq, &w.wk, &w.wv},
                       .output = {&w.wo},
                       .feed_forward = {&w.w_gate, &w.w_up},
                       .down = {&w.w_down}});
    normed_formats.add(formats.back().attention);
    normed_formats.add(formats.back().feed_forward);
    attended_formats.add(formats.back().output);
    gated_formats.add(formats.back().down);
  }
}

// ---- Before a pass: one thread -------------------------------------------------------------------------------------

void CpuBackend::Impl::prepare(const Block& block, KvCache& kv) {
  rows = block.rows;
  n = rows.size();
  layout = &kv.layout();
  positions.clear();
  for (const Row& row : rows) positions.push_back(row.position);
  rope[0].fill(positions);
  if (!config.local_layer.empty()) rope[1].fill(positions);
  attention.prepare(plan, *layout);
  prepare_adapter(block);
  normed.resize(normed_formats | lora_formats, n, static_cast<size_t>(config.d_model), kernels.tile);
  attended_in.resize(attended_formats | lora_formats, n, static_cast<size_t>(config.q_dim()), kernels.tile);
  gated.resize(gated_formats | lora_formats, n, static_cast<size_t>(config.d_ff), kernels.tile);
  const size_t wanted = plan.wanted.size();
  if (wanted == 0) return;
  head_in.resize({&model->head}, wanted, static_cast<size_t>(config.d_model), kernels.tile);
  if (logits.capacity() < wanted * head_stride()) Floats().swap(logits);  // growing would hold both for a moment
  logits.resize(wanted * head_stride());
  if (adapter == nullptr && !model->head_ids.empty()) {
    scattered.resize(static_cast<size_t>(pool.size()) * wanted * kHeadPiece * 16);
  }
  if (block.want_hidden) hidden.resize(wanted * static_cast<size_t>(config.d_model));
}

Result<PassOutput> CpuBackend::Impl::run(const Block& block, KvCache& kv) {
  const KvLayout& cache = kv.layout();
  S3D_CHECK(
      cache.n_layers == config.n_layers && cache.n_kv_heads == config.n_kv_heads && cache.head_dim == config.head_dim,
      "the KV cache was made for another model");
  S3D_TRY(plan_block(block, config, static_cast<int>(max_rows), kv, plan));
  prepare(block, kv);
  pool.run([&](int thread, Team& team) { walk(thread, team, block); });
  if (block.kv == KvUse::kScratch) drop_pending(plan, kv);
  const size_t wanted = plan.wanted.size(), row = head_rows(), stride = head_stride();
  for (size_t i = 1; i < wanted && stride != row; ++i) {  // close the gaps of padded rows
    std::copy_n(&logits[i * stride], row, &logits[i * row]);
  }
  PassOutput out;
  out.logits = {logits.data(), wanted * row};
  if (block.want_hidden) out.hidden = {hidden.data(), wanted * static_cast<size_t>(config.d_model)};
  return out;
}

// ---- The pass: every thread ----------------------------------------------------------------------------------------

void CpuBackend::Impl::walk(int thread, Team& team, const Block& block) {
  const std::vector<int>& layers = plan.layers;
  static const PackedAdapter::Layer no_lora;
  const bool bridged = adapter != nullptr && !adapter->bridge_down().empty();
  const auto after_bridge = [&](size_t i) { return bridged && i == static_cast<size_t>(block.layers.head); };
  // The layer whose inputs the step before it makes, or -1.
  const auto begun = [&](size_t i) { return i < layers.size() && !after_bridge(i) ? layers[i] : -1; };
  each_row(team, [&](size_t r) {
    begin_row(r);
    if (begun(0) >= 0) begin_layer(begun(0), r);
  });
  for (size_t i = 0; i < layers.size(); ++i) {
    const PackedAdapter::Layer& lora = adapter != nullptr ? adapter->layers()[i] : no_lora;
    if (after_bridge(i)) {
      bridge(team);
      each_row(team, [&](size_t r) { begin_layer(layers[i], r); });
    }
    self_attention(thread, team, layers[i], lora);
    feed_forward(team, layers[i], begun(i + 1), lora);
  }
  if (!plan.wanted.empty()) output(thread, team, block.want_hidden);
}

void CpuBackend::Impl::self_attention(int thread, Team& team, int layer, const PackedAdapter::Layer& lora) {
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  low_rank_inputs(team, lora.qkv, normed);
  const Product products[] = {{&w.wq, &normed.for_matrix(w.wq), q.data(), or_null(w.bq), low_rank_term(lora.qkv, 0)},
                              {&w.wk, &normed.for_matrix(w.wk), k.data(), or_null(w.bk), low_rank_term(lora.qkv, 1)},
                              {&w.wv, &normed.for_matrix(w.wv), v.data(), or_null(w.bv), low_rank_term(lora.qkv, 2)}};
  const size_t units = w.wq.units() + w.wk.units() + w.wv.units();
  team.for_chunks(units, grain(units, w.wq.unit_bytes()),
                  [&](size_t begin, size_t end) { multiply(products, begin, end); });

  const auto store = [&](size_t r) {
    attended_in.store(kernels, &attended[r * static_cast<size_t>(config.q_dim())],
                      formats[static_cast<size_t>(layer)].output | lora_formats, r);
  };
  const size_t heads = static_cast<size_t>(config.n_kv_heads);
  if (attention.by_head()) {
    const auto head = [&](size_t h, size_t end) {
      for (; h < end; ++h) {
        for (size_t r = 0; r < n; ++r) place_head(layer, r, static_cast<int>(h));
        attention.run_head(thread, layer, static_cast<int>(h), q.data(), attended.data());
      }
    };
    chunks_then_rows(team, heads, 1, head, store);
  } else {
    const size_t places = n * heads;
    team.for_chunks(places, grain(places, 1), [&](size_t i, size_t end) {
      for (; i < end; ++i) place_head(layer, i / heads, static_cast<int>(i % heads));
    });
    attention.run(team, thread, layer, q.data(), attended.data());
    each_row(team, store);
  }
  low_rank_inputs(team, lora.output, attended_in);
  const Product product = {&w.wo, &attended_in.for_matrix(w.wo), mixed.data(), nullptr, low_rank_term(lora.output, 0)};
  matmul_into_residual(team, product, w.attn_post_norm.empty(), [&](size_t r) { begin_feed_forward(layer, r); });
}

void CpuBackend::Impl::feed_forward(Team& team, int layer, int next_layer, const PackedAdapter::Layer& lora) {
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  const size_t d_ff = static_cast<size_t>(config.d_ff);
  const auto act_mul = config.activation == Activation::kSilu ? floats.silu_mul : floats.gelu_tanh_mul;
  low_rank_inputs(team, lora.gate_up, normed);
  const Product gate_product[] = {
      {&w.w_gate, &normed.for_matrix(w.w_gate), gate.data(), nullptr, low_rank_term(lora.gate_up, 0)}};
  const Product up_product[] = {
      {&w.w_up, &normed.for_matrix(w.w_up), up.data(), nullptr, low_rank_term(lora.gate_up, 1)}};
  const size_t units = w.w_gate.units();
  const auto body = [&](size_t begin, size_t end) {
    multiply(gate_product, begin, end);
    multiply(up_product, begin, end);
    const size_t first = begin * 16, count = std::min(end * 16, d_ff) - first;
    for (size_t r = 0; r < n; ++r) {
      float* g = &gate[r * d_ff + first];
      act_mul(g, &up[r * d_ff + first], count, g);
    }
  };
  chunks_then_rows(team, units, grain(units, w.w_gate.unit_bytes() + w.w_up.unit_bytes()), body, [&](size_t r) {
    gated.store(kernels, &gate[r * d_ff], formats[static_cast<size_t>(layer)].down | lora_formats, r);
  });
  low_rank_inputs(team, lora.down, gated);
  const Product product = {&w.w_down, &gated.for_matrix(w.w_down), mixed.data(), nullptr, low_rank_term(lora.down, 0)};
  matmul_into_residual(team, product, w.ffn_post_norm.empty(), [&](size_t r) { end_layer(layer, next_layer, r); });
}

void CpuBackend::Impl::output(int thread, Team& team, bool want_hidden) {
  const size_t d = static_cast<size_t>(config.d_model);
  const size_t wanted = plan.wanted.size();
  team.for_chunks(wanted, 1, [&](size_t i, size_t end) {
    for (; i < end; ++i) {
      const float* row = &x[static_cast<size_t>(plan.wanted[i]) * d];
      floats.rms_norm(row, model->output_norm.data(), config.norm_eps, d, &mixed[i * d]);
      if (want_hidden) std::copy_n(adapter != nullptr ? &mixed[i * d] : row, d, &hidden[i * d]);
      head_in.store(kernels, &mixed[i * d], {&model->head}, i);
    }
  });
  const size_t units = (head_rows() + 15) / 16;
  team.for_chunks(units, grain(units, model->head.unit_bytes()),
                  [&](size_t begin, size_t end) { head_product(thread, begin, end); });
}

// Logits of units [begin, end) of the head. The rows of a head that was packed in another order than the vocabulary's
// are put into their places piece by piece.
void CpuBackend::Impl::head_product(int thread, size_t begin, size_t end) {
  const size_t wanted = plan.wanted.size(), stride = head_stride();
  const Activations& in = head_in.for_matrix(model->head);
  if (adapter != nullptr || model->head_ids.empty()) {
    kernels.matmul(model->head, begin, end, in, logits.data(), stride);
    // A draft's order is not changed by a cap.
    if (config.logit_softcap == 0 || adapter != nullptr) return;
    const size_t first = begin * 16, count = std::min(end * 16, stride) - first;
    for (size_t i = 0; i < wanted; ++i) floats.softcap(config.logit_softcap, count, &logits[i * stride + first]);
    return;
  }
  constexpr size_t kWidth = kHeadPiece * 16;
  float* piece = &scattered[static_cast<size_t>(thread) * wanted * kWidth];
  for (size_t unit = begin; unit < end; unit += kHeadPiece) {
    const size_t first = unit * 16, last = std::min(std::min(end, unit + kHeadPiece) * 16, model->head.rows());
    // The kernel counts outputs from the matrix's first row.
    kernels.matmul(model->head, unit, std::min(end, unit + kHeadPiece), in, piece - first, kWidth);
    for (size_t i = 0; i < wanted; ++i) {
      float* row = piece + i * kWidth;
      if (config.logit_softcap != 0) floats.softcap(config.logit_softcap, last - first, row);
      for (size_t r = first; r < last; ++r) {
        logits[i * stride + static_cast<size_t>(model->head_ids[r])] = row[r - first];
      }
    }
  }
}

size_t CpuBackend::Impl::head_rows() const {
  return adapter != nullptr ? adapter->draft_size() : static_cast<size_t>(config.vocab_size);
}

// The last unit of a draft head may hold rows beyond it.
size_t CpuBackend::Impl::head_stride() const {
  return adapter != nullptr ? (head_rows() + 15) / 16 * 16 : head_rows();
}

// ---- Parts ---------------------------------------------------------------------------------------------------------

// Units of a chunk.
size_t CpuBackend::Impl::grain(size_t units, size_t unit_bytes) const {
  const size_t by_share = units / (kChunksPerThread * static_cast<size_t>(pool.size()));
  return std::max<size_t>(1, std::min(by_share, kChunkBytes / unit_bytes));
}

// Units [begin, end) of the products, counted through all of them.
void CpuBackend::Impl::multiply(std::span<const Product> products, size_t begin, size_t end) const {
  size_t base = 0;  // first unit of the product, counted through
  for (const Product& p : products) {
    const size_t units = p.w->units(), ld = p.w->rows();
    const size_t first = std::clamp(begin, base, base + units) - base;
    const size_t last = std::clamp(end, base, base + units) - base;
    base += units;
    if (first == last) continue;
    kernels.matmul(*p.w, first, last, *p.x, p.y, ld);
    const size_t row = first * 16, count = std::min(last * 16, ld) - row;
    if (p.lora.b != nullptr) {
      kernels.matmul(*p.lora.b, first, last, *p.lora.low, p.lora.sum, ld);
      for (size_t r = 0; r < n; ++r) floats.add(p.lora.sum + r * ld + row, count, p.y + r * ld + row);
    }
    if (p.bias == nullptr) continue;
    for (size_t r = 0; r < n; ++r) floats.add(p.bias + row, count, p.y + r * ld + row);
  }
}

void CpuBackend::Impl::add_to_residual(size_t first, size_t last) {
  const size_t d = static_cast<size_t>(config.d_model);
  for (size_t r = 0; r < n; ++r) floats.add(&mixed[r * d + first], last - first, &x[r * d + first]);
}

// The product, whose output is `mixed`, added to the residual stream if `add` (else row_step does so), then `row_step`
// for each row.
void CpuBackend::Impl::matmul_into_residual(Team& team, const Product& product, bool add, auto row_step) {
  const size_t d = static_cast<size_t>(config.d_model);
  const auto body = [&](size_t begin, size_t end) {
    multiply({&product, 1}, begin, end);
    if (add) add_to_residual(begin * 16, std::min(end * 16, d));
  };
  chunks_then_rows(team, product.w->units(), grain(product.w->units(), product.w->unit_bytes()), body, row_step);
}

// The row's input: an embedding or a mask, and the state.
void CpuBackend::Impl::begin_row(size_t r) {
  const size_t d = static_cast<size_t>(config.d_model);
  float* row = &x[r * d];
  if (rows[r].token >= 0) {
    model->embed(rows[r].token, row);
    // The table would become resident row by row: a row may map 2 MiB of the file around it (large folios, Linux 6.18).
    constexpr unsigned kRowsBetweenReleases = 2;
    if (embedded.fetch_add(1, std::memory_order_relaxed) % kRowsBetweenReleases == 0) {
      model->file->release_pages(*model->token_embedding);
    }
  } else {
    std::copy_n(adapter->mask(-1 - rows[r].token), d, row);
  }
  if (injected[r] != nullptr) floats.add(injected[r], d, row);
}

void CpuBackend::Impl::begin_layer(int layer, size_t r) {
  const size_t d = static_cast<size_t>(config.d_model);
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  floats.rms_norm(&x[r * d], w.attn_norm.data(), config.norm_eps, d, &mixed[r * d]);
  normed.store(kernels, &mixed[r * d], formats[static_cast<size_t>(layer)].attention | lora_formats, r);
}

void CpuBackend::Impl::begin_feed_forward(int layer, size_t r) {
  const size_t d = static_cast<size_t>(config.d_model);
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  if (!w.attn_post_norm.empty()) {
    floats.rms_norm(&mixed[r * d], w.attn_post_norm.data(), config.norm_eps, d, &mixed[r * d]);
    floats.add(&mixed[r * d], d, &x[r * d]);
  }
  floats.rms_norm(&x[r * d], w.ffn_norm.data(), config.norm_eps, d, &mixed[r * d]);
  normed.store(kernels, &mixed[r * d], formats[static_cast<size_t>(layer)].feed_forward | lora_formats, r);
}

void CpuBackend::Impl::end_layer(int layer, int next_layer, size_t r) {
  const size_t d = static_cast<size_t>(config.d_model);
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  if (!w.ffn_post_norm.empty()) {
    floats.rms_norm(&mixed[r * d], w.ffn_post_norm.data(), config.norm_eps, d, &mixed[r * d]);
    floats.add(&mixed[r * d], d, &x[r * d]);
  }
  if (next_layer >= 0) begin_layer(next_layer, r);
}

// Norms and rotates one key-value head of a row and the query heads that share it; writes the key and the value.
void CpuBackend::Impl::place_head(int layer, size_t r, int kv_head) {
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  const RopeTable& table = rope[config.is_local(layer)];
  const auto rotate = config.rope_style == RopeStyle::kInterleaved ? floats.rope_interleaved : floats.rope_split;
  const size_t head_dim = static_cast<size_t>(config.head_dim), head = static_cast<size_t>(kv_head);
  const auto finish = [&](float* vector, const Floats& norm) {
    if (!norm.empty()) floats.rms_norm(vector, norm.data(), config.norm_eps, head_dim, vector);
    rotate(table.cos(r), table.sin(r), table.pairs(), vector);
  };
  const size_t group = static_cast<size_t>(config.n_heads / config.n_kv_heads);
  float* queries = &q[r * static_cast<size_t>(config.q_dim()) + head * group * head_dim];
  for (size_t h = 0; h < group; ++h) finish(queries + h * head_dim, w.q_norm);
  const size_t kv_at = r * static_cast<size_t>(config.kv_dim()) + head * head_dim;
  finish(&k[kv_at], w.k_norm);

  const PlannedRow& row = plan.rows[r];
  std::byte* page =
      plan.sequences[static_cast<size_t>(row.sequence)].pages[static_cast<size_t>(row.slot / KvLayout::kPageTokens)];
  const int slot = row.slot % KvLayout::kPageTokens;
  floats.write_key(*layout, &k[kv_at], slot, page + layout->key_head_offset(layer, kv_head));
  floats.write_value(*layout, &v[kv_at], slot, page + layout->value_head_offset(layer, kv_head));
}

size_t CpuBackend::Impl::scratch_bytes() const {
  size_t count = 0;
  for (const Floats* buffer : {&x, &mixed, &q, &attended, &k, &v, &gate, &up, &logits, &hidden, &low, &lora_sums,
                               &states, &scattered, &ones}) {
    count += buffer->capacity();
  }
  for (const StoredRows& rows_of_pair : low_in) count += rows_of_pair.bytes() / sizeof(float);
  return count * sizeof(float) + bridge_in.bytes() + small_in.bytes() + normed.bytes() + attended_in.bytes() +
         gated.bytes() + head_in.bytes() + attention.scratch_bytes() + rope[0].bytes() + rope[1].bytes();
}

// ---- CpuBackend ----------------------------------------------------------------------------------------------------

Result<std::unique_ptr<CpuBackend>> CpuBackend::create(std::shared_ptr<const Model> model, int threads,
                                                       const Kernels* kernels, int max_rows) {
  S3D_CHECK(model != nullptr && kernels != nullptr);
  if (threads < 1 || max_rows < 1) {
    return Error{
        fmt::format("CPU backend: {} threads and passes of {} rows; expected 1 or more of each", threads, max_rows)};
  }
  return std::unique_ptr<CpuBackend>(
      new CpuBackend(std::make_unique<Impl>(std::move(model), threads, *kernels, max_rows)));
}

CpuBackend::CpuBackend(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CpuBackend::~CpuBackend() = default;

Result<PassOutput> CpuBackend::run(const Block& block, KvCache& kv) {
  return impl_->run(block, kv);
}
void CpuBackend::add_markov(const PackedAdapter& adapter, std::span<const int32_t> previous, std::span<float> logits,
                            std::span<float> z) {
  impl_->add_markov(adapter, previous, logits, z);
}

const ModelConfig& CpuBackend::config() const {
  return impl_->config;
}
int CpuBackend::max_rows() const {
  return static_cast<int>(impl_->max_rows);
}
std::string_view CpuBackend::isa() const {
  return impl_->kernels.name;
}
size_t CpuBackend::weight_bytes() const {
  return impl_->model->packed_bytes();
}
size_t CpuBackend::scratch_bytes() const {
  return impl_->scratch_bytes();
}

}  // namespace s3d
