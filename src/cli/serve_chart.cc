#include "cli/serve_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/index.h"

namespace s3d::cli {
namespace {

constexpr double kWidth = 720, kHeight = 380, kLeft = 70, kRight = 540, kTop = 50, kBottom = 320;
constexpr std::array<const char*, 4> kColors = {"#0969da", "#bc4c00", "#1a7f37", "#8250df"};
constexpr const char* kSoft = "#59636e";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : std::string(1, c);
  }
  return out;
}

std::string label(double x, double y, const std::string& text, const char* color, const char* anchor) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"{}\" text-anchor=\"{}\">{}</text>\n", x, y, color, anchor,
                     escaped(text));
}

// A round number of at least `value`: 1, 2 or 5 times a power of ten.
double round_up(double value) {
  const double power = std::pow(10, std::floor(std::log10(std::max(value, 1.0))));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= value) return factor * power;
  }
  return 10 * power;
}

}  // namespace

std::string throughput_chart(const std::vector<ChartLine>& lines) {
  double largest = 1;
  for (const ChartLine& line : lines) {
    for (const ChartPoint& point : line.points) largest = std::max(largest, point.tps);
  }
  const double top = round_up(largest);
  const size_t steps = lines[0].points.size();
  const auto x_of = [&](size_t i) {
    return steps < 2 ? kLeft : kLeft + (kRight - kLeft) * static_cast<double>(i) / static_cast<double>(steps - 1);
  };
  const auto y_of = [&](double tps) { return kBottom - (kBottom - kTop) * tps / top; };
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
      kWidth, kHeight);
  out += label(kLeft, 28, "Tokens a second, all streams together", "#1f2328", "start");
  constexpr int kGridLines = 4;
  for (int i = 0; i <= kGridLines; ++i) {
    const double tps = top * i / kGridLines;
    out += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#e4e8ec\"/>\n", kLeft, kRight,
                       y_of(tps), y_of(tps));
    out += label(kLeft - 8, y_of(tps) + 4, fmt::format("{:g}", tps), kSoft, "end");
  }
  for (size_t i = 0; i < steps; ++i) {
    out += label(x_of(i), kBottom + 22, fmt::format("{:g}", lines[0].points[i].streams), kSoft, "middle");
  }
  out += label((kLeft + kRight) / 2, kBottom + 44, "streams", kSoft, "middle");
  for (size_t n = 0; n < lines.size(); ++n) {
    const char* color = kColors[n % kColors.size()];
    std::string path;
    for (size_t i = 0; i < lines[n].points.size(); ++i) {
      path += fmt::format("{:.1f},{:.1f} ", x_of(i), y_of(lines[n].points[i].tps));
    }
    out += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.5\"/>\n", path, color);
    if (!lines[n].points.empty())
      out += label(kRight + 10, y_of(lines[n].points.back().tps) + 4, lines[n].name, color, "start");
  }
  return out + "</svg>\n";
}

}  // namespace s3d::cli
