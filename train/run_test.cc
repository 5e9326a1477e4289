// Runs in a time box: that they end by themselves, and go on.
#include "train/run.h"

#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "train/test_models.h"
#include "train/trainer.h"

namespace s3d::train {
namespace {

constexpr double kPeak = 1e-3;

class TimedRun : public testing::Test {
 protected:
  TimedRun() {
    at::set_num_threads(1);
    write_dataset(folder_ / "text.jsonl", random_dataset(24, 4, 14, 64));
    recipe_.model = write_tiny_model({.family = "llama"});
    recipe_.data = {folder_ / "text.jsonl"};
    recipe_.out = folder_ / "out";
    recipe_.adapter = {.layers = {1, 1}, .masks = 2, .lora_rank = 4, .markov_rank = 4};
    recipe_.draft_vocab = 64;
    recipe_.max_length = 64;
    recipe_.learning_rate = kPeak;
    recipe_.warmup = 2;
    recipe_.minutes = 0.05;
    recipe_.report_seconds = 0.4;
    recipe_.checkpoint_seconds = 0.2;
  }

  TrainingResult train() {
    recipe_.clock = {};
    const auto alone = join_group(0, 1, "", 0);
    const auto result = train_drafter(recipe_, **alone);
    EXPECT_TRUE(result.ok()) << result.error().message;
    return result.ok() ? *result : TrainingResult{};
  }

  const TestFolder folder_;
  Recipe recipe_;
};

TEST_F(TimedRun, EndsByItselfWithItsLearningRate) {
  const TrainingResult result = train();
  EXPECT_TRUE(result.run.finished);
  ASSERT_GT(result.run.steps, recipe_.warmup);
  ASSERT_GE(result.run.curve.size(), 2U);
  EXPECT_EQ(result.run.curve.front().step, 0);
  EXPECT_EQ(result.run.curve.back().step, result.run.steps);
  EXPECT_NEAR(result.run.curve.back().learning_rate, recipe_.last_rate * kPeak, 1e-9);
  EXPECT_GT(result.stored.acceptance.rounds, 0);
  const TrainingResult again = train();  // there is nothing left to do
  EXPECT_TRUE(again.run.finished);
  EXPECT_EQ(again.run.steps, result.run.steps);
}

TEST_F(TimedRun, GoesOnWithTheTimeThatIsLeft) {
  recipe_.stop_after = 3;
  const TrainingResult first = train();
  EXPECT_FALSE(first.run.finished);
  EXPECT_EQ(first.run.steps, 3);
  recipe_.stop_after = 0;
  const TrainingResult second = train();
  EXPECT_TRUE(second.run.finished);
  EXPECT_GT(second.run.steps, 3);
  EXPECT_EQ(second.run.curve.front().step, 0);
  EXPECT_NEAR(second.run.curve.back().learning_rate, recipe_.last_rate * kPeak, 1e-9);
}

TEST_F(TimedRun, IsNotTakenUpWithOtherMinutes) {
  recipe_.stop_after = 3;
  train();
  recipe_.minutes = 1;
  const auto alone = join_group(0, 1, "", 0);
  const auto result = train_drafter(recipe_, **alone);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("minutes 1"), std::string::npos) << result.error().message;
}

}  // namespace
}  // namespace s3d::train
