#include "pass/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "base/check.h"
#include "pass/attention.h"
#include "pass/block_plan.h"
#include "pass/packed_adapter.h"
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

// LoRA of one matrix: b times the stored low-rank rows, by way of `sum`, [n rows][b->rows()] that nobody else uses.
struct LowRankTerm {
  const PackedMatrix* b = nullptr;  // null: none
  const Activations* low = nullptr;
  float* sum = nullptr;
};

// One matrix times the stored rows; `bias` is null or [w->rows()].
struct Product {
  const PackedMatrix* w;
  const Activations* x;
  float* y;  // [n rows][w->rows()]
  const float* bias = nullptr;
  LowRankTerm lora = {};
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
  void self_attention(int thread, Team& team, int layer, const PackedAdapter::Layer& lora);
  void feed_forward(Team& team, int layer, int next_layer, const PackedAdapter::Layer& lora);
  void bridge(Team& team);
  void output(int thread, Team& team, bool want_hidden);
  void low_rank_inputs(Team& team, const PackedLora& lora, const StoredRows& in);

  // Row by row; `r` is a row of the block.
  void begin_row(size_t r);
  void begin_layer(int layer, size_t r);
  void begin_feed_forward(int layer, size_t r);
  void end_layer(int layer, int next_layer, size_t r);
  void place_head(int layer, size_t r, int kv_head);

  void prepare(const Block& block, KvCache& kv);
  void prepare_adapter(const Block& block);
  void inject_states(const Block& block);
  void small_product(const PackedMatrix& w, const float* x, float* y);
  void add_markov(const PackedAdapter& markov, std::span<const int32_t> previous, std::span<float> to,
                  std::span<float> z);
  LowRankTerm low_rank_term(const PackedLora& lora, size_t pair);
  void head_product(int thread, size_t begin, size_t end);
  size_t head_rows() const;    // of the head that this pass uses
  size_t head_stride() const;  // floats from one row of `logits` to the next
  void multiply(std::span<const Product> products, size_t begin, size_t end) const;
  void add_to_residual(size_t first, size_t last);
  size_t grain(size_t units, size_t unit_bytes) const;
  void matmul_into_residual(Team& team, const Product& product, bool add, auto row_step);

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
  const PackedAdapter* adapter = nullptr;  // of a draft pass
  FormatSet lora_formats;                  // in which a draft pass stores rows beside the base's
  std::vector<const float*> injected;      // [n] what is added to each row's input, or null

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

  // Of draft passes; they stay empty without one.
  Floats low;                                        // [n][stacked ranks]
  std::array<StoredRows, PackedLora::kMost> low_in;  // [n][rank] of each pair
  StoredRows bridge_in;                              // [n][bridge rank]
  Floats lora_sums;                                  // [kMost][n][widest output]
  Floats states;                                     // [distinct states][d_model] what is injected
  Floats scattered;                                  // [threads][n wanted][kHeadPiece * 16] logits in the head's order
  Floats ones;                                       // [d_model] weights of a norm that has none
  Activations small_in;                              // one row, for small_product()
};

// Units of the head whose logits are put into the vocabulary's order at once, while they are in the L1 cache.
constexpr size_t kHeadPiece = 8;

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

// ---- The adapter ---------------------------------------------------------------------------------------------------

// Formats and buffers of a draft pass; one thread.
void CpuBackend::Impl::prepare_adapter(const Block& block) {
  adapter = block.adapter;
  lora_formats = {};
  injected.assign(n, nullptr);
  if (adapter == nullptr) return;
  std::array<FormatSet, PackedLora::kMost> low_formats;
  size_t ranks = 0, rank = 0;
  for (const PackedAdapter::Layer& layer : adapter->layers()) {
    for (const PackedLora* lora : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      if (lora->a.empty()) continue;
      lora_formats.add({&lora->a});
      ranks = std::max(ranks, lora->a.rows());
      for (size_t i = 0; i < lora->b.size(); ++i) {
        if (lora->b[i].empty()) continue;
        low_formats[i].add({&lora->b[i]});
        rank = lora->b[i].cols();
      }
    }
  }
  if (const PackedMatrix& up_again = adapter->bridge_up(); !up_again.empty()) {
    lora_formats.add({&adapter->bridge_down()});
    bridge_in.resize({&up_again}, n, up_again.cols(), kernels.tile);
    ranks = std::max(ranks, up_again.cols());
  }
  low.resize(n * ranks);
  for (size_t i = 0; i < low_in.size(); ++i) low_in[i].resize(low_formats[i], n, rank, kernels.tile);
  const int widest = std::max({config.d_ff, config.q_dim(), config.d_model});
  lora_sums.resize(PackedLora::kMost * n * static_cast<size_t>(widest));
  if (!block.state.empty() && !adapter->state_down().empty()) inject_states(block);
}

// y = w x for one row; one thread.
void CpuBackend::Impl::small_product(const PackedMatrix& w, const float* in, float* out) {
  small_in.resize(act_format(w.type()), 1, w.cols(), kernels.tile);
  kernels.store_activation(in, small_in, 0);
  kernels.matmul(w, 0, w.units(), small_in, out, w.rows());
}

// up (down rms(h)) of every state, once for the rows that share it; one thread, for a state is one row.
void CpuBackend::Impl::inject_states(const Block& block) {
  const size_t d = static_cast<size_t>(config.d_model);
  states.resize(n * d);
  std::vector<float> normed_state(d), inner(adapter->state_down().rows());
  for (size_t r = 0; r < n; ++r) {
    const float* state = block.state[r];
    const bool takes = rows[r].token < 0 || adapter->config().state_on_first_row;
    if (state == nullptr || !takes) continue;
    const size_t same =
        static_cast<size_t>(std::find(block.state.begin(), block.state.end(), state) - block.state.begin());
    for (size_t before = same; before < r && injected[r] == nullptr; ++before) {
      if (block.state[before] == state) injected[r] = injected[before];
    }
    if (injected[r] != nullptr) continue;
    floats.rms_norm(state, ones.data(), config.norm_eps, d, normed_state.data());
    small_product(adapter->state_down(), normed_state.data(), inner.data());
    small_product(adapter->state_up(), inner.data(), &states[r * d]);
    injected[r] = &states[r * d];
  }
}

// The row's input: an embedding or a mask, and the state.
void CpuBackend::Impl::begin_row(size_t r) {
  const size_t d = static_cast<size_t>(config.d_model);
  float* row = &x[r * d];
  if (rows[r].token >= 0) {
    model->embed(rows[r].token, row);
  } else {
    std::copy_n(adapter->mask(-1 - rows[r].token), d, row);
  }
  if (injected[r] != nullptr) floats.add(injected[r], d, row);
}

// Low-rank rows of the pairs, from the rows that their matrices read.
void CpuBackend::Impl::low_rank_inputs(Team& team, const PackedLora& lora, const StoredRows& in) {
  if (lora.a.empty()) return;
  const size_t stride = lora.a.rows();
  const auto body = [&](size_t begin, size_t end) {
    kernels.matmul(lora.a, begin, end, in.for_matrix(lora.a), low.data(), stride);
  };
  chunks_then_rows(team, lora.a.units(), 1, body, [&](size_t r) {
    for (size_t i = 0; i < lora.b.size(); ++i) {
      if (!lora.b[i].empty()) low_in[i].store(kernels, &low[r * stride + lora.first[i]], {&lora.b[i]}, r);
    }
  });
}

LowRankTerm CpuBackend::Impl::low_rank_term(const PackedLora& lora, size_t pair) {
  const PackedMatrix& b = lora.b[pair];
  if (b.empty()) return {};
  return {&b, &low_in[pair].for_matrix(b), &lora_sums[pair * (lora_sums.size() / PackedLora::kMost)]};
}

// x += up (down rms(x)), between the two groups of layers.
void CpuBackend::Impl::bridge(Team& team) {
  const size_t d = static_cast<size_t>(config.d_model);
  const PackedMatrix &down = adapter->bridge_down(), &up_again = adapter->bridge_up();
  each_row(team, [&](size_t r) {
    floats.rms_norm(&x[r * d], ones.data(), config.norm_eps, d, &mixed[r * d]);
    normed.store(kernels, &mixed[r * d], {&down}, r);
  });
  const auto shrink = [&](size_t begin, size_t end) {
    kernels.matmul(down, begin, end, normed.for_matrix(down), low.data(), down.rows());
  };
  chunks_then_rows(team, down.units(), 1, shrink,
                   [&](size_t r) { bridge_in.store(kernels, &low[r * down.rows()], {&up_again}, r); });
  team.for_chunks(up_again.units(), grain(up_again.units(), up_again.unit_bytes()), [&](size_t begin, size_t end) {
    kernels.matmul(up_again, begin, end, bridge_in.for_matrix(up_again), mixed.data(), d);
    add_to_residual(begin * 16, std::min(end * 16, d));
  });
}

void CpuBackend::Impl::add_markov(const PackedAdapter& markov, std::span<const int32_t> previous, std::span<float> to,
                                  std::span<float> z) {
  if (markov.markov_p().empty()) return;
  const size_t d = static_cast<size_t>(config.d_model), rows_given = previous.size(), size = markov.draft_size();
  const PackedMatrix &p = markov.markov_p(), &w2 = markov.markov_w2();
  S3D_CHECK(to.size() == rows_given * size && (z.empty() || z.size() == rows_given * p.rows()));
  std::vector<float> embedding(d);
  low.resize(std::max(low.size(), p.rows()));
  bridge_in.resize({&w2}, rows_given, w2.cols(), kernels.tile);
  for (size_t i = 0; i < rows_given; ++i) {
    model->embed(previous[i], embedding.data());
    floats.rms_norm(embedding.data(), ones.data(), config.norm_eps, d, embedding.data());
    small_product(p, embedding.data(), low.data());
    if (!z.empty()) std::copy_n(low.data(), p.rows(), &z[i * p.rows()]);
    bridge_in.store(kernels, low.data(), {&w2}, i);
  }
  lora_sums.resize(std::max(lora_sums.size(), rows_given * size));
  pool.run([&](int, Team& team) {
    team.for_chunks(w2.units(), grain(w2.units(), w2.unit_bytes()), [&](size_t begin, size_t end) {
      kernels.matmul(w2, begin, end, bridge_in.for_matrix(w2), lora_sums.data(), size);
      const size_t first = begin * 16, count = std::min(end * 16, size) - first;
      for (size_t i = 0; i < rows_given; ++i) floats.add(&lora_sums[i * size + first], count, &to[i * size + first]);
    });
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
