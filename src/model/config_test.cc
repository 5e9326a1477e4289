#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>

#include "model/test_model_file.h"

namespace s3d {
namespace {

ModelConfig config_of(const TestModelFile& file) {
  auto config = read_model_config(file.open());
  EXPECT_TRUE(config.ok()) << config.error().message;
  return std::move(config).value();
}

// The error of reading the config; it must name the file and hold `part`.
void expect_error(const TestModelFile& file, const std::string& part) {
  const auto config = read_model_config(file.open());
  ASSERT_FALSE(config.ok()) << part;
  EXPECT_EQ(config.error().message.find("test.gguf: "), 0u) << config.error().message;
  EXPECT_NE(config.error().message.find(part), std::string::npos) << config.error().message;
}

TEST(ModelConfig, LlamaSizesAndDefaults) {
  const ModelConfig config = config_of(TestModelFile("llama"));
  EXPECT_EQ(config.family, "llama");
  EXPECT_EQ(config.name, "test model");
  EXPECT_EQ(config.n_layers, 2);
  EXPECT_EQ(config.d_model, 24);
  EXPECT_EQ(config.n_heads, 4);
  EXPECT_EQ(config.n_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.q_dim(), 32);
  EXPECT_EQ(config.kv_dim(), 16);
  EXPECT_EQ(config.d_ff, 40);
  EXPECT_EQ(config.vocab_size, 20);
  EXPECT_EQ(config.context_length, 128);
  EXPECT_FLOAT_EQ(config.norm_eps, 1e-5f);
  EXPECT_EQ(config.rope_style, RopeStyle::kInterleaved);
  EXPECT_EQ(config.rope.dims, 8);
  EXPECT_EQ(config.rope.base, 10000);
  EXPECT_EQ(config.rope.scale, 1);
  EXPECT_TRUE(config.rope.factors.empty());
  EXPECT_EQ(config.activation, Activation::kSilu);
  EXPECT_FLOAT_EQ(config.attention_scale, 1 / std::sqrt(8.0f));
  EXPECT_EQ(config.embedding_scale, 1);
  EXPECT_FALSE(config.tied_head);
  EXPECT_FALSE(config.is_local(1));
}

TEST(ModelConfig, HeadSizeDefaultsToShareOfWidth) {
  const TestModelSizes sizes{.d = 32, .heads = 4, .head_dim = 8};
  TestModelFile file("llama", sizes);
  file.without("attention.key_length").without("attention.value_length").without("attention.head_count_kv");
  const ModelConfig config = config_of(file);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.n_kv_heads, 4);
}

TEST(ModelConfig, LlamaRopeKeysAndFactors) {
  TestModelFile file("llama");
  file.with([](GgufTestWriter& writer) {
    writer.key_u32("llama.rope.dimension_count", 6);
    writer.key_f32("llama.rope.freq_base", 500000);
    writer.key_string("llama.rope.scaling.type", "linear");
    writer.key_f32("llama.rope.scaling.factor", 4);
    writer.tensor_f32("rope_freqs.weight", {3}, {1, 2, 8});
  });
  const ModelConfig config = config_of(file);
  EXPECT_EQ(config.rope.dims, 6);
  EXPECT_EQ(config.rope.base, 500000);
  EXPECT_EQ(config.rope.scale, 0.25f);
  EXPECT_EQ(config.rope.factors, (std::vector<float>{1, 2, 8}));
  EXPECT_EQ(config.rope_local.factors, config.rope.factors);
}

TEST(ModelConfig, OldLinearScalingKey) {
  TestModelFile file("llama");
  file.with([](GgufTestWriter& writer) { writer.key_f32("llama.rope.scale_linear", 2); });
  EXPECT_EQ(config_of(file).rope.scale, 0.5f);
}

// Right values: the formulas of transformers' modeling_rope_utils.py (_compute_yarn_parameters), worked out in Python
// for 16 dimensions, base 10000, factor 4, an original context of 128, beta 32 and 1.
TEST(ModelConfig, YarnScaling) {
  TestModelFile file("qwen2", {.head_dim = 16});
  file.with([](GgufTestWriter& writer) {
    writer.key_string("qwen2.rope.scaling.type", "yarn");
    writer.key_f32("qwen2.rope.scaling.factor", 4);
    writer.key_u32("qwen2.rope.scaling.original_context_length", 128);
  });
  const ModelConfig config = config_of(file);
  EXPECT_EQ(config.rope.scale, 1);
  EXPECT_FLOAT_EQ(config.rope.magnitude, 1 + 0.1f * std::log(4.0f));
  const std::vector<float> expected = {1, 1.3333333f, 2, 4, 4, 4, 4, 4};
  ASSERT_EQ(config.rope.factors.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_FLOAT_EQ(config.rope.factors[i], expected[i]) << i;
  EXPECT_EQ(config.rope_local.factors, config.rope.factors);
  file.with([](GgufTestWriter& writer) {
    writer.key_f32("qwen2.rope.scaling.yarn_beta_fast", 4);
    writer.key_f32("qwen2.rope.scaling.attn_factor", 0.5f);
  });
  EXPECT_FLOAT_EQ(config_of(file).rope.magnitude, 0.5f + 0.05f * std::log(4.0f));
}

// One number for each layer, in any width, where they are all the same.
TEST(ModelConfig, ArraysOfEqualNumbersAreOneNumber) {
  for (const char* key : {"attention.head_count", "attention.head_count_kv", "feed_forward_length"}) {
    const ModelConfig usual = config_of(TestModelFile("llama"));
    const bool heads = std::string(key) == "attention.head_count", ff = std::string(key) == "feed_forward_length";
    const auto value = static_cast<uint32_t>(heads ? usual.n_heads : ff ? usual.d_ff : usual.n_kv_heads);
    const auto with_array = [&](std::vector<uint32_t> values) {
      TestModelFile file("llama");
      file.without(key).with(
          [=](GgufTestWriter& w) { w.key_array<uint32_t>(std::string("llama.") + key, GGUF_TYPE_UINT32, values); });
      return file;
    };
    const ModelConfig config = config_of(with_array({value, value}));
    EXPECT_EQ(config.n_heads, usual.n_heads);
    EXPECT_EQ(config.n_kv_heads, usual.n_kv_heads);
    EXPECT_EQ(config.d_ff, usual.d_ff);
    expect_error(with_array({value, value * 2}), "in one layer and");
    expect_error(with_array({value}), "has 1 values, expected one, or one for each of the 2 layers");
    expect_error(with_array({}), "has 0 values");
    expect_error(with_array({0, 0}), "is 0, expected 1");
  }
}

TEST(ModelConfig, Qwen) {
  const ModelConfig qwen2 = config_of(TestModelFile("qwen2"));
  EXPECT_EQ(qwen2.rope_style, RopeStyle::kSplitHalves);
  EXPECT_FALSE(qwen2.post_norms);
  const ModelConfig qwen3 = config_of(TestModelFile("qwen3"));
  EXPECT_EQ(qwen3.rope_style, RopeStyle::kSplitHalves);
  EXPECT_EQ(qwen3.head_dim, 8);
}

TEST(ModelConfig, HeadIsTiedWithoutOutputWeight) {
  TestModelFile file("qwen2");
  file.hook([](std::string& name, auto&) { return name != "output.weight"; });
  EXPECT_TRUE(config_of(file).tied_head);
}

void add_long_rope(GgufTestWriter& writer) {
  writer.key_u32("phi3.rope.scaling.original_context_length", 32);
  writer.key_u32("phi3.attention.sliding_window", 10);
  writer.tensor_f32("rope_factors_long.weight", {4}, {5, 6, 7, 8});
  writer.tensor_f32("rope_factors_short.weight", {4}, {1, 2, 3, 4});
}

TEST(ModelConfig, Phi3HasFactorsForShortAndForLongTexts) {
  TestModelFile file("phi3");
  file.with(add_long_rope);
  const std::vector<float> long_factors = {5, 6, 7, 8};
  const std::vector<float> short_factors = {1, 2, 3, 4};
  const ModelConfig config = config_of(file);
  EXPECT_EQ(config.short_context, 32);
  EXPECT_EQ(config.rope_set(32), RopeSet::kShort);
  EXPECT_EQ(config.rope_set(33), RopeSet::kLong);
  EXPECT_EQ(config.rope.factors_of(config.rope_set(32)), short_factors);
  EXPECT_EQ(config.rope.factors_of(config.rope_set(33)), long_factors);
  EXPECT_EQ(config.rope_local.factors_of(RopeSet::kLong), long_factors);
  EXPECT_EQ(config_of(TestModelFile("llama")).rope_set(1 << 20), RopeSet::kShort);
}

TEST(ModelConfig, Phi3MagnitudeAndWindow) {
  TestModelFile file("phi3");
  file.with(add_long_rope);
  const ModelConfig config = config_of(file);
  const double expected = std::sqrt(1 + std::log(128.0 / 32) / std::log(32.0));
  EXPECT_FLOAT_EQ(config.rope.magnitude, static_cast<float>(expected));
  EXPECT_FLOAT_EQ(config.rope_local.magnitude, static_cast<float>(expected));
  EXPECT_EQ(config.sliding_window, 10);
  EXPECT_TRUE(config.is_local(0));
  EXPECT_TRUE(config.is_local(1));
  file.with([](GgufTestWriter& writer) { writer.key_f32("phi3.rope.scaling.attn_factor", 1.25f); });
  EXPECT_EQ(config_of(file).rope.magnitude, 1.25f);
}

TEST(ModelConfig, Phi3WithoutLongRope) {
  const ModelConfig config = config_of(TestModelFile("phi3"));
  EXPECT_EQ(config.rope.magnitude, 1);
  EXPECT_TRUE(config.rope.factors.empty());
  EXPECT_EQ(config.sliding_window, 0);
  EXPECT_FALSE(config.is_local(0));
  TestModelFile half("phi3");
  half.with([](GgufTestWriter& writer) { writer.tensor_f32("rope_factors_long.weight", {4}, {1, 1, 1, 1}); });
  expect_error(half, "expected both");
}

TEST(ModelConfig, Gemma3) {
  TestModelFile file("gemma3", {.layers = 8});
  file.with([](GgufTestWriter& writer) {
    writer.key_u32("gemma3.attention.sliding_window", 16);
    writer.key_f32("gemma3.rope.freq_base", 1e6f);
    writer.key_string("gemma3.rope.scaling.type", "linear");
    writer.key_f32("gemma3.rope.scaling.factor", 8);
  });
  const ModelConfig config = config_of(file);
  EXPECT_EQ(config.activation, Activation::kGeluTanh);
  EXPECT_FLOAT_EQ(config.embedding_scale, std::sqrt(24.0f));
  EXPECT_TRUE(config.post_norms);
  EXPECT_TRUE(config.tied_head);
  EXPECT_EQ(config.rope.base, 1e6f);
  EXPECT_EQ(config.rope.scale, 0.125f);
  EXPECT_EQ(config.rope_local.base, 10000);
  EXPECT_EQ(config.rope_local.scale, 1);
  EXPECT_EQ(config.sliding_window, 16);
  EXPECT_EQ(config.local_layer, (std::vector<bool>{true, true, true, true, true, false, true, true}));
  EXPECT_FLOAT_EQ(config.attention_scale, 1 / std::sqrt(8.0f));
}

// Older files name neither base of RoPE.
TEST(ModelConfig, Gemma3HasItsOwnBases) {
  TestModelFile file("gemma3");
  file.with([](GgufTestWriter& w) { w.key_u32("gemma3.attention.sliding_window", 16); });
  const ModelConfig config = config_of(file);
  EXPECT_EQ(config.rope.base, 1e6f);
  EXPECT_EQ(config.rope_local.base, 10000);
}

TEST(ModelConfig, Gemma3WindowPatterns) {
  const auto layers_of = [](const std::function<void(GgufTestWriter&)>& pattern) {
    TestModelFile file("gemma3", {.layers = 4});
    file.with([](GgufTestWriter& w) { w.key_u32("gemma3.attention.sliding_window", 16); }).with(pattern);
    return file;
  };
  const std::string key = "gemma3.attention.sliding_window_pattern";
  const std::vector<bool> wanted = {true, false, false, true};
  EXPECT_EQ(config_of(layers_of([&](GgufTestWriter& w) {
              w.key_array<uint8_t>(key, GGUF_TYPE_BOOL, {1, 0, 0, 1});
            })).local_layer,
            wanted);
  EXPECT_EQ(config_of(layers_of([&](GgufTestWriter& w) {
              w.key_array<uint32_t>(key, GGUF_TYPE_UINT32, {1, 0, 0, 1});
            })).local_layer,
            wanted);
  EXPECT_EQ(config_of(layers_of([&](GgufTestWriter& w) { w.key_u32(key, 2); })).local_layer,
            (std::vector<bool>{true, false, true, false}));
  expect_error(layers_of([&](GgufTestWriter& w) { w.key_array<uint8_t>(key, GGUF_TYPE_BOOL, {1}); }),
               "has 1 values, expected one for each of the 4");
}

TEST(ModelConfig, Gemma3Of27BHasItsOwnAttentionScale) {
  const ModelConfig config = config_of(TestModelFile("gemma3", {.layers = 62, .vocab = 4}));
  EXPECT_FLOAT_EQ(config.attention_scale, 1 / std::sqrt(24.0f / 4));
}

TEST(ModelConfig, Gemma2) {
  TestModelFile file("gemma2", {.layers = 4});
  file.with([](GgufTestWriter& w) { w.key_f32("gemma2.attn_logit_softcapping", 40); });
  const ModelConfig config = config_of(file);
  EXPECT_EQ(config.activation, Activation::kGeluTanh);
  EXPECT_TRUE(config.post_norms);
  EXPECT_FLOAT_EQ(config.embedding_scale, std::sqrt(24.0f));
  EXPECT_EQ(config.attention_softcap, 40);
  EXPECT_EQ(config.logit_softcap, 30);
  EXPECT_EQ(config.sliding_window, 4096);
  EXPECT_EQ(config.local_layer, (std::vector<bool>{true, false, true, false}));
  const ModelConfig large = config_of(TestModelFile("gemma2", {.layers = 46, .vocab = 4}));
  EXPECT_FLOAT_EQ(large.attention_scale, 1 / std::sqrt(24.0f / 4));
}

TEST(ModelConfig, Granite) {
  TestModelFile file("granite");
  file.with([](GgufTestWriter& w) {
    w.key_f32("granite.logit_scale", 8);
    w.key_f32("granite.embedding_scale", 12);
    w.key_f32("granite.residual_scale", 0.25f);
    w.key_f32("granite.attention.scale", 0.015625f);
  });
  const ModelConfig config = config_of(file);
  EXPECT_EQ(config.rope_style, RopeStyle::kInterleaved);
  EXPECT_FLOAT_EQ(config.embedding_scale, 48);  // 12 / 0.25
  EXPECT_FLOAT_EQ(config.norm_eps, 16e-5f);     // 1e-5 / 0.25²
  EXPECT_FLOAT_EQ(config.logit_scale, 0.125f);
  EXPECT_FLOAT_EQ(config.attention_scale, 0.015625f);
  EXPECT_EQ(config.rope.dims, 8);
  file.with([](GgufTestWriter& w) { w.key_bool("granite.rope.scaling.finetuned", false); });
  EXPECT_EQ(config_of(file).rope.dims, 0);
  expect_error(TestModelFile("granite"), "\"granite.logit_scale\" is missing");
}

// Beyond the original context this model's attention gets sharper with the position, which is not computed.
TEST(ModelConfig, Mistral3EndsWhereItsAttentionChanges) {
  EXPECT_EQ(config_of(TestModelFile("mistral3")).context_length, 128);
  TestModelFile file("mistral3");
  file.with([](GgufTestWriter& w) { w.key_f32("mistral3.attention.temperature_scale", 0.1f); });
  expect_error(file, "original_context_length\" is missing");
  file.with([](GgufTestWriter& w) { w.key_u32("mistral3.rope.scaling.original_context_length", 64); });
  EXPECT_EQ(config_of(file).context_length, 64);
}

// OLMo 3: windows in three of four layers, YaRN in the others alone.
TEST(ModelConfig, Olmo2) {
  TestModelFile file("olmo2", {.layers = 4});
  ModelConfig config = config_of(file);
  EXPECT_FALSE(config.pre_norms);
  EXPECT_TRUE(config.post_norms);
  EXPECT_EQ(config.q_norm_size(), 32);
  EXPECT_EQ(config.k_norm_size(), 16);
  EXPECT_TRUE(config.local_layer.empty());
  file.with([](GgufTestWriter& w) {
    w.key_u32("olmo2.attention.sliding_window", 64);
    w.key_string("olmo2.rope.scaling.type", "yarn");
    w.key_f32("olmo2.rope.scaling.factor", 8);
  });
  config = config_of(file);
  EXPECT_EQ(config.local_layer, (std::vector<bool>{true, true, true, false}));
  EXPECT_FALSE(config.rope.factors.empty());
  EXPECT_NE(config.rope.magnitude, 1);
  EXPECT_EQ(config.rope_local, (RopeConfig{.dims = 8, .base = 10000}));
}

// Phi-4-mini: three quarters of a head are rotated.
TEST(ModelConfig, Phi3WithAPartOfTheHeadRotated) {
  TestModelFile file("phi3");
  file.with([](GgufTestWriter& w) {
    w.key_u32("phi3.rope.dimension_count", 6);
    w.key_u32("phi3.attention.sliding_window", 0);
    w.tensor_f32("rope_factors_long.weight", {3}, {5, 6, 7});
    w.tensor_f32("rope_factors_short.weight", {3}, {1, 2, 3});
  });
  const ModelConfig config = config_of(file);
  EXPECT_EQ(config.rope.dims, 6);
  EXPECT_EQ(config.rope.long_factors.size(), 3u);
  EXPECT_FALSE(config.is_local(0));
}

TEST(ModelConfig, UnknownFamilyListsTheKnownOnes) {
  expect_error(TestModelFile("mamba"),
               "\"mamba\" is not supported; known families: llama, qwen2, qwen3, phi3, gemma3, "
               "gemma2, granite, mistral3, olmo2");
  GgufTestWriter writer;
  const auto config = read_model_config(*GgufFile::from_bytes(writer.image(), "x.gguf"));
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().message.find("general.architecture"), std::string::npos);
}

TEST(ModelConfig, MissingKeysAreNamed) {
  for (const char* key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                          "attention.head_count", "attention.layer_norm_rms_epsilon"}) {
    TestModelFile file("llama");
    file.without(key);
    expect_error(file, std::string("\"llama.") + key + "\" is missing");
  }
}

TEST(ModelConfig, AbsurdNumbersAreRefused) {
  for (const char* key :
       {"block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
        "attention.head_count_kv", "attention.key_length", "attention.value_length"}) {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1} << 31, uint64_t{1} << 63, ~uint64_t{0}}) {
      TestModelFile file("llama");
      file.without(key).with([&](GgufTestWriter& w) { w.key_u64(std::string("llama.") + key, value); });
      expect_error(file, std::string("\"llama.") + key);
    }
  }
}

TEST(ModelConfig, BadRealsAreRefused) {
  for (const float value : {-1.0f, 2.0f, std::numeric_limits<float>::quiet_NaN()}) {
    TestModelFile file("llama");
    file.without("attention.layer_norm_rms_epsilon").with([&](GgufTestWriter& w) {
      w.key_f32("llama.attention.layer_norm_rms_epsilon", value);
    });
    expect_error(file, "layer_norm_rms_epsilon");
  }
  TestModelFile base("llama");
  base.with([](GgufTestWriter& w) { w.key_f32("llama.rope.freq_base", 0); });
  expect_error(base, "rope.freq_base");
}

TEST(ModelConfig, UnsupportedVariantsAreRefused) {
  TestModelFile experts("llama");
  experts.with([](GgufTestWriter& w) { w.key_u32("llama.expert_count", 8); });
  expect_error(experts, "mixture of 8 experts");
  TestModelFile scaling("qwen2");
  scaling.with([](GgufTestWriter& w) { w.key_string("qwen2.rope.scaling.type", "ntk"); });
  expect_error(scaling, "\"ntk\" is not supported (none, linear, longrope and yarn are)");
  TestModelFile values("qwen3");
  values.without("attention.value_length").with([](GgufTestWriter& w) {
    w.key_u32("qwen3.attention.value_length", 4);
  });
  expect_error(values, "different sizes");
  TestModelFile groups("llama");
  groups.without("attention.head_count_kv").with([](GgufTestWriter& w) {
    w.key_u32("llama.attention.head_count_kv", 3);
  });
  expect_error(groups, "4 heads cannot share 3");
  TestModelFile odd("llama");
  odd.with([](GgufTestWriter& w) { w.key_u32("llama.rope.dimension_count", 7); });
  expect_error(odd, "even number");
}

TEST(ModelConfig, BadTensorsAreRefused) {
  TestModelFile none("llama");
  none.hook([](std::string& name, auto&) { return name != "token_embd.weight"; });
  expect_error(none, "\"token_embd.weight\" is missing");
  TestModelFile width("llama");
  width.hook([](std::string& name, auto& shape) {
    if (name == "token_embd.weight") shape[0] = 23;
    return true;
  });
  expect_error(width, "rows of 23 values");
  TestModelFile length("llama");
  length.with([](GgufTestWriter& w) { w.tensor_f32("rope_freqs.weight", {3}, {1, 2, 3}); });
  expect_error(length, "expected [4]");
  TestModelFile zero("llama");
  zero.with([](GgufTestWriter& w) { w.tensor_f32("rope_freqs.weight", {4}, {1, 2, 0, 1}); });
  expect_error(zero, "expected positive numbers");
}

TEST(ModelConfig, RealSmolLm2) {
  const char* cache = std::getenv("S3D_CACHE");
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::string folder =
      cache ? cache : (xdg ? std::string(xdg) : std::string(home ? home : "") + "/.cache") + "/s3d";
  const std::string path = folder + "/models/smollm2-135m.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->tensors().size(), 272u);
  const auto config = read_model_config(*file);
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->n_layers, 30);
  EXPECT_EQ(config->d_model, 576);
  EXPECT_EQ(config->n_heads, 9);
  EXPECT_EQ(config->n_kv_heads, 3);
  EXPECT_EQ(config->d_ff, 1536);
  EXPECT_EQ(config->vocab_size, 49152);
  EXPECT_EQ(config->context_length, 8192);
  EXPECT_EQ(config->rope.base, 100000);
  EXPECT_EQ(config->rope.dims, 64);
  EXPECT_TRUE(config->tied_head);
}

}  // namespace
}  // namespace s3d
