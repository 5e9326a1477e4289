// The reference: a full pass in plain double precision on ggml's dequantized weights. Slow, short and obvious; what the
// fast backends are compared with (docs/numerics.md). As a Backend over a KV cache: reference_backend.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "file/gguf.h"
#include "model/adapter.h"
#include "model/config.h"
#include "model/weights.h"
#include "s3d/types.h"

namespace s3d {

struct SideMatrix;

// What a reference pass gives for the wanted rows, in the order in which they were asked for.
struct ReferenceOutput {
  std::vector<double> logits;  // [n_wanted, vocab]; of draft rows [n_wanted, draft size], without the Markov term
  std::vector<double> hidden;  // [n_wanted, d_model], before the output norm; of draft rows after it
  std::vector<double> tapped;  // [n_tapped, taps, d_model]
};

// What a pass is given and asked for beside its rows: Block::input, taps and tapped.
struct ReferenceFeatures {
  std::span<const float* const> input = {};
  std::span<const int> taps = {};
  std::span<const int> tapped = {};

  const float* input_of(size_t row) const { return input.empty() ? nullptr : input[row]; }
};

// Makes rows of a reference pass those of a draft pass, or riders (docs/adapter.md). Borrows what it points to.
struct ReferenceDraft {
  const Adapter* adapter;
  int first;  // row of the pass; it and all rows after it are draft rows, whose tokens may be masks
  // [n rows - first] or empty: the hidden state of which each row's injection is made, or an empty vector.
  std::span<const std::vector<double>> state = {};
  const float* masks = nullptr;  // [config.masks, d_model] inputs of the first layer; null: the adapter's own
  bool riders = false;           // of these only the masks are draft rows, and all logits are those of a full pass

  bool has(std::span<const Row> rows, size_t row) const {
    return static_cast<int>(row) >= first && (!riders || rows[row].token < 0);
  }
};

// One key and its value that a row sees, and their position.
struct SeenKey {
  size_t index;
  int32_t position;
};

// Keys and values that outlive a pass. In it every row runs the same layers.
class ReferenceStore {
 public:
  virtual ~ReferenceStore() = default;
  // The rotations of a row of the pass.
  virtual RopeSet rope_set(size_t row) const = 0;
  // Of every row of the pass: what it sees, from position 0 to its own.
  virtual const std::vector<std::vector<SeenKey>>& seen() const = 0;
  // Stores the keys and values of the pass's rows, [n rows, kv_dim], and replaces them by all that any row sees, as
  // they are stored: SeenKey::index counts these.
  virtual void exchange(int layer, std::vector<double>& k, std::vector<double>& v) = 0;
};

// What the fast backends round on purpose. A reference that rounds the same is apart from them by the order and
// precision of their sums alone, which shows a wrong kernel that 8-bit noise would hide.
struct ReferenceRounding {
  bool activations = false;  // to int8 before a product with quantized weights (kernels: ActFormat)
  KvType kv = KvType::kF32;  // keys and values, as the cache stores them; kF32: not rounded
};

// It keeps nothing from pass to pass: a pass is given all rows from the first token on, or a store with those before.
// Activations, keys, values and sums are doubles, and nothing is rounded but what ReferenceRounding says.
// Thread rule: const after load(); any number of run() calls at once, each with its own pool.
class ReferenceModel {
 public:
  // Errors: a tensor that is missing, or has another shape than the config says, or a type ggml cannot dequantize.
  static Result<ReferenceModel> load(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                     ReferenceRounding rounding = {});
  // The same of a model whose layer is in a file of its own (load_side_model). Errors: those of load().
  static Result<ReferenceModel> load(const Model& model, ReferenceRounding rounding = {});

  // Runs `rows`, which hold whole sequences: a row with parent -1 begins one, and a row sees itself and its ancestors,
  // whatever their number, each at its own position (chains, trees and several sequences alike; Row::seq is not used).
  // `layers`: which layers each row runs, [n rows], or empty for all layers in all rows. In a layer that a row does
  // not run its hidden state stays as it is, and no other row sees it there: as in a draft pass after full passes.
  // `wanted`: the rows whose results are returned. `draft`: null, or the rows that are a draft pass, whose `layers`
  // must be the adapter's plan; then only draft rows may be wanted, but for riders. `store`: null, or who says whom a
  // row sees, instead of Row::parent. Without a store the text is as long as the highest position of all rows says
  // (RopeSet). Error: a token outside the vocabulary. Time: n rows * weights / (about 4e9 a second and core).
  Result<ReferenceOutput> run(std::span<const Row> rows, std::span<const LayerSet> layers, std::span<const int> wanted,
                              ThreadPool& pool, const ReferenceDraft* draft = nullptr, ReferenceStore* store = nullptr,
                              const ReferenceFeatures& features = {}) const;

  // w x for rows x: [n, w.rows()].
  std::vector<double> multiply(const SideMatrix& w, const std::vector<double>& x, ThreadPool& pool) const;

  // P rms(E[token]) for each token, [tokens, Markov rank], and W2 times that, [tokens, draft size]: the Markov term,
  // which the adapter must have.
  std::vector<double> markov_state(const Adapter& adapter, std::span<const TokenId> previous, ThreadPool& pool) const;
  std::vector<double> markov_term(const Adapter& adapter, std::span<const TokenId> previous, ThreadPool& pool) const;

  const ModelConfig& config() const { return config_; }
  size_t weight_bytes() const;  // in the file, of what a full pass with logits reads

 private:
  // Some consecutive rows of a tensor of the file.
  struct Matrix {
    const Tensor* tensor = nullptr;
    int64_t first = 0;
    int64_t rows = 0;
  };
  using Vector = std::vector<double>;  // empty: absent in this family
  struct Layer {
    Vector attn_norm, attn_post_norm, ffn_norm, ffn_post_norm;  // [d_model]
    Vector q_norm, k_norm;                                      // [head_dim]
    Vector bq, bk, bv;                                          // [q_dim], [kv_dim] x2
    Matrix wq, wk, wv, wo;
    Matrix w_gate, w_up, w_down;
  };
  struct Forest;
  struct Lora;
  class Loader;
  // Where its tensors are.
  struct Files;

  ReferenceModel() = default;
  static Result<ReferenceModel> load(Files files, ModelConfig config, ReferenceRounding rounding);
  Vector logits_of(const Vector& normed, ThreadPool& pool) const;
  Vector multiply(const Matrix& w, Vector x, ThreadPool& pool) const;
  void round_stored(Vector& heads) const;
  Vector multiply(const Matrix& w, const Lora& lora, LoraTarget target, const Vector& x, ThreadPool& pool) const;
  Vector low_rank(const LowRank& pair, Vector x, ThreadPool& pool) const;
  Vector embed(std::span<const Row> rows, const ReferenceDraft* draft, const ReferenceFeatures& features = {}) const;
  void mask(const ReferenceDraft& draft, int32_t index, float* out) const;
  Vector norm(const Vector& x, const Vector& weight) const;
  Vector rms(const Vector& x) const;
  void inject_states(std::span<const Row> rows, const ReferenceDraft& draft, Vector& x, ThreadPool& pool) const;
  void norm_riders(std::span<const Row> rows, std::span<const int> wanted, ReferenceOutput& out) const;
  void apply_bridge(const ReferenceDraft& draft, Vector& x, ThreadPool& pool) const;
  void rotate(Vector& heads, const Forest& forest, int layer) const;
  void attend_row(const Vector& q, const Vector& k, const Vector& v, const Forest& forest, int layer, size_t i,
                  Vector& out) const;
  Vector attend(const Vector& q, const Vector& k, const Vector& v, const Forest& forest, int layer,
                ThreadPool& pool) const;
  Vector self_attention(const Vector& x, const Forest& forest, const Lora& lora, int layer, ThreadPool& pool) const;
  Vector feed_forward(const Vector& x, const Lora& lora, int layer, ThreadPool& pool) const;
  Vector run_layer(Vector x, const Forest& forest, const Lora& lora, int layer, ThreadPool& pool) const;
  ReferenceOutput output(Vector hidden, const Adapter* adapter, ThreadPool& pool) const;

  std::shared_ptr<const GgufFile> file_, layers_file_;
  std::vector<TokenId> head_ids_;  // rows of lm_head_ that are the vocabulary; empty: all
  ModelConfig config_;
  ReferenceRounding rounding_;
  Matrix embedding_, lm_head_;
  Vector output_norm_;
  std::vector<Layer> layers_;
};

// Rows of a chain of tokens at positions first_position, first_position + 1, …, appended to `rows`; the first one's
// parent is `parent`. Returns the index of the last row.
int append_chain(std::vector<Row>& rows, std::span<const TokenId> tokens, int parent = -1, int first_position = 0);

}  // namespace s3d
