#include "cli/training_cost.h"

#include <gguf.h>
#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace s3d::cli {
namespace {

TEST(TrainingCostTest, ReadsWhatTheFileSays) {
  const TestFolder folder;
  const std::string path = folder / "drafter.gguf";
  gguf_context* file = gguf_init_empty();
  gguf_set_val_f32(file, "s3d.training.core_seconds", 5400);
  gguf_set_val_u64(file, "s3d.training.anchors", 1234);
  ASSERT_TRUE(gguf_write_to_file(file, path.c_str(), /*only_meta=*/false));
  const TrainingCost cost = read_training_cost(path);
  EXPECT_EQ(cost.core_seconds, 5400);
  EXPECT_EQ(cost.anchors, 1234);
  EXPECT_FALSE(cost.device);
  EXPECT_EQ(training_text(cost), "1.5 core hours, 1234 anchors");
  gguf_set_val_str(file, "s3d.training.device", "H100");
  ASSERT_TRUE(gguf_write_to_file(file, path.c_str(), /*only_meta=*/false));
  EXPECT_EQ(training_text(read_training_cost(path)), "1.5 H100 hours, 1234 anchors");
  gguf_free(file);
}

TEST(TrainingCostTest, NothingIsKnownOfOtherFiles) {
  EXPECT_EQ(training_text(read_training_cost("")), "");
  EXPECT_EQ(training_text(read_training_cost("/nowhere.gguf")), "");
}

}  // namespace
}  // namespace s3d::cli
