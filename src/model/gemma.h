// What Gemma 2 and 3 share: GELU, norms before and after each sublayer, embeddings scaled by the root of their size,
// layers with a sliding window. (Gemma's norms multiply by 1 + w; converters store 1 + w, so nothing is added here.)
#pragma once

#include "model/family.h"

namespace s3d {

// Where the two differ, and what holds when a file does not say it.
struct GemmaDefaults {
  // The 27B model is the only one whose attention is scaled by d_model / n_heads instead of head_dim; it is known by
  // its depth, as in Google's own configuration files.
  int layers_of_27b;
  float logit_softcap;  // 0: none
  int sliding_window;   // 0: none
  int window_period;    // the last of so many layers has no window
};

Status configure_gemma(const ConfigReader& reader, const GemmaDefaults& defaults, ModelConfig& config);

}  // namespace s3d
