#include "cli/serve_chart.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/svg.h"

namespace s3d::cli {
namespace {

constexpr double kWidth = 720, kHeight = 380, kLeft = 70, kRight = 540, kTop = 50, kBottom = 320;
}  // namespace

std::string throughput_chart(const std::vector<ChartLine>& lines) {
  double largest = 1;
  for (const ChartLine& line : lines) {
    for (const ChartPoint& point : line.points) largest = std::max(largest, point.tps);
  }
  const double top = svg::round_up(largest);
  const size_t steps = lines[0].points.size();
  const auto x_of = [&](size_t i) {
    return steps < 2 ? kLeft : kLeft + (kRight - kLeft) * static_cast<double>(i) / static_cast<double>(steps - 1);
  };
  const auto y_of = [&](double tps) { return kBottom - (kBottom - kTop) * tps / top; };
  std::string out = svg::label(kLeft, 28, "Tokens a second, all streams together", svg::kInk, "start");
  constexpr int kGridLines = 4;
  for (int i = 0; i <= kGridLines; ++i) {
    const double tps = top * i / kGridLines;
    out += svg::line(kLeft, y_of(tps), kRight, y_of(tps), svg::kGrid);
    out += svg::label(kLeft - 8, y_of(tps) + 4, fmt::format("{:g}", tps), svg::kSoft, "end");
  }
  for (size_t i = 0; i < steps; ++i) {
    out += svg::label(x_of(i), kBottom + 22, fmt::format("{:g}", lines[0].points[i].streams), svg::kSoft, "middle");
  }
  out += svg::label((kLeft + kRight) / 2, kBottom + 44, "streams", svg::kSoft, "middle");
  for (size_t n = 0; n < lines.size(); ++n) {
    const char* color = svg::kColors[n % svg::kColors.size()];
    std::string path;
    for (size_t i = 0; i < lines[n].points.size(); ++i) {
      path += fmt::format("{:.1f},{:.1f} ", x_of(i), y_of(lines[n].points[i].tps));
    }
    out += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.5\"/>\n", path, color);
    if (!lines[n].points.empty())
      out += svg::label(kRight + 10, y_of(lines[n].points.back().tps) + 4, lines[n].name, color, "start");
  }
  return svg::document(kWidth, kHeight, out);
}

}  // namespace s3d::cli
