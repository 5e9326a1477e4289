// The reference's own logic: who sees whom, which layers run, what is refused. That its numbers are right is shown by
// tests/families_test.cc, against other programs.
#include "backend/reference/reference_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "file/gguf_test_writer.h"

namespace s3d {
namespace {

std::shared_ptr<const GgufFile> open_file(const std::string& path) {
  auto file = GgufFile::open(path);
  EXPECT_TRUE(file.ok()) << file.error().message;
  return std::make_shared<const GgufFile>(std::move(file).value());
}

ReferenceModel load_tiny(const std::string& name) {
  const auto file = open_file(std::string(S3D_SOURCE_DIR) + "/tests/data/models/" + name);
  auto config = read_model_config(*file);
  EXPECT_TRUE(config.ok()) << config.error().message;
  auto reference = ReferenceModel::load(file, std::move(config).value());
  EXPECT_TRUE(reference.ok()) << reference.error().message;
  return std::move(reference).value();
}

std::vector<double> logits_of(const ReferenceModel& reference, std::span<const Row> rows, int row,
                              std::span<const LayerSet> layers = {}, int threads = 2) {
  ThreadPool pool(threads);
  const auto out = reference.run(rows, layers, std::vector<int>{row}, pool);
  EXPECT_TRUE(out.ok()) << out.error().message;
  return out->logits;
}

std::vector<Row> chain(std::vector<TokenId> tokens) {
  std::vector<Row> rows;
  append_chain(rows, tokens);
  return rows;
}

TEST(ReferenceModel, ARowSeesItsAncestorsOnly) {
  const ReferenceModel reference = load_tiny("gemma3-f32.gguf");
  std::vector<Row> tree = chain({5, 6, 7, 8});                                      // rows 0 to 3
  append_chain(tree, std::vector<int32_t>{20, 21}, /*parent=*/3, /*position=*/4);   // rows 4, 5
  append_chain(tree, std::vector<int32_t>{30, 31}, /*parent=*/3, /*position=*/4);   // rows 6, 7
  append_chain(tree, std::vector<int32_t>{40, 41}, /*parent=*/-1, /*position=*/0);  // rows 8, 9: another sequence
  append_chain(tree, std::vector<int32_t>{32}, /*parent=*/6, /*position=*/5);       // row 10
  EXPECT_EQ(logits_of(reference, tree, 5), logits_of(reference, chain({5, 6, 7, 8, 20, 21}), 5));
  EXPECT_EQ(logits_of(reference, tree, 7), logits_of(reference, chain({5, 6, 7, 8, 30, 31}), 5));
  EXPECT_EQ(logits_of(reference, tree, 9), logits_of(reference, chain({40, 41}), 1));
  EXPECT_EQ(logits_of(reference, tree, 10), logits_of(reference, chain({5, 6, 7, 8, 30, 32}), 5));
}

TEST(ReferenceModel, ThreadsDoNotMatter) {
  const ReferenceModel reference = load_tiny("llama-q4_k.gguf");
  const std::vector<Row> rows = chain({5, 6, 7, 8, 9});
  EXPECT_EQ(logits_of(reference, rows, 4, {}, 1), logits_of(reference, rows, 4, {}, 3));
}

TEST(ReferenceModel, PositionsAreTheRowsOwn) {
  const ReferenceModel reference = load_tiny("llama-f32.gguf");
  std::vector<Row> moved = chain({5, 6, 7});
  for (Row& row : moved) row.position += 11;
  const std::vector<double> there = logits_of(reference, moved, 2), here = logits_of(reference, chain({5, 6, 7}), 2);
  for (size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(there[i], here[i], 1e-9) << "RoPE is relative";
  moved[2].position += 1;
  EXPECT_NE(logits_of(reference, moved, 2), there);
}

TEST(ReferenceModel, DraftRowsSkipTheMiddleLayers) {
  const ReferenceModel reference = load_tiny("gemma3-f32.gguf");  // 7 layers
  std::vector<Row> rows = chain({5, 6, 7, 8, 9});
  std::vector<LayerSet> layers(5, LayerSet{7, 0});
  const std::vector<double> full = logits_of(reference, rows, 4);
  EXPECT_EQ(logits_of(reference, rows, 4, layers), full);
  layers[3] = layers[4] = LayerSet{2, 2};
  const std::vector<double> draft = logits_of(reference, rows, 4, layers);
  EXPECT_NE(draft, full);
  EXPECT_EQ(logits_of(reference, rows, 2, layers), logits_of(reference, rows, 2)) << "context rows are as they were";
  layers[4] = LayerSet{4, 3};
  const std::vector<double> after_draft = logits_of(reference, rows, 4, layers);
  rows[3].token = 10;
  EXPECT_NE(logits_of(reference, rows, 4, layers), after_draft) << "draft rows are seen in the layers that they run";
  layers[3] = LayerSet{0, 0};
  const std::vector<double> unseen = logits_of(reference, rows, 4, layers);
  rows[3].token = 8;
  EXPECT_EQ(logits_of(reference, rows, 4, layers), unseen) << "and not seen in those that they do not run";
}

TEST(ReferenceModel, RefusesATokenOutsideTheVocabulary) {
  const ReferenceModel reference = load_tiny("llama-f32.gguf");
  ThreadPool pool(1);
  const auto out = reference.run(chain({5, 106}), {}, std::vector<int>{1}, pool);
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().message, "token 106 is outside the vocabulary of 106 tokens");
}

// A llama of one layer, two dimensions and three tokens, whose layer does nothing when its matrices are zero.
class HandMade : public testing::Test {
 protected:
  void SetUp() override {
    path =
        testing::TempDir() + "s3d-reference-" + testing::UnitTest::GetInstance()->current_test_info()->name() + ".gguf";
    file.key_string("general.architecture", "llama");
    for (const char* key : {"block_count", "attention.head_count"}) file.key_u32(std::string("llama.") + key, 1);
    for (const char* key : {"embedding_length", "feed_forward_length"}) file.key_u32(std::string("llama.") + key, 2);
    file.key_u32("llama.context_length", 8);
    file.key_f32("llama.attention.layer_norm_rms_epsilon", 0.0F);
    file.tensor_f32("token_embd.weight", {2, 3}, {3, 4, 1, 0, 0, -2});
    file.tensor_f32("output_norm.weight", {2}, {1, 10});
    file.tensor_f32("output.weight", {2, 3}, {1, 0, 0, 1, 1, 1});
    for (const char* name : {"attn_norm", "ffn_norm"}) layer_tensor(name, {2}, {1, 1});
    for (const char* name : {"attn_q", "attn_k"}) layer_tensor(name, {2, 2}, {0, 0, 0, 0});
    for (const char* name : {"ffn_gate", "ffn_up", "ffn_down"}) layer_tensor(name, {2, 2}, {0, 0, 0, 0});
  }

  void layer_tensor(const std::string& name, const std::vector<uint64_t>& shape, const std::vector<float>& values) {
    file.tensor_f32("blk.0." + name + ".weight", shape, values);
  }

  Result<ReferenceModel> load() {
    const std::vector<std::byte> image = file.image();
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
    const auto opened = open_file(path);
    S3D_ASSIGN(ModelConfig config, read_model_config(*opened));
    return ReferenceModel::load(opened, std::move(config));
  }

  std::string path;
  GgufTestWriter file;
};

TEST_F(HandMade, AttentionIsTheMeanOfTheValuesWhenAllScoresAreEqual) {
  layer_tensor("attn_v", {2, 2}, {1, 0, 0, 1});
  layer_tensor("attn_output", {2, 2}, {2, 0, 0, 2});
  const auto reference = load();
  ASSERT_TRUE(reference.ok()) << reference.error().message;
  // Normed: (3, 4) / sqrt(12.5) and (1, 0) / sqrt(0.5); their mean, doubled, is added to (1, 0).
  const double x = 1 + 3 / std::sqrt(12.5) + 1 / std::sqrt(0.5), y = 4 / std::sqrt(12.5);
  const double rms = std::sqrt((x * x + y * y) / 2);
  const std::vector<double> logits = logits_of(*reference, chain({0, 1}), 1);
  EXPECT_NEAR(logits[0], x / rms, 1e-12);
  EXPECT_NEAR(logits[1], 10 * y / rms, 1e-12);
  EXPECT_NEAR(logits[2], (x + 10 * y) / rms, 1e-12);
}

TEST_F(HandMade, AMissingTensorIsNamed) {
  layer_tensor("attn_v", {2, 2}, {1, 0, 0, 1});
  const auto reference = load();
  ASSERT_FALSE(reference.ok());
  EXPECT_NE(reference.error().message.find("blk.0.attn_output.weight"), std::string::npos) << reference.error().message;
}

TEST_F(HandMade, AWrongShapeIsNamed) {
  layer_tensor("attn_v", {2, 2}, {1, 0, 0, 1});
  layer_tensor("attn_output", {2, 3}, {1, 0, 0, 1, 0, 0});
  const auto reference = load();
  ASSERT_FALSE(reference.ok());
  EXPECT_NE(reference.error().message.find("is [3, 2], expected [2, 2]"), std::string::npos)
      << reference.error().message;
}

}  // namespace
}  // namespace s3d
