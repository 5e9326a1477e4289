#include "pass/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/check.h"
#include "pass/attention.h"
#include "pass/block_plan.h"
#include "pass/rope_table.h"
#include "pass/stored_rows.h"

namespace s3d {
namespace {

using Floats = std::vector<float>;

// Steps that go row by row (norm, storing) are done by one thread at the end of the loop before them up to so many
// rows: each takes about half a microsecond, as much as the barrier that sharing them would need.
constexpr size_t kSerialRows = 2;

// Weights that one chunk of a matmul reads: long enough that a chunk's start (its first cache lines come at the
// latency of the memory) and its claim cost little, short enough that a thread's last chunk does not keep others.
constexpr size_t kChunkBytes = 128 * 1024;
constexpr size_t kChunksPerThread = 8;  // at least, where the matrix has as many units

// One matrix times the stored rows; `bias` is null or [w->rows()].
struct Product {
  const PackedMatrix* w;
  const Activations* x;
  float* y;  // [n rows][w->rows()]
  const float* bias = nullptr;
};

// Formats in which a layer's inputs are stored.
struct LayerFormats {
  FormatSet attention, output, feed_forward, down;
};

const float* or_null(const Floats& v) {
  return v.empty() ? nullptr : v.data();
}

}  // namespace

struct CpuBackend::Impl {
  Impl(std::shared_ptr<const Model> m, int threads, const Kernels& k, int max_rows);

  Result<PassOutput> run(const Block& block, KvCache& kv);
  size_t scratch_bytes() const;

  // All below are called by every thread of the team, in step.
  void walk(int thread, Team& team, const Block& block);
  void self_attention(int thread, Team& team, int layer);
  void feed_forward(Team& team, int layer, int next_layer);
  void output(Team& team, bool want_hidden);

  // Row by row; `r` is a row of the block.
  void begin_layer(int layer, size_t r);
  void begin_feed_forward(int layer, size_t r);
  void end_layer(int layer, int next_layer, size_t r);
  void place_head(int layer, size_t r, int kv_head);

  void prepare(const Block& block, KvCache& kv);
  void multiply(std::span<const Product> products, size_t begin, size_t end) const;
  void add_to_residual(size_t first, size_t last);
  size_t grain(size_t units, size_t unit_bytes) const;
  void matmul_into_residual(Team& team, const PackedMatrix& w, const Activations& x, bool add, auto row_step);

  // A loop of chunks, then `step` for each row once the loop is complete.
  void chunks_then_rows(Team& team, size_t count, size_t grain, auto body, auto step) {
    if (n <= kSerialRows) {
      team.for_chunks(count, grain, body, [&] {
        for (size_t r = 0; r < n; ++r) step(r);
      });
    } else {
      team.for_chunks(count, grain, body);
      each_row(team, step);
    }
  }
  void each_row(Team& team, auto step) {
    team.for_chunks(n, 1, [&](size_t r, size_t end) {
      for (; r < end; ++r) step(r);
    });
  }

  std::shared_ptr<const Model> model;
  const ModelConfig& config;
  const Kernels& kernels;
  const FloatKernels& floats;
  const size_t max_rows;
  ThreadPool pool;
  std::vector<LayerFormats> formats;  // [n_layers]
  FormatSet normed_formats, attended_formats, gated_formats;
  BlockAttention attention;
  RopeTable rope[2];  // [is local]

  // Of the pass in progress.
  BlockPlan plan;
  const KvLayout* layout = nullptr;
  std::span<const Row> rows;
  size_t n = 0;  // rows
  std::vector<int> positions;

  // Buffers; each has room for max_rows rows.
  Floats x;                // [n][d_model] the residual stream
  Floats mixed;            // [n][d_model] what a sublayer adds, or its normed input
  Floats q, attended;      // [n][q_dim]
  Floats k, v;             // [n][kv_dim]
  Floats gate, up;         // [n][d_ff]
  Floats logits;           // [n wanted][vocab]
  Floats hidden;           // [n wanted][d_model]
  StoredRows normed;       // [n][d_model]
  StoredRows attended_in;  // [n][q_dim]
  StoredRows gated;        // [n][d_ff]
  StoredRows head_in;      // [n wanted][d_model]
};

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
      up(gate.size()) {
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
  normed.resize(normed_formats, n, static_cast<size_t>(config.d_model), kernels.tile);
  attended_in.resize(attended_formats, n, static_cast<size_t>(config.q_dim()), kernels.tile);
  gated.resize(gated_formats, n, static_cast<size_t>(config.d_ff), kernels.tile);
  const size_t wanted = plan.wanted.size();
  if (wanted == 0) return;
  head_in.resize({&model->head}, wanted, static_cast<size_t>(config.d_model), kernels.tile);
  logits.resize(wanted * static_cast<size_t>(config.vocab_size));
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
  const size_t wanted = plan.wanted.size();
  PassOutput out;
  out.logits = {logits.data(), wanted * static_cast<size_t>(config.vocab_size)};
  if (block.want_hidden) out.hidden = {hidden.data(), wanted * static_cast<size_t>(config.d_model)};
  return out;
}

// ---- The pass: every thread ----------------------------------------------------------------------------------------

void CpuBackend::Impl::walk(int thread, Team& team, const Block& block) {
  const std::vector<int>& layers = plan.layers;
  each_row(team, [&](size_t r) {
    model->embed(rows[r].token, &x[r * static_cast<size_t>(config.d_model)]);
    if (!layers.empty()) begin_layer(layers.front(), r);
  });
  for (size_t i = 0; i < layers.size(); ++i) {
    self_attention(thread, team, layers[i]);
    feed_forward(team, layers[i], i + 1 < layers.size() ? layers[i + 1] : -1);
  }
  if (!plan.wanted.empty()) output(team, block.want_hidden);
}

void CpuBackend::Impl::self_attention(int thread, Team& team, int layer) {
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  const Product products[] = {{&w.wq, &normed.for_matrix(w.wq), q.data(), or_null(w.bq)},
                              {&w.wk, &normed.for_matrix(w.wk), k.data(), or_null(w.bk)},
                              {&w.wv, &normed.for_matrix(w.wv), v.data(), or_null(w.bv)}};
  const size_t units = w.wq.units() + w.wk.units() + w.wv.units();
  team.for_chunks(units, grain(units, w.wq.unit_bytes()),
                  [&](size_t begin, size_t end) { multiply(products, begin, end); });

  const auto store = [&](size_t r) {
    attended_in.store(kernels, &attended[r * static_cast<size_t>(config.q_dim())],
                      formats[static_cast<size_t>(layer)].output, r);
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
  matmul_into_residual(team, w.wo, attended_in.for_matrix(w.wo), w.attn_post_norm.empty(),
                       [&](size_t r) { begin_feed_forward(layer, r); });
}

void CpuBackend::Impl::feed_forward(Team& team, int layer, int next_layer) {
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  const size_t d_ff = static_cast<size_t>(config.d_ff);
  const auto act_mul = config.activation == Activation::kSilu ? floats.silu_mul : floats.gelu_tanh_mul;
  const Product gate_product[] = {{&w.w_gate, &normed.for_matrix(w.w_gate), gate.data()}};
  const Product up_product[] = {{&w.w_up, &normed.for_matrix(w.w_up), up.data()}};
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
    gated.store(kernels, &gate[r * d_ff], formats[static_cast<size_t>(layer)].down, r);
  });
  matmul_into_residual(team, w.w_down, gated.for_matrix(w.w_down), w.ffn_post_norm.empty(),
                       [&](size_t r) { end_layer(layer, next_layer, r); });
}

void CpuBackend::Impl::output(Team& team, bool want_hidden) {
  const size_t d = static_cast<size_t>(config.d_model), vocab = static_cast<size_t>(config.vocab_size);
  const size_t wanted = plan.wanted.size();
  team.for_chunks(wanted, 1, [&](size_t i, size_t end) {
    for (; i < end; ++i) {
      const float* row = &x[static_cast<size_t>(plan.wanted[i]) * d];
      if (want_hidden) std::copy(row, row + d, &hidden[i * d]);
      floats.rms_norm(row, model->output_norm.data(), config.norm_eps, d, &mixed[i * d]);
      head_in.store(kernels, &mixed[i * d], {&model->head}, i);
    }
  });
  const Activations& in = head_in.for_matrix(model->head);
  const size_t units = model->head.units();
  team.for_chunks(units, grain(units, model->head.unit_bytes()), [&](size_t begin, size_t end) {
    kernels.matmul(model->head, begin, end, in, logits.data(), vocab);
    if (config.logit_softcap == 0) return;
    const size_t first = begin * 16, count = std::min(end * 16, vocab) - first;
    for (size_t i = 0; i < wanted; ++i) floats.softcap(config.logit_softcap, count, &logits[i * vocab + first]);
  });
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
    if (p.bias == nullptr) continue;
    const size_t row = first * 16, count = std::min(last * 16, ld) - row;
    for (size_t r = 0; r < n; ++r) floats.add(p.bias + row, count, p.y + r * ld + row);
  }
}

void CpuBackend::Impl::add_to_residual(size_t first, size_t last) {
  const size_t d = static_cast<size_t>(config.d_model);
  for (size_t r = 0; r < n; ++r) floats.add(&mixed[r * d + first], last - first, &x[r * d + first]);
}

// mixed = w x, added to the residual stream if `add` (else row_step does so), then `row_step` for each row.
void CpuBackend::Impl::matmul_into_residual(Team& team, const PackedMatrix& w, const Activations& in, bool add,
                                            auto row_step) {
  const size_t d = static_cast<size_t>(config.d_model);
  const auto body = [&](size_t begin, size_t end) {
    kernels.matmul(w, begin, end, in, mixed.data(), d);
    if (add) add_to_residual(begin * 16, std::min(end * 16, d));
  };
  chunks_then_rows(team, w.units(), grain(w.units(), w.unit_bytes()), body, row_step);
}

void CpuBackend::Impl::begin_layer(int layer, size_t r) {
  const size_t d = static_cast<size_t>(config.d_model);
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  floats.rms_norm(&x[r * d], w.attn_norm.data(), config.norm_eps, d, &mixed[r * d]);
  normed.store(kernels, &mixed[r * d], formats[static_cast<size_t>(layer)].attention, r);
}

void CpuBackend::Impl::begin_feed_forward(int layer, size_t r) {
  const size_t d = static_cast<size_t>(config.d_model);
  const LayerWeights& w = model->layers[static_cast<size_t>(layer)];
  if (!w.attn_post_norm.empty()) {
    floats.rms_norm(&mixed[r * d], w.attn_post_norm.data(), config.norm_eps, d, &mixed[r * d]);
    floats.add(&mixed[r * d], d, &x[r * d]);
  }
  floats.rms_norm(&x[r * d], w.ffn_norm.data(), config.norm_eps, d, &mixed[r * d]);
  normed.store(kernels, &mixed[r * d], formats[static_cast<size_t>(layer)].feed_forward, r);
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
  for (const Floats* buffer : {&x, &mixed, &q, &attended, &k, &v, &gate, &up, &logits, &hidden}) {
    count += buffer->capacity();
  }
  return count * sizeof(float) + normed.bytes() + attended_in.bytes() + gated.bytes() + head_in.bytes() +
         attention.scratch_bytes() + rope[0].bytes() + rope[1].bytes();
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
