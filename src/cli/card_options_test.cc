#include "cli/card_options.h"

#include <gtest/gtest.h>

#include <vector>

namespace s3d::cli {
namespace {

GpuOptions chosen(const CardOptions& options) {
  GpuOptions gpu;
  const Status applied = options.apply(gpu);
  EXPECT_TRUE(applied.ok()) << applied.error().message;
  return gpu;
}

std::string message(const CardOptions& options) {
  GpuOptions gpu;
  const Status applied = options.apply(gpu);
  return applied.ok() ? "no error" : applied.error().message;
}

TEST(CardOptions, ListsOfCardsAndShares) {
  EXPECT_TRUE(chosen({}).cards.empty());
  EXPECT_EQ(chosen({.device = "1,0"}).cards, (std::vector<int>{1, 0}));
  EXPECT_EQ(chosen({.device = "CUDA2"}).cards, std::vector<int>{2});
  EXPECT_EQ(chosen({.device = "cuda0,cuda3", .split_mode = "layer"}).cards, (std::vector<int>{0, 3}));
  EXPECT_EQ(chosen({.tensor_split = "3,1"}).shares, (std::vector<double>{3, 1}));
  EXPECT_EQ(chosen({.tensor_split = "0.5/0"}).shares, (std::vector<double>{0.5, 0}));
  EXPECT_EQ(chosen({.split_mode = "none"}).cards, std::vector<int>{0});
  EXPECT_EQ(chosen({.split_mode = "none", .main_gpu = 2}).cards, std::vector<int>{2});
}

TEST(CardOptions, SayWhatIsWrong) {
  for (const char* device : {"x", "0,", "cu0", "cuda", "-1", "0 1"}) {
    EXPECT_NE(message({.device = device}).find("expected numbers of cards, as 0,1"), std::string::npos) << device;
  }
  for (const char* shares : {"3,", "a", "-1,2", "nan", "3;1"}) {
    EXPECT_NE(message({.tensor_split = shares}).find("expected shares of 0 or more"), std::string::npos) << shares;
  }
  EXPECT_EQ(message({.split_mode = "row"}),
            "--split-mode row is not there: cards share a model by layers; expected layer or none");
  EXPECT_EQ(message({.split_mode = "rows"}), "--split-mode 'rows' is not known; expected layer or none");
  EXPECT_NE(message({.main_gpu = 1}).find("card of --split-mode none"), std::string::npos);
  EXPECT_NE(message({.split_mode = "none", .main_gpu = -2}).find("0 or more"), std::string::npos);
  EXPECT_NE(message({.device = "0", .split_mode = "none"}).find("no --device"), std::string::npos);
}

}  // namespace
}  // namespace s3d::cli
