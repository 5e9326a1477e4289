// The base model in libtorch: a forward pass that autograd can walk back through, on the dequantized weights of the
// GGUF. Formulas are those of pass/reference_model.h; the test compares them.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"
#include "model/adapter.h"
#include "model/config.h"

namespace s3d::train {

using torch::Tensor;  // hides s3d::Tensor, the one of a file, in this namespace

// The matrices of one layer in the order of LoraTarget, [out, in] each.
struct BaseLayer {
  std::array<Tensor, kLoraTargets> matrices;
  Tensor bq, bk, bv;           // [q_dim], [kv_dim] x 2; undefined where the family has none
  Tensor attn_norm, ffn_norm;  // [d_model]
};

struct BaseModel {
  ModelConfig config;
  std::shared_ptr<const GgufFile> file;
  uint64_t fingerprint = 0;
  torch::Device device = torch::kCPU;
  std::vector<BaseLayer> layers;  // [n_layers]
  Tensor embedding;               // [vocab, d_model]
  Tensor lm_head;                 // [vocab, d_model]; the same tensor as `embedding` where the base ties them
  Tensor output_norm;             // [d_model]
  Tensor cosines, sines;          // [context, head_dim] rotation of each dimension at each position

  size_t bytes() const;
};

// Name of a layer's matrix in the file: "blk.LAYER.attn_q.weight".
std::string matrix_name(int layer, LoraTarget target);

// Loads all layers. `dtype` is the type of matrices in memory and in matrix products: kFloat32, or kBFloat16 where the
// machine multiplies it fast; vectors and all else are float. `context`: positions that may occur. Errors: what
// GgufFile and read_model_config refuse; a family other than llama and qwen2; a tensor of the wrong shape.
Result<BaseModel> load_base(const std::string& path, torch::ScalarType dtype, torch::Device device, int context);

// x W^T in the type of `w`, as float. x: [..., in], w: [out, in].
Tensor project(const Tensor& x, const Tensor& w);

// x / sqrt(mean(x^2) + eps), times `weight` if it is defined. x: [..., n].
Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps);

// Rotates the heads of x [n, heads, head_dim], whose rows are at `positions` [n] (int64).
Tensor rotate(const BaseModel& base, const Tensor& x, const Tensor& positions);

// Float embeddings of `tokens` (any shape, int64), with the base's embedding scale: [..., d_model].
Tensor embed(const BaseModel& base, const Tensor& tokens);

// Keys (rotated) and values of a layer: [n, kv_heads, head_dim] each.
struct LayerKv {
  Tensor keys, values;
};

// The queries of a layer's rows, rotated: [n, heads, head_dim], and their keys and values.
struct AttentionInput {
  Tensor q;
  LayerKv kv;
};

// A layer in three steps. x: its input [n, d_model], rows at `positions` [n].
AttentionInput attention_input(const BaseModel& base, const BaseLayer& layer, const Tensor& x, const Tensor& positions);
// softmax(q k^T scale) v, [m, q_dim], of m queries and n >= m keys: the queries are of the last m rows, and each sees
// the keys of its row and of those before. Of every entry of `own` [m, kv_heads, head_dim] a query sees its own row.
// Several `sequences` of the same length (and without `own`) stand one after another in q and kv.
Tensor causal_attention(const ModelConfig& config, const Tensor& q, const LayerKv& kv,
                        const std::vector<LayerKv>& own = {}, int64_t sequences = 1);
Tensor layer_output(const BaseModel& base, const BaseLayer& layer, const Tensor& x, const Tensor& attention);

// Hidden states after the last layer (before the output norm) of one sequence `tokens` [n] (int64), or of several that
// were filled up at their ends to the same length, [S, n]: [S n, d_model]. `on_kv`, if given, gets the keys and values
// of each layer, rows likewise.
Tensor base_forward(const BaseModel& base, const Tensor& tokens,
                    const std::function<void(int layer, const LayerKv& kv)>& on_kv = {});

// The same sequence as forward passes take it.
Tensor token_tensor(const BaseModel& base, const std::vector<int32_t>& tokens);

// Logits of hidden states [n, d_model]: [n, vocab].
Tensor base_logits(const BaseModel& base, const Tensor& hidden);

}  // namespace s3d::train
