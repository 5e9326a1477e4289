// What differs between model families. One small file a family (family_NAME.cc), listed in families.cc;
// docs/adding-a-family.md is the recipe. Internal to this folder.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "file/gguf.h"
#include "model/config.h"

namespace s3d {

// Metadata of one family: keys are given without the leading "<architecture>.".
// Errors name the file, the whole key, what was expected and what was found.
class ConfigReader {
 public:
  // Both references must outlive the reader.
  ConfigReader(const GgufFile& file, const std::string& architecture) : file_(file), architecture_(architecture) {}

  const GgufFile& file() const { return file_; }

  // An integer in [min, max]; the first is an error when the key is absent.
  Result<int> required_int(std::string_view key, int64_t min, int64_t max) const;
  Result<int> optional_int(std::string_view key, int fallback, int64_t min, int64_t max) const;

  // The same where a file may hold an array with one number for each of `layers` layers, all equal. Error: they differ.
  Result<int> required_layer_int(std::string_view key, int layers, int64_t min, int64_t max) const;
  Result<int> optional_layer_int(std::string_view key, int layers, int fallback, int64_t min, int64_t max) const;

  // Which layers have a sliding window: an array of booleans or integers, one for each of `layers` layers, or a number
  // n, by which the last of every n layers has none. `period`: n where the key is absent.
  Result<std::vector<bool>> window_layers(std::string_view key, int layers, int period) const;

  // A finite number in [min, max].
  Result<float> required_real(std::string_view key, double min, double max) const;
  Result<float> optional_real(std::string_view key, float fallback, double min, double max) const;

  Result<std::string> optional_string(std::string_view key, std::string fallback) const;

  // The values of a small tensor of floats (rope factors); empty if it is absent. Error: wrong length or type, or a
  // value that is not a positive finite number.
  Result<std::vector<float>> factors(std::string_view tensor_name, int length) const;

  // "FILE: TEXT"
  Error error(const std::string& text) const;

 private:
  std::string full_key(std::string_view key) const;
  Result<std::vector<int64_t>> array(std::string_view key) const;
  Result<int> in_range(std::string_view key, int64_t value, int64_t min, int64_t max) const;

  const GgufFile& file_;
  const std::string& architecture_;
};

// Reads rope_freqs.weight if it is there: the frequency divisors of Llama 3.1's scaling, worked out by the converter.
Status add_rope_freqs(const ConfigReader& reader, ModelConfig& config);

// Which tensors a layer has besides the common ones.
enum class QkvBias { kNone, kOptional };
struct LayerLayout {
  QkvBias qkv_bias = QkvBias::kNone;
  bool qk_norm = false;        // attn_q_norm, attn_k_norm
  bool fused_qkv = false;      // attn_qkv instead of attn_q, attn_k, attn_v
  bool fused_gate_up = false;  // ffn_up holds gate rows, then up rows
};

struct Family {
  std::string_view architecture;  // general.architecture
  LayerLayout layout;
  std::span<const std::string_view> extra_tensors;  // that configure() reads, e.g. rope_freqs.weight

  // Changes and completes `config`, in which read_model_config has filled what all families share (RoPE without
  // factors, SiLU, no windows, attention scale 1/sqrt(head_dim)). Sets rope_local where window layers have a RoPE of
  // their own, else leaves it alone.
  Status (*configure)(const ConfigReader& reader, ModelConfig& config);
};

extern const Family kFamilyLlama;
extern const Family kFamilyQwen2;
extern const Family kFamilyQwen3;
extern const Family kFamilyPhi3;
extern const Family kFamilyGemma3;
extern const Family kFamilyGemma2;
extern const Family kFamilyGranite;
extern const Family kFamilyMistral3;
extern const Family kFamilyOlmo2;

// All of them.
std::span<const Family* const> families();

// nullptr if unknown.
const Family* find_family(std::string_view architecture);

}  // namespace s3d
