#include "train/base_model.h"

#include <gmock/gmock.h>

#include "backend/reference/reference_model.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

class BaseModelTest : public testing::TestWithParam<const char*> {};

TEST_P(BaseModelTest, LogitsAreTheReferences) {
  const BaseModel base = tiny_base(GetParam());
  const std::vector<int32_t> tokens = random_tokens(24, base.config.vocab_size, 3);
  auto reference = ReferenceModel::load(base.file, base.config);
  ASSERT_TRUE(reference.ok()) << reference.error().message;
  std::vector<Row> rows;
  append_chain(rows, tokens);
  std::vector<int> wanted(tokens.size());
  std::iota(wanted.begin(), wanted.end(), 0);
  ThreadPool pool(1);
  const auto expected = reference->run(rows, {}, wanted, pool);
  ASSERT_TRUE(expected.ok()) << expected.error().message;

  const torch::NoGradGuard no_grad;
  const Tensor hidden = base_forward(base, longs(tokens));
  const Tensor logits = base_logits(base, hidden);
  EXPECT_LT(relative_error(hidden.to(torch::kDouble), torch::tensor(expected->hidden).view(hidden.sizes())), 1e-5);
  EXPECT_LT(relative_error(logits.to(torch::kDouble), torch::tensor(expected->logits).view(logits.sizes())), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Families, BaseModelTest, testing::Values("llama", "qwen2"));

TEST(BaseModel, OtherFamiliesAreRefusedByName) {
  const auto base = load_base(write_tiny_model({.family = "phi3"}), torch::kFloat32, torch::kCPU, 64);
  ASSERT_FALSE(base.ok());
  EXPECT_THAT(base.error().message, testing::HasSubstr("llama and qwen2, not \"phi3\""));
}

TEST(BaseModel, ContextBeyondTheModelsIsRefused) {
  const auto base = load_base(write_tiny_model({.family = "llama"}), torch::kFloat32, torch::kCPU, 513);
  ASSERT_FALSE(base.ok());
  EXPECT_THAT(base.error().message, testing::HasSubstr("context of 512"));
}

}  // namespace
}  // namespace s3d::train
