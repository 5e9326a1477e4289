#include "model/weights.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/index.h"
#include "model/test_model_file.h"

namespace s3d {
namespace {

Result<Model> load(const TestModelFile& file, const LoadProgress& progress = {}) {
  auto gguf = std::make_shared<const GgufFile>(file.open());
  auto config = read_model_config(*gguf);
  EXPECT_TRUE(config.ok()) << config.error().message;
  ThreadPool pool(2);
  return load_model(gguf, std::move(config).value(), pool, progress);
}

void expect_error(const TestModelFile& file, const std::string& part) {
  const auto model = load(file);
  ASSERT_FALSE(model.ok()) << part;
  EXPECT_EQ(model.error().message.find("test.gguf: "), 0u) << model.error().message;
  EXPECT_NE(model.error().message.find(part), std::string::npos) << model.error().message;
}

// True if `matrix` is what packing `rows` rows of the tensor from row `first` on gives.
bool holds(const Model& model, const PackedMatrix& matrix, const std::string& name, int64_t first, int64_t rows) {
  const Tensor* tensor = model.file->find_tensor(name);
  const std::byte* data = tensor->data + usize(first) * ggml_row_size(tensor->type, tensor->cols());
  const auto expected = PackedMatrix::pack(tensor->type, data, usize(rows), usize(tensor->cols()), nullptr);
  return expected.ok() && expected->bytes() == matrix.bytes() && expected->rows() == matrix.rows() &&
         expected->cols() == matrix.cols() && std::memcmp(expected->unit(0), matrix.unit(0), matrix.bytes()) == 0;
}

bool holds(const Model& model, const std::vector<float>& vector, const std::string& name) {
  const Tensor* tensor = model.file->find_tensor(name);
  return tensor->bytes == vector.size() * sizeof(float) && std::memcmp(tensor->data, vector.data(), tensor->bytes) == 0;
}

TEST(LoadModel, LlamaTensorsAreInTheirPlaces) {
  const auto model = load(TestModelFile("llama"));
  ASSERT_TRUE(model.ok()) << model.error().message;
  ASSERT_EQ(model->layers.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const LayerWeights& layer = model->layers[i];
    const std::string prefix = fmt::format("blk.{}.", i);
    EXPECT_TRUE(holds(*model, layer.attn_norm, prefix + "attn_norm.weight"));
    EXPECT_TRUE(holds(*model, layer.wq, prefix + "attn_q.weight", 0, 32));
    EXPECT_TRUE(holds(*model, layer.wk, prefix + "attn_k.weight", 0, 16));
    EXPECT_TRUE(holds(*model, layer.wv, prefix + "attn_v.weight", 0, 16));
    EXPECT_TRUE(holds(*model, layer.wo, prefix + "attn_output.weight", 0, 24));
    EXPECT_TRUE(holds(*model, layer.ffn_norm, prefix + "ffn_norm.weight"));
    EXPECT_TRUE(holds(*model, layer.w_gate, prefix + "ffn_gate.weight", 0, 40));
    EXPECT_TRUE(holds(*model, layer.w_up, prefix + "ffn_up.weight", 0, 40));
    EXPECT_TRUE(holds(*model, layer.w_down, prefix + "ffn_down.weight", 0, 24));
    EXPECT_TRUE(layer.bq.empty() && layer.q_norm.empty() && layer.attn_post_norm.empty());
  }
  EXPECT_TRUE(holds(*model, model->output_norm, "output_norm.weight"));
  EXPECT_TRUE(holds(*model, model->lm_head, "output.weight", 0, 20));
}

TEST(LoadModel, FamiliesHaveTheirOwnTensors) {
  const auto qwen2 = load(TestModelFile("qwen2"));
  ASSERT_TRUE(qwen2.ok()) << qwen2.error().message;
  EXPECT_TRUE(holds(*qwen2, qwen2->layers[1].bq, "blk.1.attn_q.bias"));
  EXPECT_TRUE(holds(*qwen2, qwen2->layers[1].bk, "blk.1.attn_k.bias"));
  EXPECT_TRUE(holds(*qwen2, qwen2->layers[1].bv, "blk.1.attn_v.bias"));
  const auto qwen3 = load(TestModelFile("qwen3"));
  ASSERT_TRUE(qwen3.ok()) << qwen3.error().message;
  EXPECT_TRUE(holds(*qwen3, qwen3->layers[1].q_norm, "blk.1.attn_q_norm.weight"));
  EXPECT_TRUE(holds(*qwen3, qwen3->layers[1].k_norm, "blk.1.attn_k_norm.weight"));
  const auto gemma3 = load(TestModelFile("gemma3"));
  ASSERT_TRUE(gemma3.ok()) << gemma3.error().message;
  EXPECT_TRUE(holds(*gemma3, gemma3->layers[1].attn_post_norm, "blk.1.post_attention_norm.weight"));
  EXPECT_TRUE(holds(*gemma3, gemma3->layers[1].ffn_post_norm, "blk.1.post_ffw_norm.weight"));
  EXPECT_TRUE(holds(*gemma3, gemma3->lm_head, "token_embd.weight", 0, 20));
}

TEST(LoadModel, FusedTensorsAreSplitByRows) {
  const auto model = load(TestModelFile("phi3"));
  ASSERT_TRUE(model.ok()) << model.error().message;
  const LayerWeights& layer = model->layers[1];
  EXPECT_TRUE(holds(*model, layer.wq, "blk.1.attn_qkv.weight", 0, 32));
  EXPECT_TRUE(holds(*model, layer.wk, "blk.1.attn_qkv.weight", 32, 16));
  EXPECT_TRUE(holds(*model, layer.wv, "blk.1.attn_qkv.weight", 48, 16));
  EXPECT_TRUE(holds(*model, layer.w_gate, "blk.1.ffn_up.weight", 0, 40));
  EXPECT_TRUE(holds(*model, layer.w_up, "blk.1.ffn_up.weight", 40, 40));
}

TEST(LoadModel, EmbedsRowsTimesScale) {
  const auto model = load(TestModelFile("gemma3"));
  ASSERT_TRUE(model.ok());
  std::vector<float> row(24);
  model->embed(19, row.data());
  std::vector<float> table(20 * 24);
  std::memcpy(table.data(), model->token_embedding->data, table.size() * sizeof(float));
  for (size_t i = 0; i < row.size(); ++i) EXPECT_EQ(row[i], table[19 * 24 + i] * model->config.embedding_scale);
}

TEST(LoadModel, ProgressEndsAtTheTotal) {
  for (const char* family : {"llama", "qwen2", "qwen3", "phi3", "gemma3", "olmo2"}) {
    size_t last = 0;
    size_t end = 0;
    const auto model = load(TestModelFile(family), [&](size_t done, size_t total) {
      EXPECT_GT(done, last);
      last = done;
      end = total;
    });
    ASSERT_TRUE(model.ok());
    EXPECT_EQ(last, end) << family;
    EXPECT_GT(model->packed_bytes(), model->lm_head.bytes());
  }
}

TEST(LoadModel, MissingTensorsAreNamed) {
  for (const char* missing : {"blk.1.attn_norm.weight", "blk.0.attn_q.weight", "blk.1.ffn_down.weight",
                              "blk.0.attn_q_norm.weight", "output_norm.weight"}) {
    TestModelFile file("qwen3");
    file.hook([&](std::string& name, auto&) { return name != missing; });
    expect_error(file, std::string("\"") + missing + "\"");
  }
}

TEST(LoadModel, WrongShapesAreNamed) {
  for (const char* wrong : {"blk.0.attn_norm.weight", "blk.1.attn_k.weight", "blk.0.ffn_up.weight", "output.weight"}) {
    for (const size_t dimension : {size_t{0}, size_t{1}}) {
      TestModelFile file("llama");
      file.hook([&](std::string& name, auto& shape) {
        if (name == wrong && dimension < shape.size()) shape[dimension] += 1;
        if (name == wrong && dimension >= shape.size()) shape.push_back(2);
        return true;
      });
      expect_error(file, std::string("\"") + wrong + "\" has the shape [");
    }
  }
}

TEST(LoadModel, UnsupportedTypesAreNamed) {
  TestModelFile matrix("llama");
  matrix.hook([](std::string& name, auto&) { return name != "output.weight"; }).with([](GgufTestWriter& writer) {
    writer.tensor("output.weight", GGML_TYPE_F64, {24, 20}, std::vector<std::byte>(24 * 20 * 8));
  });
  expect_error(matrix, "\"output.weight\" has type f64, supported are F32");
  TestModelFile vector("llama", {.d = 32});
  vector.hook([](std::string& name, auto&) { return name != "output_norm.weight"; }).with([](GgufTestWriter& writer) {
    writer.tensor("output_norm.weight", GGML_TYPE_Q8_0, {32}, std::vector<std::byte>(34));
  });
  expect_error(vector, "\"output_norm.weight\" has type q8_0");
}

TEST(LoadModel, UnreadTensorsAreRefused) {
  for (const char* name :
       {"blk.0.attn_output.bias", "blk.0.ffn_gate_exps.weight", "output.bias", "blk.2.attn_norm.weight"}) {
    TestModelFile file("llama");
    file.with([&](GgufTestWriter& writer) { writer.tensor_f32(name, {1}, {0}); });
    expect_error(file, std::string("\"") + name + "\" is not part of a \"llama\" model");
  }
  TestModelFile bias("qwen2");
  bias.hook([](std::string& name, auto&) { return name != "blk.1.attn_k.bias"; });
  expect_error(bias, "only 2 of the tensors");
}

}  // namespace
}  // namespace s3d
