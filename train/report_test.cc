#include "train/report.h"

#include <gmock/gmock.h>

#include <cmath>

namespace s3d::train {
namespace {

std::vector<CurvePoint> two_points() {
  return {{0, 0, 0, 0, 5e-5, 0, 1.25, {0.25, 0}}, {20, 960, 17.5, 33.25, 1e-3, 3.5, 1.75, {0.5, 0.5}}};
}

TEST(Report, CsvHasALineForEachMeasurement) {
  EXPECT_EQ(curve_csv(two_points()),
            "step,anchors,seconds,core_seconds,learning_rate,loss,mean_acceptance_length,acceptance_1,acceptance_2\n"
            "0,0,0.0,0.0,5.000e-05,0.00000,1.2500,0.2500,0.0000\n"
            "20,960,17.5,33.2,1.000e-03,3.50000,1.7500,0.5000,0.5000\n");
}

TEST(Report, ATrainedBaseHasColumnsOfItsOwn) {
  std::vector<CurvePoint> curve = two_points();
  curve[0].perplexity = 1.5;
  curve[1].perplexity = 1.25;
  curve[1].agreement = 0.75;
  EXPECT_THAT(curve_csv(curve), testing::HasSubstr(",acceptance_2,perplexity,agreement\n"));
  EXPECT_THAT(curve_csv(curve), testing::EndsWith(",0.5000,0.5000,1.2500,0.7500\n"));
  const auto back = curve_from_json(curve_to_json(curve));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(curve_csv(*back), curve_csv(curve));
}

TEST(Report, CurvesSurviveACheckpoint) {
  const auto back = curve_from_json(curve_to_json(two_points()));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(curve_csv(*back), curve_csv(two_points()));
  EXPECT_FALSE(curve_from_json(R"([{"step": 1}])").ok());
}

TEST(Report, LabelsOfEqualValuesDoNotHideEachOther) {
  const std::string svg = curve_svg(two_points(), "a < b");
  EXPECT_THAT(svg, testing::HasSubstr("a &lt; b"));
  const size_t first = svg.find(">1: 0.50<"), second = svg.find(">2: 0.50<");
  ASSERT_NE(first, std::string::npos);
  ASSERT_NE(second, std::string::npos);
  const auto y_before = [&](size_t at) { return std::stod(svg.substr(svg.rfind("y=\"", at) + 3)); };
  EXPECT_GE(std::abs(y_before(first) - y_before(second)), 14);
}

TEST(Report, AnEmptyCurveIsStillAPicture) {
  EXPECT_THAT(curve_svg({}, "nothing"), testing::EndsWith("</svg>\n"));
}

}  // namespace
}  // namespace s3d::train
