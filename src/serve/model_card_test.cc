#include "serve/model_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/test_model_file.h"

namespace s3d::serve {
namespace {

using ::testing::HasSubstr;

ModelCard card_of(const std::function<void(GgufTestWriter&)>& more, const AnswerDefaults& defaults = {}) {
  const GgufFile file = TestModelFile("qwen3").with(more).open();
  return make_model_card(file, "test", defaults).value();
}

TEST(ModelCard, TakesTheFilesOwnSettings) {
  const auto more = [](GgufTestWriter& writer) {
    writer.key_f32("general.sampling.temp", 0.7F);
    writer.key_i32("general.sampling.top_k", 20);
    writer.key_f32("general.sampling.top_p", 7);  // out of its range: left out
  };
  const ModelCard card = card_of(more);
  EXPECT_FLOAT_EQ(card.sampler.temperature, 0.7F);
  EXPECT_EQ(card.sampler.top_k, 20);
  EXPECT_FLOAT_EQ(card.sampler.top_p, SamplerOptions{}.top_p);
  EXPECT_EQ(card.max_tokens, -1);
  EXPECT_FALSE(card.seed.has_value());
}

TEST(ModelCard, TakesTheServersSettingsBeforeThem) {
  const auto more = [](GgufTestWriter& writer) {
    writer.key_f32("general.sampling.temp", 0.7F);
    writer.key_i32("general.sampling.top_k", 20);
  };
  const ModelCard card = card_of(more, {.temperature = 0.2F, .seed = 5, .max_tokens = 9});
  EXPECT_FLOAT_EQ(card.sampler.temperature, 0.2F);
  EXPECT_EQ(card.sampler.top_k, 20);
  EXPECT_EQ(card.seed, 5U);
  EXPECT_EQ(card.max_tokens, 9);
}

TEST(ModelCard, KnowsThePooling) {
  const auto pooling = [](uint32_t number) {
    return card_of([number](GgufTestWriter& writer) { writer.key_u32("qwen3.pooling_type", number); });
  };
  EXPECT_EQ(pooling(1).pooling, Pooling::kMean);
  EXPECT_EQ(pooling(3).pooling, Pooling::kLast);
  EXPECT_EQ(pooling(4).pooling, Pooling::kNone);
  EXPECT_THAT(pooling(4).no_pooling, HasSubstr("the pooling 4"));
  EXPECT_THAT(card_of([](GgufTestWriter&) {}).no_pooling, HasSubstr("qwen3.pooling_type"));
  const ModelCard both_ways = card_of([](GgufTestWriter& writer) {
    writer.key_u32("qwen3.pooling_type", 1);
    writer.key_bool("qwen3.attention.causal", false);
  });
  EXPECT_EQ(both_ways.pooling, Pooling::kNone);
  EXPECT_THAT(both_ways.no_pooling, HasSubstr("both ways"));
}

}  // namespace
}  // namespace s3d::serve
