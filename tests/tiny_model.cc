#include "tiny_model.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>
#include <vector>

#include "base/check.h"
#include "base/index.h"
#include "file/gguf_test_writer.h"

namespace s3d {
namespace {

constexpr int kModel = 256, kHeads = 4, kKvHeads = 2, kHeadDim = 64, kVocab = 300;

class Builder {
 public:
  explicit Builder(const TinyModelOptions& options) : options_(options), random_(options.seed) {}

  std::string build() {
    metadata();
    const bool tied = gemma() || family("qwen2");
    matrix("token_embd", kVocab, kModel, tied ? 1.0F : std::sqrt(float{kModel}));
    if (!tied) matrix("output", kVocab, kModel, 2.0F);
    norm("output_norm", kModel);
    rope_tensors();
    for (int layer = 0; layer < layers(); ++layer) block(fmt::format("blk.{}.", layer));
    const std::vector<std::byte> image = file_.image();
    return {reinterpret_cast<const char*>(image.data()), image.size()};
  }

 private:
  bool family(std::string_view name) const { return options_.family == name; }
  bool olmo2() const { return family("olmo2"); }
  bool gemma() const { return family("gemma3") || family("gemma2"); }
  int feed_forward() const { return gemma() ? 256 : 512; }
  int layers() const {
    if (options_.layers > 0) return options_.layers;
    if (olmo2()) return 4;  // with windows in all but the last
    return family("gemma3") ? 7 : 2;
  }

  void key(std::string_view name, int value) {
    file_.key_u32(fmt::format("{}.{}", options_.family, name), static_cast<uint32_t>(value));
  }
  void key(std::string_view name, float value) { file_.key_f32(fmt::format("{}.{}", options_.family, name), value); }

  void metadata() {
    file_.key_string("general.architecture", options_.family);
    key("context_length", options_.context);
    key("embedding_length", kModel);
    key("block_count", layers());
    key("feed_forward_length", feed_forward());
    key("attention.head_count", kHeads);
    key("attention.head_count_kv", kKvHeads);
    key("attention.key_length", kHeadDim);
    key("attention.value_length", kHeadDim);
    key("attention.layer_norm_rms_epsilon", 1e-6F);
    key("rope.freq_base", family("gemma3") ? 1e6F : 1e4F);
    if (gemma() || olmo2() || family("phi3")) key("attention.sliding_window", 8);
    if (family("gemma2")) key("attn_logit_softcapping", 2.0F);  // low, so that it matters
    if (family("granite")) {
      key("embedding_scale", 3.0F);
      key("residual_scale", 0.25F);
      key("attention.scale", 0.2F);
      key("logit_scale", 4.0F);
    }
    if (family("mistral3") || olmo2()) {
      file_.key_string(fmt::format("{}.rope.scaling.type", options_.family), "yarn");
      key("rope.scaling.factor", 4.0F);
      key("rope.scaling.original_context_length", options_.context / 4);
    }
    if (family("phi3")) key("rope.scaling.original_context_length", options_.context / 4);
    if (family("gemma3")) {
      file_.key_string("gemma3.rope.scaling.type", "linear");
      key("rope.scaling.factor", 8.0F);
    }
  }

  void rope_tensors() {
    std::vector<float> factors(kHeadDim / 2);
    for (size_t i = 0; i < factors.size(); ++i) factors[i] = 1 + 0.25F * static_cast<float>(i);
    if (family("llama")) file_.tensor_f32("rope_freqs.weight", {factors.size()}, factors);
    if (!family("phi3")) return;
    file_.tensor_f32("rope_factors_long.weight", {factors.size()}, factors);
    file_.tensor_f32("rope_factors_short.weight", {factors.size()}, std::vector<float>(factors.size(), 1.0F));
  }

  void block(const std::string& blk) {
    const bool fused = family("phi3"), post_norms = gemma() || olmo2();
    const int q = kHeads * kHeadDim, kv = kKvHeads * kHeadDim;
    if (!olmo2()) norm(blk + "attn_norm", kModel);
    if (fused) {
      matrix(blk + "attn_qkv", q + 2 * kv, kModel);
    } else {
      for (const auto& [part, rows] : {std::pair{"q", q}, {"k", kv}, {"v", kv}}) {
        matrix(fmt::format("{}attn_{}", blk, part), rows, kModel);
        if (family("qwen2")) vector(fmt::format("{}attn_{}.bias", blk, part), rows, 0.0F, 0.5F);
      }
    }
    if (family("qwen3") || family("gemma3")) {
      norm(blk + "attn_q_norm", kHeadDim);
      norm(blk + "attn_k_norm", kHeadDim);
    }
    if (olmo2()) {
      norm(blk + "attn_q_norm", q);
      norm(blk + "attn_k_norm", kv);
    }
    matrix(blk + "attn_output", kModel, q);
    if (post_norms) norm(blk + "post_attention_norm", kModel);
    if (!olmo2()) norm(blk + "ffn_norm", kModel);
    if (!fused) matrix(blk + "ffn_gate", feed_forward(), kModel);
    matrix(blk + "ffn_up", fused ? 2 * feed_forward() : feed_forward(), kModel);
    matrix(blk + "ffn_down", kModel, feed_forward());
    if (post_norms) norm(blk + "post_ffw_norm", kModel);
  }

  // Box and Muller's formula: std::normal_distribution differs between libraries.
  float normal() {
    const double u = (static_cast<double>(random_() >> 11) + 0.5) * 0x1p-53;
    const double v = static_cast<double>(random_() >> 11) * 0x1p-53;
    return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v));
  }

  void vector(const std::string& name, int size, float mean, float deviation) {
    std::vector<float> values(usize(size));
    for (float& value : values) value = mean + deviation * normal();
    file_.tensor_f32(name, {values.size()}, values);
  }
  void norm(const std::string& name, int size) { vector(name + ".weight", size, 1.0F, 0.2F); }

  void matrix(const std::string& name, int rows, int cols, float gain = 1.3F) {
    std::vector<float> values(usize(rows) * usize(cols));
    for (float& value : values) value = gain / std::sqrt(static_cast<float>(cols)) * normal();
    std::vector<std::byte> bytes(usize(rows) * ggml_row_size(options_.type, cols));
    ggml_quantize_chunk(options_.type, values.data(), bytes.data(), 0, rows, cols, nullptr);
    file_.tensor(name + ".weight", options_.type, {static_cast<uint64_t>(cols), static_cast<uint64_t>(rows)}, bytes);
  }

  TinyModelOptions options_;
  std::mt19937_64 random_;
  GgufTestWriter file_;
};

}  // namespace

std::string tiny_model_image(const TinyModelOptions& options) {
  return Builder(options).build();
}

std::string write_tiny_model(const TinyModelOptions& options) {
  // The test's name keeps programs apart that run at the same time.
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  std::string test = info == nullptr ? "all" : fmt::format("{}.{}", info->test_suite_name(), info->name());
  for (char& c : test) c = c == '/' ? '_' : c;
  const std::string path = fmt::format("{}s3d-{}-{}-{}-{}-{}-{}.gguf", testing::TempDir(), test, options.family,
                                       ggml_type_name(options.type), options.seed, options.context, options.layers);
  const std::string image = tiny_model_image(options);
  std::ofstream out(path, std::ios::binary);
  out.write(image.data(), static_cast<std::streamsize>(image.size()));
  out.close();
  S3D_CHECK(out.good(), "cannot write " + path);
  return path;
}

}  // namespace s3d
