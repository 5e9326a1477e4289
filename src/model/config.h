// What a model is: numbers read from GGUF metadata, no weights, no arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"

namespace s3d {

enum class RopeStyle { kInterleaved, kSplitHalves };  // pairs (2i, 2i+1) | (i, i + d/2); ggml: NORM | NEOX
enum class Activation { kSilu, kGeluTanh };

// Rotary embedding of one kind of layer. The angle of pair i at position p is p * base^(-2i/dims) * scale / factor[i].
struct RopeConfig {
  int dims;                    // rotated dimensions of a head, from the front; 0 = no rotation
  float base;                  // e.g. 10000
  float scale = 1;             // linear scaling: 1 / factor
  float magnitude = 1;         // multiplies cos and sin (phi3 long context)
  std::vector<float> factors;  // [dims / 2] frequency divisors (Llama 3 rope_freqs, phi3 short or long); empty = ones
};

struct ModelConfig {
  std::string family;  // general.architecture: llama, qwen2, qwen3, phi3, gemma3
  std::string name;    // general.name, may be empty
  int n_layers;
  int d_model;
  int n_heads;
  int n_kv_heads;
  int head_dim;
  int d_ff;
  int vocab_size;
  int context_length;  // as trained
  float norm_eps;
  RopeStyle rope_style;
  RopeConfig rope;        // full-attention layers
  RopeConfig rope_local;  // sliding-window layers (gemma3: base 10000), else equal to `rope`
  Activation activation;
  float embedding_scale = 1;      // gemma: sqrt(d_model)
  float attention_scale;          // usually 1/sqrt(head_dim)
  float logit_softcap = 0;        // 0 = off
  int sliding_window = 0;         // 0 = none; else a row sees positions p with row_position - p < sliding_window
  std::vector<bool> local_layer;  // [n_layers] true = sliding-window layer; empty = none
  bool post_norms = false;        // gemma3: a norm after attention and after the feed-forward, before the residual add
  bool tied_head = false;         // no output.weight: logits use token_embd.weight

  int kv_dim() const { return n_kv_heads * head_dim; }
  int q_dim() const { return n_heads * head_dim; }
  bool is_local(int layer) const { return !local_layer.empty() && local_layer[static_cast<size_t>(layer)]; }
};

// Reads and checks the metadata. Errors: unknown family (lists the known ones), missing or absurd values, with the key.
// `context` chooses between phi3's short and long factors (0 = the model's own context length).
Result<ModelConfig> read_model_config(const GgufFile& file, int context = 0);

// The families that read_model_config knows, for messages and `--help`.
std::vector<std::string> known_families();

}  // namespace s3d
