// A picture of a server's throughput by streams.
#pragma once

#include <string>
#include <vector>

namespace s3d::cli {

struct ChartPoint {
  double streams;
  double tps;  // tokens a second in all
};

struct ChartLine {
  std::string name;
  std::vector<ChartPoint> points = {};
};

// An SVG document: streams along the bottom in equal steps, tokens a second upwards from 0. At least one point.
std::string throughput_chart(const std::vector<ChartLine>& lines);

}  // namespace s3d::cli
