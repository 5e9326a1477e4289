#include "decode/draft_choice.h"

#include <algorithm>
#include <numeric>

#include "base/index.h"

namespace s3d {

Selection select_nodes(const DraftTree& tree, const std::vector<double>& chances, const RoundLoad& load,
                       double extra_seconds, int nodes) {
  // A child's path is never likelier than its parent's, so taking nodes by it, the earlier of equal ones first, always
  // takes parents first.
  const std::vector<double> path = path_chances(tree, chances);
  std::vector<int> order(tree.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return path[usize(a)] > path[usize(b)]; });
  const size_t most = std::min(tree.size(), usize(std::max(0, nodes)));
  Selection best;
  best.rate = load.rate(1, 1, extra_seconds);
  size_t kept = 0;
  double tokens = 1;
  for (size_t n = 1; n <= most; ++n) {
    tokens += path[usize(order[n - 1])];
    const double rate = load.rate(tokens, static_cast<int>(n) + 1, extra_seconds);
    if (rate <= best.rate) continue;
    best.rate = rate;
    best.tokens = tokens;
    kept = n;
  }
  std::vector<int> chosen(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept));
  std::sort(chosen.begin(), chosen.end());
  std::vector<int> place(tree.size(), -1);
  for (const int i : chosen) {
    place[usize(i)] = isize(best.tree);
    DraftNode node = tree[usize(i)];
    if (node.parent >= 0) node.parent = place[usize(node.parent)];
    best.tree.push_back(node);
  }
  return best;
}

DraftDepth best_depth(const Calibration& calibration, const DraftCosts& draft_costs, const RoundLoad& load, int most,
                      int nodes) {
  DraftDepth best;
  DraftTree chain;
  std::vector<double> chances;
  for (int depth = 1; depth <= std::min(most, kMaxRoundRows); ++depth) {
    chain.push_back({0, depth - 2, 1});
    chances.push_back(calibration.chance_at(depth - 1));
    const Selection s = select_nodes(chain, chances, load, draft_costs.share(depth, load.drafters), nodes);
    if (!s.tree.empty() && s.rate > best.rate) best = {depth, s.rate};
  }
  return best;
}

bool DraftGate::is_worth(double expected_rate, double other_rate) {
  // Estimates are noisy, and the larger of two noisy ones is too large: what costs a pass must promise a little more
  // than what does not, and more still to open again.
  constexpr double kStay = 1.02, kOpen = 1.06, kNear = 0.97;
  const bool worth = expected_rate > other_rate * (open_ ? kStay : kOpen);
  if (worth) pause_ = kFirstPause;
  if (worth != open_) waited_ = 0;
  open_ = worth;
  near_ = expected_rate > kNear * other_rate;
  return worth;
}

bool DraftGate::wants_probe(double free_rate, double plain_rate, int sequences) {
  constexpr double kMuchBetter = 1.1;
  if (free_rate > kMuchBetter * plain_rate || ++waited_ < pause_ * sequences) return false;
  waited_ = 0;
  return true;
}

// Where little is missing, a good probe is followed by the next one at once: a few in a row tell that the text has
// changed. Where much is missing, guesses of the usual kind (six of ten right) must not keep probes going: the pause
// shortens by less than a wrong one makes it longer.
void DraftGate::learn_probe(bool accepted) {
  if (accepted) {
    pause_ = near_ ? 1 : std::max(1, pause_ * 3 / 4);
  } else {
    pause_ = std::min(std::max(kFirstPause, 2 * pause_), max_pause_);
  }
}

// Luck makes a round of the worse one the better one in a quarter of the cases or so: the pause shortens by two steps
// then, so that it grows where less than a third are better.
void DraftGate::learn_contest(bool better) {
  if (better) {
    pause_ = near_ ? 1 : std::max(1, pause_ / 4);
  } else {
    pause_ = std::min(std::max(kFirstPause, 2 * pause_), max_pause_);
  }
}

}  // namespace s3d
