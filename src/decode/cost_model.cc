#include "decode/cost_model.h"

#include <algorithm>

#include "base/check.h"
#include "base/index.h"

namespace s3d {
namespace {

constexpr double kOne = 0.05;      // weight of one observation of a pass
constexpr double kAll = 0.01;      // … for passes of other widths: contexts grow and machines slow down for all alike
constexpr double kForget = 0.998;  // of counts, at each new one: the last few hundred tokens matter
constexpr double kPrior = 6;       // observations that the first guess is worth

// What is believed of the drafts at a depth before any was seen: an adapter in training reaches about these.
constexpr double kFirstChance = 0.6, kLaterChance = 0.5;

// Of curves that nobody measured: their first guess is coarse.
constexpr double kOneUnmeasured = 0.3, kAllUnmeasured = 0.1;

// How much longer a pass of n rows takes than one of a single row where nothing is known: about a processor's.
double usual_shape(int n) {
  return 1 + 0.15 * (n - 1);
}

// How much a pass of n rows says of one of i rows, beyond what it says of all. It fades without a step: where the
// neighbours of a width that is often seen kept their first guess, and others took longer in company than alone, one
// row more seemed to cost nothing, or a whole pass.
double likeness(int i, int n) {
  return static_cast<double>(std::min(i, n)) / std::max(i, n);
}

}  // namespace

PassCosts PassCosts::through(std::span<const Point> points) {
  S3D_CHECK(points.size() >= 2 && points[0].rows == 1, "a curve begins at one row and has two points or more");
  PassCosts costs;
  costs.measured = true;
  size_t next = 1;
  for (int n = 1; n <= kMaxRows; ++n) {
    while (next + 1 < points.size() && n > points[next].rows) ++next;
    const Point& from = points[next - 1];
    const Point& to = points[next];
    costs.full[usize(n)] = from.seconds + (to.seconds - from.seconds) * (n - from.rows) / (to.rows - from.rows);
  }
  return costs;
}

double PassCosts::of(int rows) const {
  if (rows <= kMaxRows) return full[usize(std::max(rows, 0))];
  constexpr int kFrom = kMaxRows / 2;
  return full[kMaxRows] + (full[kMaxRows] - full[kFrom]) / (kMaxRows - kFrom) * (rows - kMaxRows);
}

void PassCosts::observe(int rows, double seconds) {
  const int n = std::clamp(rows, 1, kMaxRows);
  if (!(seconds > 0)) return;
  if (!known()) {
    for (int i = 1; i <= kMaxRows; ++i) full[usize(i)] = seconds * usual_shape(i) / usual_shape(n);
    return;
  }
  const double ratio = std::clamp(seconds / full[usize(n)], 0.5, 2.0);
  const double all = measured ? kAll : kAllUnmeasured, one = measured ? kOne : kOneUnmeasured;
  for (int i = 1; i <= kMaxRows; ++i) full[usize(i)] *= 1 + (all + one * likeness(i, n)) * (ratio - 1);
}

double DraftCosts::of(int rows) const {
  size_t last = seconds.size() - 1;
  while (last > 0 && seconds[last] <= 0) --last;
  if (usize(rows) <= last) return seconds[usize(rows)];
  if (last == 0) return 0;
  const double row = last > 1 ? (seconds[last] - seconds[1]) / static_cast<double>(last - 1) : 0;
  return seconds[last] + row * static_cast<double>(usize(rows) - last);
}

double DraftCosts::share(int depth, int drafters) const {
  if (in_steps) return of(depth) * (1 + sharer * (drafters - 1)) / drafters;
  return of(depth * drafters) / drafters;
}

void DraftCosts::observe_steps(int depth, int drafters, double took) {
  if (drafters < 2) return observe(depth, took);
  const double alone = of(depth);
  if (alone <= 0) return;
  const double seen = std::clamp((took / alone - 1) / (drafters - 1), 0.0, 1.0);
  sharer += kOne * (seen - sharer);
}

void DraftCosts::observe(int rows, double took) {
  const double expected = of(rows);
  if (expected <= 0) return;
  const double ratio = std::clamp(took / expected, 0.5, 2.0);
  for (double& cost : seconds) cost *= 1 + kAll * (ratio - 1);
  if (usize(rows) < seconds.size()) seconds[usize(rows)] *= 1 + kOne * (ratio - 1);
}

size_t Calibration::bin_of(float probability) {
  return usize(std::upper_bound(kBinEnds.begin(), kBinEnds.end(), probability) - kBinEnds.begin());
}

double Calibration::chance(float probability, int depth) const {
  const Bin& bin = bins_[depth_of(depth)][bin_of(probability)];
  return (bin.hits + kPrior * static_cast<double>(probability) * 0.9) / (bin.count + kPrior);
}

void Calibration::learn(float probability, int depth, bool accepted) {
  Bin& bin = bins_[depth_of(depth)][bin_of(probability)];
  bin.hits = bin.hits * kForget + (accepted ? 1 : 0);
  bin.count = bin.count * kForget + 1;
}

double Calibration::chance_at(int depth) const {
  const Bin& bin = depths_[std::min<int>(depth, isize(depths_) - 1)];
  return (bin.hits + kPrior * (depth == 0 ? kFirstChance : kLaterChance)) / (bin.count + kPrior);
}

void Calibration::learn_depth(int depth, double accepted) {
  // Faster than the bins: a text changes from prose to code within a few lines.
  constexpr double kForgetDepth = 0.97;
  Bin& bin = depths_[std::min<int>(depth, isize(depths_) - 1)];
  bin.hits = bin.hits * kForgetDepth + accepted;
  bin.count = bin.count * kForgetDepth + 1;
}

void Calibration::learn_undrafted(int first) {
  constexpr double kShare = 0.9;  // deeper drafts are right a little less often
  for (int depth = std::max(1, first); depth < isize(depths_); ++depth) {
    learn_depth(depth, kShare * chance_at(depth - 1));
  }
}

void Calibration::begin_with(std::span<const double> chances) {
  constexpr double kCounts = 15;  // as faded() leaves
  for (size_t depth = 0; depth < depths_.size() && !chances.empty(); ++depth) {
    depths_[depth] = {.hits = kCounts * chances[std::min(depth, chances.size() - 1)], .count = kCounts};
  }
}

Calibration Calibration::faded() const {
  // A tenth of what a long text leaves; the first few hundred tokens of a new one outweigh it.
  constexpr double kBinCounts = 40, kDepthCounts = 15;
  Calibration out = *this;
  const auto fade = [](Bin& bin, double most) {
    const double factor = bin.count > most ? most / bin.count : 1;
    bin.hits *= factor;
    bin.count *= factor;
  };
  for (auto& depth : out.bins_) {
    for (Bin& bin : depth) fade(bin, kBinCounts);
  }
  for (Bin& bin : out.depths_) fade(bin, kDepthCounts);
  return out;
}

void TrackRecord::learn(double promised, double made) {
  constexpr double kForgetRound = 0.99;
  promised_ = promised_ * kForgetRound + promised;
  made_ = made_ * kForgetRound + made;
}

void TrackRecord::forget() {
  constexpr double kKept = 0.7;
  promised_ *= kKept;
  made_ *= kKept;
}

TrackRecord TrackRecord::faded() const {
  constexpr double kMax = 20;
  TrackRecord out = *this;
  const double factor = promised_ > kMax ? kMax / promised_ : 1;
  out.promised_ *= factor;
  out.made_ *= factor;
  return out;
}

}  // namespace s3d
