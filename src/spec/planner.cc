#include "spec/planner.h"

#include <algorithm>

namespace s3d {
namespace {

constexpr double kOne = 0.05;      // weight of one observation of a pass
constexpr double kAll = 0.01;      // … for passes of other widths: contexts grow and machines slow down for all alike
constexpr double kForget = 0.998;  // of counts, at each new one: the last few hundred tokens matter
constexpr double kPrior = 6;       // observations that the first guess is worth

// What is believed of the drafts at a depth before any was seen: an adapter in training reaches about these.
constexpr double kFirstChance = 0.6, kLaterChance = 0.5;

using Curve = std::array<double, PassCosts::kMostRows + 1>;

// Moves a curve towards what was seen at `n`, and a little everywhere; 0 was never measured and stays.
void observe(Curve& curve, int n, double seconds) {
  double& seen = curve[static_cast<size_t>(std::min(n, PassCosts::kMostRows))];
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
  return static_cast<size_t>(std::clamp(static_cast<int>(probability * kBins), 0, kBins - 1));
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
  const Bin& bin = depths_[static_cast<size_t>(std::min<int>(depth, static_cast<int>(depths_.size()) - 1))];
  return (bin.hits + kPrior * (depth == 0 ? kFirstChance : kLaterChance)) / (bin.count + kPrior);
}

void Calibration::learn_depth(int depth, double accepted) {
  // Faster than the bins: a text changes from prose to code within a few lines.
  constexpr double kForgetDepth = 0.97;
  Bin& bin = depths_[static_cast<size_t>(std::min<int>(depth, static_cast<int>(depths_.size()) - 1))];
  bin.hits = bin.hits * kForgetDepth + accepted;
  bin.count = bin.count * kForgetDepth + 1;
}

void Calibration::learn_undrafted(int first) {
  constexpr double kShare = 0.9;  // deeper drafts are right a little less often
  for (int depth = std::max(1, first); depth < static_cast<int>(depths_.size()); ++depth) {
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
  constexpr double kMost = 20;
  TrackRecord out = *this;
  const double factor = promised_ > kMost ? kMost / promised_ : 1;
  out.promised_ *= factor;
  out.made_ *= factor;
  return out;
}

Learned Learned::faded() const {
  Learned out = {.costs = costs, .free = {}, .pass = pass.faded(), .record = record.faded()};
  for (const Calibration& calibration : free) out.free.push_back(calibration.faded());
  return out;
}

Selection select_nodes(const DraftTree& tree, const std::vector<double>& chances, const PassCosts& costs,
                       double extra_seconds, int nodes) {
  // The chance of the whole path to each node. A child's is never above its parent's, so taking nodes by it, the
  // earlier of equal ones first, always takes parents first.
  std::vector<double> path(tree.size());
  std::vector<size_t> order(tree.size());
  for (size_t i = 0; i < tree.size(); ++i) {
    path[i] = chances[i] * (tree[i].parent < 0 ? 1 : path[static_cast<size_t>(tree[i].parent)]);
    order[i] = i;
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return path[a] > path[b]; });
  const size_t most =
      std::min({tree.size(), static_cast<size_t>(std::max(0, nodes)), static_cast<size_t>(PassCosts::kMostRows - 1)});
  Selection best;
  best.rate = 1 / (extra_seconds + costs.of(1));
  size_t kept = 0;
  double tokens = 1;
  for (size_t n = 1; n <= most; ++n) {
    tokens += path[order[n - 1]];
    const double rate = tokens / (extra_seconds + costs.of(static_cast<int>(n) + 1));
    if (rate <= best.rate) continue;
    best.rate = rate;
    best.tokens = tokens;
    kept = n;
  }
  std::vector<size_t> chosen(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept));
  std::sort(chosen.begin(), chosen.end());
  std::vector<int> place(tree.size(), -1);
  for (const size_t i : chosen) {
    place[i] = static_cast<int>(best.tree.size());
    DraftNode node = tree[i];
    if (node.parent >= 0) node.parent = place[static_cast<size_t>(node.parent)];
    best.tree.push_back(node);
  }
  return best;
}

DraftDepth best_depth(const Calibration& calibration, const PassCosts& costs, int most, int nodes) {
  DraftDepth best;
  DraftTree chain;
  std::vector<double> chances;
  for (int depth = 1; depth <= std::min(most, PassCosts::kMostRows); ++depth) {
    chain.push_back({0, depth - 2, 1});
    chances.push_back(calibration.chance_at(depth - 1));
    const Selection s = select_nodes(chain, chances, costs, costs.draft[static_cast<size_t>(depth)], nodes);
    if (!s.tree.empty() && s.rate > best.rate) best = {depth, s.rate};
  }
  return best;
}

bool DraftGate::open(double expected_rate, double other_rate, double plain_rate) {
  // Estimates are noisy, and the larger of two noisy ones is too large: what costs a pass must promise a little more
  // than what does not, and more still to open again.
  constexpr double kStay = 1.02, kOpen = 1.06;
  const bool worth = expected_rate > other_rate * (open_ ? kStay : kOpen);
  if (worth) {
    open_ = true;
    pause_ = kFirstPause;
    waited_ = 0;
    return true;
  }
  if (open_) {
    open_ = false;
    waited_ = 0;
  }
  constexpr double kMuchBetter = 1.1;
  if (other_rate > kMuchBetter * plain_rate || ++waited_ < pause_) return false;
  waited_ = 0;
  return true;  // a probe
}

// After a good probe the next one follows at once: a few of them in a row tell that the text has changed.
void DraftGate::learn_probe(bool accepted) {
  pause_ = accepted ? 1 : std::min(std::max(kFirstPause, 2 * pause_), kLongestPause);
}

}  // namespace s3d
