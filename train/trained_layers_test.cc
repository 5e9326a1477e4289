#include "train/trained_layers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "file/gguf_test_writer.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class TrainedLayersTest : public testing::TestWithParam<ggml_type> {
 protected:
  void SetUp() override {
    model_ = write_tiny_model({.family = "llama", .type = GetParam(), .layers = 3});
    out_ = model_ + ".new";
    auto base = load_base(model_, torch::kFloat32, torch::kCPU, 16);
    ASSERT_TRUE(base.ok()) << base.error().message;
    base_ = std::move(*base);
  }
  void TearDown() override {
    std::filesystem::remove(model_);
    std::filesystem::remove(out_);
  }

  std::string model_, out_;
  BaseModel base_;
  const AdapterConfig plan_ = {.layers = {1, 1}};
};

TEST_P(TrainedLayersTest, WithoutTrainingTheFileIsTheSame) {
  auto layers = TrainedLayers::create(base_, plan_);
  ASSERT_TRUE(layers.ok()) << layers.error().message;
  layers->round();
  ASSERT_TRUE(layers->write(out_).ok());
  EXPECT_TRUE(bytes_of(out_) == bytes_of(model_));
}

TEST_P(TrainedLayersTest, NothingButTheMatricesOfKeptLayersChanges) {
  auto layers = TrainedLayers::create(base_, plan_);
  ASSERT_TRUE(layers.ok()) << layers.error().message;
  ASSERT_EQ(layers->masters().size(), 14U);
  {
    const torch::NoGradGuard no_grad;
    torch::manual_seed(1);
    for (Tensor master : layers->masters()) master.add_(torch::randn_like(master), 0.05);
  }
  layers->round();
  ASSERT_TRUE(layers->write(out_).ok());
  const GgufFile before = GgufFile::open(model_).value(), after = GgufFile::open(out_).value();
  // All before the first tensor: metadata, and names, types, shapes and places of tensors.
  const auto head = static_cast<size_t>(before.tensors()[0].data - before.image().data());
  ASSERT_EQ(before.image().size(), after.image().size());
  EXPECT_EQ(std::memcmp(before.image().data(), after.image().data(), head), 0);
  for (size_t i = 0; i < before.tensors().size(); ++i) {
    const s3d::Tensor &a = before.tensors()[i], &b = after.tensors()[i];
    const bool trained = (a.name.starts_with("blk.0.") || a.name.starts_with("blk.2.")) && a.rows() > 1;
    EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes) != 0, trained) << a.name;
  }
  // What passes computed with is what a reader of the file gets.
  const BaseModel read = load_base(out_, torch::kFloat32, torch::kCPU, 16).value();
  for (size_t layer = 0; layer < 3; ++layer) {
    for (size_t t = 0; t < kLoraTargets; ++t) {
      EXPECT_TRUE(read.layers[layer].matrices[t].equal(base_.layers[layer].matrices[t])) << layer << " " << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, TrainedLayersTest,
                         testing::Values(GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0,
                                         GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K,
                                         GGML_TYPE_Q6_K),
                         [](const auto& info) { return std::string(ggml_type_name(info.param)); });

TEST(TrainedLayers, StepsBelowTheRoundingAddUp) {
  BaseModel base =
      load_base(write_tiny_model({.family = "llama", .type = GGML_TYPE_Q4_0}), torch::kFloat32, torch::kCPU, 16)
          .value();
  TrainedLayers layers = TrainedLayers::create(base, {.layers = {1, 0}}).value();
  const Tensor before = base.layers[0].matrices[0].detach().clone();
  Tensor master = layers.masters()[0];
  const torch::NoGradGuard no_grad;
  for (int step = 0; step < 40; ++step) {
    master.add_(1e-3);
    layers.round();
  }
  // 0.04 in all, of values of about 0.08 that have fifteen steps.
  EXPECT_NEAR((base.layers[0].matrices[0] - before).mean().item<double>(), 0.04, 0.005);
}

TEST(TrainedLayers, SplitModelsAreRefused) {
  const std::string prefix = testing::TempDir() + "s3d-split";
  for (int part = 0; part < 2; ++part) {
    GgufTestWriter writer;
    writer.key_u16("split.no", static_cast<uint16_t>(part));
    writer.key_u16("split.count", 2);
    writer.tensor_f32(fmt::format("t{}", part), {1}, {1});
    const std::vector<std::byte> image = writer.image();
    std::ofstream(fmt::format("{}-{:05}-of-00002.gguf", prefix, part + 1), std::ios::binary)
        .write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
  }
  BaseModel base = tiny_base("llama");
  base.file = std::make_shared<GgufFile>(GgufFile::open(prefix + "-00001-of-00002.gguf").value());
  const auto layers = TrainedLayers::create(base, {.layers = {1, 0}});
  ASSERT_FALSE(layers.ok());
  EXPECT_THAT(layers.error().message, testing::HasSubstr("split into 2 files"));
}

}  // namespace
}  // namespace s3d::train
