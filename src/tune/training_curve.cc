#include "tune/training_curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <vector>

#include "base/index.h"

namespace s3d::tune {
namespace {

constexpr double kCompared = 500;  // drafts; held-out texts of the recipes have about a thousand

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  for (const char c : line) {
    if (c == ',') cells.emplace_back();
    if (c != ',' && c != '\r') cells.back() += c;
  }
  return cells;
}

// The first line and the last one that is not empty.
struct Ends {
  std::vector<std::string> head, last;
};
Result<Ends> read_ends(const std::string& path) {
  std::ifstream in(path);
  if (!in) return Error{fmt::format("{}: cannot be read; expected the table of a training", path)};
  Ends ends;
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    (ends.head.empty() ? ends.head : ends.last) = cells_of(line);
  }
  if (ends.last.empty()) return Error{fmt::format("{}: a head and a line below it are expected", path)};
  return ends;
}

Result<double> rate_in(const std::vector<std::string>& cells, size_t column, const std::string& path) {
  const std::string text = column < cells.size() ? cells[column] : "";
  double rate = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), rate);
  if (status == std::errc{} && end == text.data() + text.size() && rate >= 0 && rate <= 1) return rate;
  return Error{fmt::format("{}: '{}' is no rate; expected a number from 0 to 1", path, text)};
}

Result<std::vector<Rate>> read_rates(const std::string& path) {
  S3D_ASSIGN(const Ends ends, read_ends(path));
  std::vector<Rate> rates;
  double count = kCompared;
  for (int depth = 1;; ++depth) {
    const auto column = std::find(ends.head.begin(), ends.head.end(), fmt::format("acceptance_{}", depth));
    if (column == ends.head.end()) break;
    S3D_ASSIGN(const double rate, rate_in(ends.last, usize(static_cast<int>(column - ends.head.begin())), path));
    rates.push_back({.rate = rate, .count = count});
    count *= rate;
  }
  if (rates.empty()) return Error{fmt::format("{}: no column acceptance_1; expected the table of a training", path)};
  return rates;
}

}  // namespace

Result<TrainedRate> read_training(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Error{fmt::format("'{}' is not understood; expected A+Z=FILE.csv or fused=FILE.csv", text)};
  }
  const std::string plan = text.substr(0, equals), path = text.substr(equals + 1);
  TrainedRate out = {.name = path, .layers = {}, .fused = plan == "fused", .rates = {}};
  if (!out.fused) {
    S3D_ASSIGN(out.layers, parse_layer_set(plan));
  }
  S3D_ASSIGN(out.rates, read_rates(path));
  return out;
}

}  // namespace s3d::tune
