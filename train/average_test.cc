#include "train/average.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/tensor_floats.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kFingerprint = 77;

struct Parts {
  LayerSet layers = {1, 1};
  std::vector<TokenId> ids = {5, 1, 9};
  float value = 0;
  int rank = 32;
  ggml_type type = GGML_TYPE_F32;
  TrainingCost cost = {};
  Ngrams ngrams = {};
};

Adapter made(const ModelConfig& base, const Parts& parts) {
  const auto d = base.d_model;
  const auto tensor = [&](std::string_view name, std::vector<int64_t> shape) {
    const auto count = static_cast<size_t>(shape[0] * shape[1]);
    return AdapterTensor{std::string(name), std::move(shape), std::vector<float>(count, parts.value)};
  };
  const AdapterConfig config = {.base_fingerprint = kFingerprint, .layers = parts.layers, .masks = 2};
  const auto image =
      adapter_image(config,
                    {tensor(adapter_names::kMasks, {d, 2}), tensor(adapter_names::kMarkovP, {d, parts.rank}),
                     tensor(adapter_names::kMarkovW2, {parts.rank, static_cast<int64_t>(parts.ids.size())})},
                    parts.ids, parts.type, parts.ngrams, parts.cost);
  if (!image.ok()) throw std::runtime_error(image.error().message);
  auto file = GgufFile::from_bytes(*image, "made.gguf");
  auto adapter = open_adapter(std::make_shared<const GgufFile>(std::move(*file)), base, kFingerprint);
  if (!adapter.ok()) throw std::runtime_error(adapter.error().message);
  return std::move(*adapter);
}

Adapter averaged(const ModelConfig& base, const Adapter& first, const Adapter& second, double share) {
  const auto image = average_adapters(first, second, share);
  if (!image.ok()) throw std::runtime_error(image.error().message);
  auto file = GgufFile::from_bytes(*image, "mean.gguf");
  return std::move(*open_adapter(std::make_shared<const GgufFile>(std::move(*file)), base, kFingerprint));
}

class Average : public ::testing::Test {
 protected:
  const ModelConfig base_ = tiny_base("llama").config;
};

TEST_F(Average, EveryNumberIsTheMeanByShare) {
  const Adapter first = made(base_, {.value = 1}), second = made(base_, {.value = 3});
  for (const auto& [share, expected] : {std::pair{0.0, 1.0F}, {0.25, 1.5F}, {0.5, 2.0F}, {1.0, 3.0F}}) {
    const Adapter mean = averaged(base_, first, second, share);
    EXPECT_EQ(mean.draft_ids, first.draft_ids);
    EXPECT_EQ(mean.config.layers, first.config.layers);
    int trained = 0;
    for (const s3d::Tensor& tensor : mean.file->tensors()) {
      if (!is_trained(tensor.name)) continue;
      ++trained;
      std::vector<float> values(static_cast<size_t>(tensor.rows() * tensor.cols()));
      tensor_to_floats(tensor, values.data());
      for (const float value : values) ASSERT_EQ(value, expected) << tensor.name;
    }
    EXPECT_EQ(trained, 3);
  }
}

TEST_F(Average, TypesAndNgramsAreThoseOfTheFirst) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0}) {
    const Ngrams ngrams = {.before = {7}, .last = {8}, .next = {9}, .chance = {0.5F}};
    const Adapter first = made(base_, {.value = 1, .type = type, .ngrams = ngrams});
    const Adapter mean = averaged(base_, first, made(base_, {.value = 2}), 0.5);
    EXPECT_EQ(mean.ngrams.next, ngrams.next);
    for (const s3d::Tensor& tensor : first.file->tensors()) {
      EXPECT_EQ(mean.file->find_tensor(tensor.name)->type, tensor.type) << tensor.name;
    }
  }
}

TEST_F(Average, CostsAreAddedWhereBothAreKnown) {
  const Parts known = {.cost = {.core_seconds = 3, .anchors = 10, .tokens = 100}};
  const Adapter sum = averaged(base_, made(base_, known), made(base_, known), 0.5);
  EXPECT_EQ(training_of(*sum.file).anchors, 20);
  EXPECT_EQ(training_of(*sum.file).core_seconds, 6);
  EXPECT_EQ(training_of(*averaged(base_, made(base_, {}), made(base_, known), 0.5).file).anchors, 0);
}

TEST_F(Average, OtherPartsAreRefused) {
  const Adapter first = made(base_, {});
  const auto message = [&](const Parts& parts, double share = 0.5) {
    const auto image = average_adapters(first, made(base_, parts), share);
    return image.ok() ? std::string() : image.error().message;
  };
  EXPECT_EQ(message({}), "");
  EXPECT_THAT(message({.layers = {1, 0}}), HasSubstr("draft layers 1+0, expected 1+1"));
  EXPECT_THAT(message({.ids = {5, 1, 8}}), HasSubstr("another draft vocabulary"));
  EXPECT_THAT(message({.rank = 64}), HasSubstr("of the shape"));
  EXPECT_THAT(message({}, 1.5), HasSubstr("share 1.5"));
}

}  // namespace
}  // namespace s3d::train
