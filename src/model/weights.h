// The weights of a model, typed and packed for the kernels. Const after loading.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "file/gguf.h"
#include "kernels/packed_matrix.h"
#include "model/config.h"
#include "s3d/options.h"

namespace s3d {

// One transformer layer. Matrices are [out, in]; vectors are floats; an empty member is absent in this family.
struct LayerWeights {
  std::vector<float> attn_norm;       // [d_model]; none in olmo2
  PackedMatrix wq, wk, wv;            // [q_dim, d_model], [kv_dim, d_model] x2 (fused QKV of phi3 is split by rows)
  std::vector<float> bq, bk, bv;      // qwen2
  std::vector<float> q_norm, k_norm;  // [head_dim] qwen3, gemma3; [q_dim], [kv_dim] olmo2
  PackedMatrix wo;                    // [d_model, q_dim]
  std::vector<float> attn_post_norm;  // [d_model] gemmas, olmo2
  std::vector<float> ffn_norm;        // [d_model]; none in olmo2
  PackedMatrix w_gate, w_up;          // [d_ff, d_model]
  PackedMatrix w_down;                // [d_model, d_ff]
  std::vector<float> ffn_post_norm;   // [d_model] gemmas, olmo2
};

// Of a model that stands beside another (load_side_model): what does not come from `Model::file`.
struct SideParts {
  std::shared_ptr<const GgufFile> layers;  // holds the tensors of its layers
  std::vector<int32_t> head_ids;           // [vocab] rows of the other's LM head that are its own; empty: all
};

struct Model {
  ModelConfig config;
  std::shared_ptr<const GgufFile> file;             // kept mapped: embedding rows are read from it
  const Tensor* token_embedding;                    // [vocab, d_model] in `file`
  std::vector<LayerWeights> layers;                 // [n_layers]; those that another memory holds alone are empty
  std::vector<float> output_norm;                   // [d_model] times ModelConfig::logit_scale
  PackedMatrix lm_head;                             // [vocab, d_model], of output.weight or token_embd.weight; or empty
  std::vector<int32_t> lm_head_ids;                 // [vocab] token of each row of `lm_head`; empty: row r is token r
  std::shared_ptr<const SideParts> side = nullptr;  // of load_side_model; null: a model of its own
  size_t packed_bytes() const;                      // all packed matrices: what one full pass reads

  // Row `token` of the embedding as floats, times config.embedding_scale; `out`: [d_model].
  void embed(int32_t token, float* out) const;
};

// Checks every shape and type and loads nothing: a model for the reference, which reads the file. No layers, no packed
// weights. `lm_head_first` as in load_model. Errors name the tensor, the expected and the found shape or type.
Result<Model> open_model(std::shared_ptr<const GgufFile> file, ModelConfig config,
                         std::span<const int32_t> lm_head_first = {});

// Reads, checks every shape against the config, packs (on `pool`), and releases the mapped pages as it goes, so that
// peak memory stays near the file's size. `lm_head_first`: tokens whose rows come first in the LM head, so that the
// head of a draft vocabulary is the beginning of the full one and needs no copy. Errors name the tensor, the expected
// and the found shape or type.
Result<Model> load_model(std::shared_ptr<const GgufFile> file, ModelConfig config, ThreadPool& pool,
                         const LoadProgress& progress = {}, std::span<const int32_t> lm_head_first = {});

// Packs what a model that was opened has in its file, part by part: once for each that is to lie in a device's memory,
// or to stay. Thread rule: one call at a time.
class WeightReader {
 public:
  // `model` and `pool` must outlive it. `progress` counts the bytes of the file, of all parts.
  WeightReader(const Model& model, ThreadPool& pool, LoadProgress progress = {});
  ~WeightReader();
  WeightReader(const WeightReader&) = delete;
  WeightReader& operator=(const WeightReader&) = delete;

  // Memory of parts that stay is taken together (WeightMemory), of others apart, so that it goes with them.
  enum class Stay : bool { kNo, kYes };
  // Errors: those of load_model.
  Result<LayerWeights> layer(int layer, Stay stay);
  Result<PackedMatrix> lm_head(Stay stay);  // in the order of Model::lm_head_ids
  Result<std::vector<float>> output_norm();
  ThreadPool& pool();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The matrices of a layer, as they are packed.
struct MatrixSize {
  ggml_type type;
  size_t rows, cols;
};
std::vector<MatrixSize> layer_matrices(const Model& model, int layer);
std::vector<size_t> layer_vectors(const Model& model, int layer);  // lengths of its other tensors
MatrixSize lm_head_matrix(const Model& model);
// The tensor of the model's file whose rows are the LM head's: the embedding's where they are tied.
const Tensor& lm_head_tensor(const Model& model);

// The layer "blk.0" of `layers`, a file with nothing else of a model, between the input vectors that passes are given
// and the output norm and LM head of `base`. One layer of the base's family without a window, no soft cap of logits.
// `head`, [n, d_model] and its `head_ids` (empty: row r is token r) take the place of the base's vocabulary; it is
// empty where the base's head lies elsewhere. Of an opened `base` (open_model) nothing is packed. Its embedding is not
// used. Errors: as of load_model.
Result<Model> load_side_model(const Model& base, std::shared_ptr<const GgufFile> layers, const PackedMatrix& head,
                              std::vector<int32_t> head_ids, ThreadPool& pool);
// Its config for a head of `vocab` rows; 0: the base's.
ModelConfig side_config(const ModelConfig& base, int vocab = 0);
// The tensors of that layer with their shapes in GGUF's order; and whether one may be absent.
struct LayerTensor {
  std::string name;
  std::vector<int64_t> shape;
  bool optional;
};
std::vector<LayerTensor> side_layer_tensors(const ModelConfig& base);

}  // namespace s3d
