#include "decode/proposal.h"

#include <algorithm>

#include "base/index.h"
#include "decode/constraint.h"

namespace s3d {
namespace {

// Walks a tree with a constraint: which nodes may stay.
class Cutter {
 public:
  Cutter(Constraint& constraint, const DraftTree& tree)
      : constraint_(constraint), first_child_(tree.size() + 1, -1), next_sibling_(tree.size(), -1), tree_(tree) {
    for (size_t i = tree.size(); i-- > 0;) {
      int& first = first_child_[usize(tree[i].parent + 1)];
      next_sibling_[i] = first;
      first = static_cast<int>(i);
    }
  }

  std::vector<int> allowed() {
    visit_children(-1);
    std::sort(kept_.begin(), kept_.end());
    return std::move(kept_);
  }

 private:
  void visit_children(int node) {  // NOLINT(misc-no-recursion): as deep as a draft
    for (int child = first_child_[usize(node + 1)]; child >= 0; child = next_sibling_[usize(child)]) {
      if (!constraint_.push(tree_[usize(child)].token)) continue;
      kept_.push_back(child);
      visit_children(child);
      constraint_.pop(1);
    }
  }

  Constraint& constraint_;
  std::vector<int> first_child_;   // [1 + node]; [0]: of the root
  std::vector<int> next_sibling_;  // [node]
  const DraftTree& tree_;
  std::vector<int> kept_;
};

// The chain of forced tokens from the root: nodes that are there become sure, the others are added at the end.
void add_forced(const std::vector<TokenId>& tokens, int most, Proposal& proposal) {
  const size_t drafted = proposal.tree.size();
  int node = -1;
  for (const TokenId token : tokens) {
    const int there = child_with(proposal.tree, node, token);
    if (there < 0 && isize(proposal.tree) >= most) break;
    if (there < 0) proposal.tree.push_back({token, node, 1});
    node = there < 0 ? isize(proposal.tree) - 1 : there;
    if (!proposal.chances.empty() || drafted == 0) {
      proposal.chances.resize(proposal.tree.size(), 1);
      proposal.chances[usize(node)] = 1;
    }
  }
  proposal.forced.assign(proposal.tree.size(), false);
  std::fill(proposal.forced.begin() + static_cast<std::ptrdiff_t>(drafted), proposal.forced.end(), true);
}

}  // namespace

void Proposal::clear() {
  tree.clear();
  chances.clear();
  source = {};
  forced.clear();
  pass.rows.clear();
  riders.clear();
}

int Proposal::rider_rows() const {
  int rows = 0;
  for (const Rider& rider : riders) rows += rider.masks;
  return rows;
}

std::vector<double> path_chances(const DraftTree& tree, std::span<const double> chances) {
  std::vector<double> path(tree.size());
  for (size_t i = 0; i < tree.size(); ++i) {
    path[i] = std::min(1.0, chances[i]) * (tree[i].parent < 0 ? 1 : path[usize(tree[i].parent)]);
  }
  return path;
}

void keep_nodes(Proposal& proposal, std::span<const int> kept) {
  if (kept.size() == proposal.tree.size()) return;
  std::vector<int> place(proposal.tree.size(), -1);
  for (size_t to = 0; to < kept.size(); ++to) {  // to <= from: what is read was not overwritten
    const auto from = usize(kept[to]);
    place[from] = static_cast<int>(to);
    DraftNode node = proposal.tree[from];
    if (node.parent >= 0) node.parent = place[usize(node.parent)];
    proposal.tree[to] = node;
    if (!proposal.chances.empty()) proposal.chances[to] = proposal.chances[from];
    if (!proposal.forced.empty()) proposal.forced[to] = proposal.forced[from];
  }
  proposal.tree.resize(kept.size());
  if (!proposal.chances.empty()) proposal.chances.resize(kept.size());
  if (!proposal.forced.empty()) proposal.forced.resize(kept.size());
  for (Rider& rider : proposal.riders) {
    if (rider.node < 0) continue;
    rider.node = place[usize(rider.node)];
    if (rider.node < 0) rider.masks = 0;
  }
  std::erase_if(proposal.riders, [](const Rider& rider) { return rider.masks == 0; });
}

void obey(Constraint& constraint, const DraftLimits& limits, Proposal& proposal) {
  if (!proposal.tree.empty()) keep_nodes(proposal, Cutter(constraint, proposal.tree).allowed());
  std::vector<TokenId> tokens;
  constraint.forced(std::min(limits.nodes, limits.depth), tokens);
  if (!tokens.empty()) add_forced(tokens, limits.nodes, proposal);
}

OwnPart own_part(const Proposal& proposal, std::span<const int> path) {
  OwnPart own;
  const auto forced = [&](size_t i) { return !proposal.forced.empty() && proposal.forced[i]; };
  std::vector<int> place(proposal.tree.size(), -1);
  for (size_t i = 0; i < proposal.tree.size(); ++i) {  // what a drafter proposed never follows what it did not
    if (forced(i)) continue;
    place[i] = isize(own.tree);
    DraftNode node = proposal.tree[i];
    if (node.parent >= 0) node.parent = place[usize(node.parent)];
    own.tree.push_back(node);
  }
  for (const int node : path) {
    if (forced(usize(node))) break;
    own.path.push_back(place[usize(node)]);
  }
  return own;
}

int child_with(const DraftTree& tree, int node, TokenId token) {
  for (size_t i = usize(node + 1); i < tree.size(); ++i) {
    if (tree[i].parent == node && tree[i].token == token) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace s3d
