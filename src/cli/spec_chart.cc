#include "cli/spec_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/index.h"
#include "cli/svg.h"

namespace s3d::cli {
namespace {

constexpr double kPageWidth = 920, kPageHeight = 400, kPanelTop = 70, kPanelBottom = 330;
constexpr double kRung = 0.5;  // of the speed-up

struct Panel {
  double left, right;
  double widest, highest;  // values at the ends of its axes
  std::string axis;        // what is along the bottom

  double x(double value) const { return left + (right - left) * value / widest; }
  double y(double speedup) const { return kPanelBottom - (kPanelBottom - kPanelTop) * speedup / highest; }
};

std::string axes(const Panel& panel) {
  constexpr int kSteps = 4;
  std::string out;
  for (double up = 0; up <= panel.highest; up += kRung) {
    out += svg::line(panel.left, panel.y(up), panel.right, panel.y(up), svg::kGrid);
    out += svg::label(panel.left - 8, panel.y(up) + 4, fmt::format("{:g}", up), svg::kSoft, "end");
  }
  for (int i = 0; i <= kSteps; ++i) {
    const double along = panel.widest * i / kSteps;
    out += svg::label(panel.x(along), kPanelBottom + 20, fmt::format("{:g}", along), svg::kSoft, "middle");
  }
  out += svg::line(panel.left, panel.y(1), panel.right, panel.y(1), svg::kInk);
  return out + svg::label((panel.left + panel.right) / 2, kPanelBottom + 42, panel.axis, svg::kSoft, "middle");
}

// Names beside their dots; one that would lie on another goes down.
std::string dots_of(const Panel& panel, const std::vector<SpecDot>& dots, double SpecDot::*value) {
  constexpr double kLineHeight = 14, kNear = 110;
  std::vector<size_t> order(dots.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return dots[a].speedup > dots[b].speedup; });
  std::string out;
  std::vector<std::pair<double, double>> placed;
  for (const size_t i : order) {
    const char* color = svg::kColors[i % svg::kColors.size()];
    const double x = panel.x(dots[i].*value), y = panel.y(dots[i].speedup);
    out += svg::dot(x, y, color);
    double at = y + 4;
    for (const auto& [other_x, other_y] : placed) {
      if (std::abs(other_x - x) < kNear && at < other_y + kLineHeight) at = other_y + kLineHeight;
    }
    placed.emplace_back(x, at);
    const bool at_the_end = x > panel.right - kNear;
    out += svg::label(at_the_end ? x - 8 : x + 8, at, dots[i].name, color, at_the_end ? "end" : "start");
  }
  return out;
}

}  // namespace

std::string spec_chart(const std::string& title, const std::vector<SpecDot>& dots) {
  double highest = 1, memory = 0, cost = 0;
  for (const SpecDot& dot : dots) {
    highest = std::max(highest, dot.speedup);
    memory = std::max(memory, dot.extra_mib);
    cost = std::max(cost, dot.draft_cost);
  }
  highest = kRung * (std::floor(highest / kRung) + 1);
  constexpr double kLeastMemory = 1, kLeastCost = 0.1;  // an axis has a length
  const Panel by_memory = {56, 440, svg::round_up(std::max(memory, kLeastMemory)), highest, "extra memory, MiB"};
  const Panel by_cost = {516, 900, svg::round_up(std::max(cost, kLeastCost), kLeastCost), highest,
                         "making the draft of a round, in one-row passes"};
  std::string body = svg::label(20, 26, title, svg::kInk, "start");
  body += svg::label(20, 46, "Decoding with drafts, times plain decoding (the line at 1)", svg::kSoft, "start");
  body += axes(by_memory) + dots_of(by_memory, dots, &SpecDot::extra_mib);
  body += axes(by_cost) + dots_of(by_cost, dots, &SpecDot::draft_cost);
  return svg::document(kPageWidth, kPageHeight, body);
}

}  // namespace s3d::cli
