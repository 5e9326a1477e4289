#include "decode/rider_choice.h"

#include <algorithm>
#include <utility>

#include "backend/packed_adapter.h"
#include "base/index.h"

namespace s3d {
namespace {

struct Candidate {
  int row;  // 0: the root, i + 1: node i
  double tokens;
};

// The chance that each row of a tree is the last one that is right; the root's first.
std::vector<double> last_chances(const DraftTree& tree, std::span<const double> chances) {
  std::vector<double> path(tree.size() + 1, 1), stays(tree.size() + 1, 1);
  for (size_t i = 0; i < tree.size(); ++i) {
    const size_t parent = usize(tree[i].parent + 1);
    path[i + 1] = path[parent] * chances[i];
    stays[parent] -= chances[i];
  }
  for (size_t i = 0; i < path.size(); ++i) path[i] *= std::max(0.0, stays[i]);
  return path;
}

}  // namespace

void RiderWorth::learn(double tokens) {
  constexpr double kNew = 0.1;
  tokens_ += kNew * (std::max(0.0, tokens) - tokens_);
}

void RiderWorth::forget() {
  constexpr double kBack = 0.01;
  tokens_ += kBack * (kAtFirst - tokens_);
}

std::vector<double> RiderWorth::of_masks(std::span<const double> chances) const {
  std::vector<double> worth;
  double path = 1, sum = 0;
  for (const double chance : chances) sum += worth.emplace_back(path *= chance);
  for (double& tokens : worth) tokens *= sum > 0 ? tokens_ / sum : 0;
  return worth;
}

std::vector<Rider> choose_riders(const DraftTree& tree, std::span<const double> chances, std::span<const double> worth,
                                 std::span<const double> row_costs, int depth) {
  const std::vector<double> last = last_chances(tree, chances);
  std::vector<int> depth_of(last.size());
  std::vector<Candidate> candidates;
  for (size_t row = 0; row < last.size(); ++row) {
    if (row > 0) depth_of[row] = depth_of[usize(tree[row - 1].parent + 1)] + 1;
    for (size_t mask = 0; mask < worth.size() && depth_of[row] + static_cast<int>(mask) < depth; ++mask) {
      candidates.push_back({static_cast<int>(row), last[row] * worth[mask]});
    }
  }
  // A later mask is worth no more than the one before it behind the same row, which therefore comes first.
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.tokens > b.tokens; });
  std::vector<int> masks(last.size());
  for (size_t i = 0; i < std::min(candidates.size(), row_costs.size()); ++i) {
    if (candidates[i].tokens <= row_costs[i]) break;
    ++masks[usize(candidates[i].row)];
  }
  std::vector<Rider> riders;
  for (size_t row = 0; row < masks.size(); ++row) {
    if (masks[row] > 0) riders.push_back({static_cast<int>(row) - 1, masks[row]});
  }
  return riders;
}

void ride(std::vector<Rider> riders, const PackedAdapter& adapter, Proposal& proposal) {
  proposal.riders = std::move(riders);
  proposal.rider_adapter = &adapter;
  proposal.riders_want_hidden = adapter.config().confidence;
}

}  // namespace s3d
