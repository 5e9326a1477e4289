#include "tune/training_curve.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/test_folder.h"

namespace s3d::tune {
namespace {

std::string error_of(const std::string& text) {
  const auto read = read_training(text);
  return read.ok() ? "" : read.error().message;
}

TEST(TrainingCurveTest, TheLastLineCounts) {
  const TestFolder folder;
  const std::string path = folder / "t.csv";
  std::ofstream(path) << "run,step,acceptance_1,acceptance_2\na,0,0.1,0.2\na,9,0.5,0.25\n\n";
  const auto read = read_training("3+9=" + path);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->layers, (LayerSet{3, 9}));
  ASSERT_EQ(read->rates.size(), 2U);
  EXPECT_EQ(read->rates[0].rate, 0.5);
  EXPECT_EQ(read->rates[1].rate, 0.25);
  EXPECT_EQ(read->rates[1].count, read->rates[0].count / 2);
  EXPECT_TRUE(read_training("fused=" + path)->fused);
}

TEST(TrainingCurveTest, WhatIsWrongIsNamed) {
  const TestFolder folder;
  const auto with = [&](const std::string& text) {
    std::ofstream(folder / "t.csv") << text;
    return "1+1=" + (folder / "t.csv");
  };
  EXPECT_NE(error_of("t.csv").find("A+Z=FILE.csv"), std::string::npos);
  EXPECT_NE(error_of("3=x.csv").find("A+Z"), std::string::npos);
  EXPECT_NE(error_of("1+1=/nowhere.csv").find("cannot be read"), std::string::npos);
  EXPECT_NE(error_of(with("acceptance_1\n")).find("line below"), std::string::npos);
  EXPECT_NE(error_of(with("loss\n1\n")).find("acceptance_1"), std::string::npos);
  EXPECT_NE(error_of(with("acceptance_1\n1.5\n")).find("'1.5'"), std::string::npos);
  EXPECT_NE(error_of(with("step,acceptance_1\n3\n")).find("''"), std::string::npos);
}

}  // namespace
}  // namespace s3d::tune
