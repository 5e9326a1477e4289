// OLMo 2 and 3: no norm before a sublayer, one behind it; norms on Q and K over all heads together. OLMo 3 has windows
// in three of four layers, and YaRN in the others only.
#include "model/family.h"

namespace s3d {
namespace {

Status configure_olmo2(const ConfigReader& reader, ModelConfig& config) {
  config.rope_style = RopeStyle::kSplitHalves;
  config.pre_norms = false;
  config.post_norms = true;
  config.wide_qk_norm = true;
  S3D_ASSIGN(config.sliding_window, reader.optional_int("attention.sliding_window", 0, 0, 1 << 26));
  if (config.sliding_window == 0) return Ok();
  S3D_ASSIGN(config.local_layer, reader.window_layers("attention.sliding_window_pattern", config.n_layers, 4));
  S3D_ASSIGN(const float base, reader.optional_real("rope.freq_base_swa", config.rope.base, 1, 1e12));
  config.rope_local = {.dims = config.rope.dims, .base = base};  // no scaling of any kind
  return Ok();
}

}  // namespace

constexpr Family kFamilyOlmo2 = {"olmo2", {.qk_norm = true}, {}, configure_olmo2};

}  // namespace s3d
