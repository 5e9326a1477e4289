// What CpuBackend is inside: the buffers of a pass and its steps. The steps of a full pass are in cpu_backend.cc, what
// an adapter adds to a draft pass in cpu_adapter.cc.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <span>
#include <vector>

#include "backend/block_placement.h"
#include "backend/cpu/attention.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/rope_table.h"
#include "backend/cpu/stored_rows.h"
#include "backend/packed_adapter.h"

namespace s3d {

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

struct CpuBackend::Impl {
  using Floats = std::vector<float>;

  // Steps that go row by row (norm, storing) are done by one thread at the end of the loop before them up to so many
  // rows: each takes about half a microsecond, as much as the barrier that sharing them would need.
  static constexpr size_t kSerialRows = 2;

  Impl(std::shared_ptr<const Model> m, int threads, const Kernels& k, int max_rows);

  // In cpu_backend.cc. By one thread:
  Result<PassOutput> run(const Block& block, KvCache& kv);
  void prepare(const Block& block, KvCache& kv);
  size_t lm_head_rows() const;    // of the head that this pass uses
  size_t lm_head_stride() const;  // floats from one row of `logits` to the next
  size_t grain(size_t units, size_t unit_bytes) const;
  size_t scratch_bytes() const;

  // By every thread of the team, in step:
  void walk(int thread, Team& team, const Block& block);
  void self_attention(int thread, Team& team, int layer, const PackedAdapter::Layer& lora);
  void feed_forward(Team& team, int layer, int next_layer, const PackedAdapter::Layer& lora);
  void output(int thread, Team& team, bool want_hidden);
  void matmul_into_residual(Team& team, const Product& product, bool add, auto row_step);

  // By any thread, for the rows of the block (`r`) or the units that it was given:
  void begin_row(size_t r);
  void begin_layer(int layer, size_t r);
  void begin_feed_forward(int layer, size_t r);
  void end_layer(int layer, int next_layer, size_t r);
  void place_head(int layer, size_t r, int kv_head);
  void lm_head_product(int thread, size_t begin, size_t end);
  void multiply(std::span<const Product> products, size_t begin, size_t end) const;
  void add_to_residual(size_t first, size_t last);

  // In cpu_adapter.cc. By one thread:
  void prepare_adapter(const Block& block);
  void inject_states(const Block& block);
  void small_product(const PackedMatrix& w, const float* x, float* y);
  void add_markov(const PackedAdapter& markov, std::span<const int32_t> previous, std::span<float> to,
                  std::span<float> z);

  // By every thread of the team, in step:
  void bridge(Team& team);
  void low_rank_inputs(Team& team, const PackedLora& lora, const StoredRows& in);
  LowRankTerm low_rank_term(const PackedLora& lora, size_t pair);

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
  BlockPlacement placement;
  const KvLayout* layout = nullptr;
  std::span<const Row> rows;
  size_t n = 0;  // rows
  std::vector<int> positions;
  std::vector<RopeSet> rope_sets;          // [n]
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
  StoredRows lm_head_in;   // [n wanted][d_model]

  // Of draft passes; they stay empty without one.
  Floats low;                                       // [n][stacked ranks]
  std::array<StoredRows, PackedLora::kMax> low_in;  // [n][rank] of each pair
  StoredRows bridge_in;                             // [n][bridge rank]
  Floats lora_sums;                                 // [kMax][n][widest output]
  Floats states;                                    // [distinct states][d_model] what is injected
  Floats scattered;                                 // [threads][n wanted][kLmHeadPiece * 16] logits in the head's order
  Floats ones;                                      // [d_model] weights of a norm that has none
  Activations small_in;                             // one row, for small_product()
  std::atomic<unsigned> embedded{0};                // rows of the embedding that were read from the file
};

}  // namespace s3d
