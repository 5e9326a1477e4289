#include "train/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace s3d::train {
namespace {

using nlohmann::json;

constexpr const char* kColors[] = {"#1f6f8b", "#c84b31", "#2d8659", "#8a4fa3",
                                   "#b8860b", "#4a5568", "#d1478c", "#557a2b"};

// A plotting area in pixels with its ranges.
struct Panel {
  double left, top, width, height;
  double x_max, y_min, y_max;

  double x(double value) const { return left + width * value / x_max; }
  double y(double value) const { return top + height * (1 - (value - y_min) / (y_max - y_min)); }
};

std::string line(const Panel& panel, const std::vector<std::pair<double, double>>& points, const char* color,
                 double stroke) {
  std::string path;
  for (const auto& [x, y] : points) {
    path += fmt::format("{:.1f},{:.1f} ", panel.x(x), panel.y(std::clamp(y, panel.y_min, panel.y_max)));
  }
  return fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"/>\n", path, color,
                     stroke);
}

std::string text(double x, double y, const char* anchor, const std::string& value, const char* color = "#222") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" fill=\"{}\">{}</text>\n", x, y, anchor, color,
                     value);
}

std::string frame(const Panel& panel, const std::string& name) {
  std::string out = fmt::format(
      "<rect x=\"{:.0f}\" y=\"{:.0f}\" width=\"{:.0f}\" height=\"{:.0f}\" fill=\"none\" stroke=\"#888\"/>\n",
      panel.left, panel.top, panel.width, panel.height);
  for (int i = 0; i <= 4; ++i) {
    const double value = panel.y_min + (panel.y_max - panel.y_min) * i / 4;
    out += fmt::format("<line x1=\"{0:.0f}\" x2=\"{1:.0f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>\n",
                       panel.left, panel.left + panel.width, panel.y(value));
    out += text(panel.left - 6, panel.y(value) + 4, "end", fmt::format("{:.2f}", value));
  }
  for (int i = 0; i <= 4; ++i) {
    const double value = panel.x_max * i / 4;
    out += text(panel.x(value), panel.top + panel.height + 16, "middle", fmt::format("{:.0f}k", value / 1000));
  }
  return out + text(panel.left, panel.top - 6, "start", name);
}

std::string escaped(const std::string& raw) {
  std::string out;
  for (const char c : raw) {
    out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  }
  return out;
}

// A line's name beside its end.
struct Label {
  double y;
  std::string text;
  const char* color;
};

// Moves labels down until none is nearer than `distance` to the one above it.
void spread(std::vector<Label>& labels, double distance) {
  std::sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
  for (size_t i = 1; i < labels.size(); ++i) labels[i].y = std::max(labels[i].y, labels[i - 1].y + distance);
}

// The largest value of the curve by `get`, and at least `least`.
template <typename Get>
double largest(const std::vector<CurvePoint>& curve, double least, Get get) {
  for (const CurvePoint& point : curve) least = std::max(least, get(point));
  return least;
}

std::string acceptance_panel(const std::vector<CurvePoint>& curve, double x_max) {
  const double top = largest(curve, 1.5, [](const CurvePoint& p) { return p.mean_accepted; });
  const Panel panel = {60, 50, 620, 220, x_max, 1, top + 0.1};
  std::vector<std::pair<double, double>> points;
  for (const CurvePoint& p : curve) {
    if (p.mean_accepted > 0) points.emplace_back(static_cast<double>(p.anchors), p.mean_accepted);
  }
  std::string out = frame(panel, "held-out tokens per round");
  if (points.empty()) return out;
  out += line(panel, points, kColors[0], 2.5);
  return out + text(panel.left + panel.width + 8, panel.y(points.back().second), "start",
                    fmt::format("{:.3f}", points.back().second), kColors[0]);
}

std::string depth_panel(const std::vector<CurvePoint>& curve, double x_max) {
  const Panel panel = {60, 320, 620, 220, x_max, 0, 1};
  std::string out = frame(panel, "acceptance by depth, when all before were right");
  size_t depths = 0;
  for (const CurvePoint& p : curve) depths = std::max(depths, p.rates.size());
  std::vector<Label> labels;
  for (size_t j = 0; j < depths; ++j) {
    std::vector<std::pair<double, double>> points;
    for (const CurvePoint& p : curve) {
      if (p.rates.size() > j) points.emplace_back(static_cast<double>(p.anchors), p.rates[j]);
    }
    const char* color = kColors[j % std::size(kColors)];
    out += line(panel, points, color, 2);
    labels.push_back({panel.y(points.back().second), fmt::format("{}: {:.2f}", j + 1, points.back().second), color});
  }
  spread(labels, 14);
  for (const Label& label : labels) {
    out += text(panel.left + panel.width + 8, label.y, "start", label.text, label.color);
  }
  return out;
}

std::string loss_panel(const std::vector<CurvePoint>& curve, double x_max) {
  const Panel panel = {60, 590, 620, 160, x_max, 0, largest(curve, 1, [](const CurvePoint& p) { return p.loss; })};
  std::vector<std::pair<double, double>> points;
  for (const CurvePoint& p : curve) {
    if (p.loss > 0) points.emplace_back(static_cast<double>(p.anchors), p.loss);
  }
  return frame(panel, "training loss") + line(panel, points, kColors[5], 1.5);
}

}  // namespace

std::string curve_to_json(const std::vector<CurvePoint>& curve) {
  json rows = json::array();
  for (const CurvePoint& p : curve) {
    rows.push_back({{"step", p.step},
                    {"anchors", p.anchors},
                    {"seconds", p.seconds},
                    {"core_seconds", p.core_seconds},
                    {"rate", p.learning_rate},
                    {"loss", p.loss},
                    {"mean", p.mean_accepted},
                    {"rates", p.rates},
                    {"perplexity", p.perplexity},
                    {"agreement", p.agreement}});
  }
  return rows.dump();
}

Result<std::vector<CurvePoint>> curve_from_json(const std::string& text) {
  const json rows = json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<CurvePoint> curve;
  try {
    for (const json& row : rows) {
      curve.push_back({row.at("step"), row.at("anchors"), row.at("seconds"), row.value("core_seconds", 0.0),
                       row.at("rate"), row.at("loss"), row.at("mean"), row.at("rates").get<std::vector<double>>(),
                       row.value("perplexity", 0.0), row.value("agreement", 0.0)});
    }
  } catch (const json::exception& problem) {
    return Error{fmt::format("the learning curve of the checkpoint cannot be read: {}", problem.what())};
  }
  return curve;
}

std::string held_out_text(const HeldOut& held_out) {
  const Acceptance& a = held_out.acceptance;
  std::string out = fmt::format("{:.3f} tokens a round over {} rounds; by depth", a.mean(), a.rounds);
  for (size_t j = 0; j < a.reached.size(); ++j) out += fmt::format(" {:.3f}", a.rate(j));
  if (held_out.base.tokens > 0) {
    out += fmt::format("; the base's perplexity {:.4f}, its greedy choice for {:.1f} % of the tokens",
                       held_out.base.perplexity(), 100 * held_out.base.agreement());
  }
  return out;
}

json to_json(const Acceptance& acceptance) {
  json out = {{"mean_acceptance_length", acceptance.mean()},
              {"rounds", acceptance.rounds},
              {"tokens", acceptance.tokens},
              {"acceptance_by_depth", json::array()}};
  for (size_t j = 0; j < acceptance.reached.size(); ++j) out["acceptance_by_depth"].push_back(acceptance.rate(j));
  return out;
}

std::string curve_csv(const std::vector<CurvePoint>& curve) {
  size_t depths = 0;
  for (const CurvePoint& p : curve) depths = std::max(depths, p.rates.size());
  const bool with_base = !curve.empty() && curve.front().perplexity > 0;
  std::string out = "step,anchors,seconds,core_seconds,learning_rate,loss,mean_acceptance_length";
  for (size_t j = 0; j < depths; ++j) out += fmt::format(",acceptance_{}", j + 1);
  out += with_base ? ",perplexity,agreement\n" : "\n";
  for (const CurvePoint& p : curve) {
    out += fmt::format("{},{},{:.1f},{:.1f},{:.3e},{:.5f},", p.step, p.anchors, p.seconds, p.core_seconds,
                       p.learning_rate, p.loss);
    if (p.mean_accepted > 0) out += fmt::format("{:.4f}", p.mean_accepted);
    for (size_t j = 0; j < depths; ++j) out += j < p.rates.size() ? fmt::format(",{:.4f}", p.rates[j]) : ",";
    if (with_base) out += fmt::format(",{:.4f},{:.4f}", p.perplexity, p.agreement);
    out += '\n';
  }
  return out;
}

std::string curve_svg(const std::vector<CurvePoint>& curve, const std::string& title) {
  const double x_max = largest(curve, 1, [](const CurvePoint& p) { return static_cast<double>(p.anchors); });
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"780\" height=\"790\" font-family=\"sans-serif\" "
         "font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n" +
         text(60, 24, "start", escaped(title)) + acceptance_panel(curve, x_max) + depth_panel(curve, x_max) +
         loss_panel(curve, x_max) + text(370, 782, "middle", "trained anchors") + "</svg>\n";
}

}  // namespace s3d::train
