#include "decode/cost_model.h"

#include <algorithm>

#include "base/index.h"

namespace s3d {
namespace {

constexpr double kOne = 0.05;      // weight of one observation of a pass
constexpr double kAll = 0.01;      // … for passes of other widths: contexts grow and machines slow down for all alike
constexpr double kForget = 0.998;  // of counts, at each new one: the last few hundred tokens matter
constexpr double kPrior = 6;       // observations that the first guess is worth

// What is believed of the drafts at a depth before any was seen: an adapter in training reaches about these.
constexpr double kFirstChance = 0.6, kLaterChance = 0.5;

using Curve = std::array<double, kMaxRoundRows + 1>;

// Moves a curve towards what was seen at `n`, and a little everywhere; 0 was never measured and stays.
void observe(Curve& curve, int n, double seconds) {
  double& seen = curve[std::min(n, kMaxRoundRows)];
  if (seen <= 0) return;
  const double ratio = std::clamp(seconds / seen, 0.5, 2.0);
  for (double& cost : curve) cost *= 1 + kAll * (ratio - 1);
  seen *= 1 + kOne * (ratio - 1);
}

}  // namespace

void PassCosts::observe_full(int rows, double seconds) {
  observe(full, rows, seconds);
}

void PassCosts::observe_draft(int depth, double seconds) {
  observe(draft, depth, seconds);
}

size_t Calibration::bin_of(float probability) {
  return usize(std::clamp(static_cast<int>(probability * kBins), 0, kBins - 1));
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
