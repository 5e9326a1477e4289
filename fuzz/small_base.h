// The base of the adapters that adapter_fuzz reads and adapter_seeds writes.
#pragma once

#include "model/config.h"

namespace s3d {

inline constexpr uint64_t kSmallBaseFingerprint = 7;

inline ModelConfig small_base() {
  ModelConfig base{};
  base.family = "llama";
  base.n_layers = 4;
  base.d_model = 32;
  base.n_heads = 2;
  base.n_kv_heads = 1;
  base.head_dim = 16;
  base.d_ff = 32;
  base.vocab_size = 20;
  return base;
}

}  // namespace s3d
