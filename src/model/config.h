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

// LongRoPE has two sets of divisors: one for texts up to the length that the model was first trained with, one for
// longer ones. Keys of one set do not fit queries of the other.
enum class RopeSet : uint8_t { kShort, kLong };

// Rotary embedding of one kind of layer. The angle of pair i at position p is p * base^(-2i/dims) * scale / factor[i].
struct RopeConfig {
  int dims;                    // rotated dimensions of a head, from the front; 0 = no rotation
  float base;                  // e.g. 10000
  float scale = 1;             // linear scaling: 1 / factor
  float magnitude = 1;         // multiplies cos and sin (phi3's long context, YaRN)
  std::vector<float> factors;  // [dims / 2] frequency divisors (Llama 3 rope_freqs, YaRN, phi3 short); empty = ones
  std::vector<float> long_factors;  // [dims / 2] those of RopeSet::kLong; empty = no second set

  const std::vector<float>& factors_of(RopeSet set) const {
    return set == RopeSet::kLong && !long_factors.empty() ? long_factors : factors;
  }
  bool operator==(const RopeConfig&) const = default;
};

struct ModelConfig {
  std::string family;  // general.architecture: one of known_families()
  std::string name;    // general.name, may be empty
  int n_layers;
  int d_model;
  int n_heads;
  int n_kv_heads;
  int head_dim;
  int d_ff;
  int vocab_size;
  int context_length;     // as trained
  int short_context = 0;  // phi3: texts of more tokens take RopeSet::kLong, for all their positions; 0 = none do
  float norm_eps;
  RopeStyle rope_style;
  RopeConfig rope;        // full-attention layers
  RopeConfig rope_local;  // sliding-window layers (gemma3: base 10000), else equal to `rope`
  Activation activation;
  float embedding_scale = 1;      // gemma: sqrt(d_model)
  float attention_scale;          // usually 1/sqrt(head_dim)
  float attention_softcap = 0;    // gemma2: of attention scores; 0 = off
  float logit_scale = 1;          // granite: multiplies the logits; part of the loaded output norm
  float logit_softcap = 0;        // 0 = off
  int sliding_window = 0;         // 0 = none; else a row sees positions p with row_position - p < sliding_window
  std::vector<bool> local_layer;  // [n_layers] true = sliding-window layer; empty = none
  bool pre_norms = true;          // a norm before attention and before the feed-forward; olmo2 has none
  bool post_norms = false;        // gemmas, olmo2: a norm after them, before the residual add
  bool wide_qk_norm = false;      // olmo2: norms of Q and K go over all heads together, others over each
  bool tied_head = false;         // no output.weight: logits use token_embd.weight

  int kv_dim() const { return n_kv_heads * head_dim; }
  RopeSet rope_set(int64_t n_tokens) const {  // of a text of so many tokens
    return short_context > 0 && n_tokens > short_context ? RopeSet::kLong : RopeSet::kShort;
  }
  int q_dim() const { return n_heads * head_dim; }
  int q_norm_size() const { return wide_qk_norm ? q_dim() : head_dim; }
  int k_norm_size() const { return wide_qk_norm ? kv_dim() : head_dim; }
  bool is_local(int layer) const { return !local_layer.empty() && local_layer[layer]; }
};

// Reads and checks the metadata. Errors: unknown family (lists the known ones), missing or absurd values, with the key.
Result<ModelConfig> read_model_config(const GgufFile& file);

// The families that read_model_config knows, for messages and `--help`.
std::vector<std::string> known_families();

}  // namespace s3d
