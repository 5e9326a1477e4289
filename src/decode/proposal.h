// What one sequence proposes for its next round, between its drafters and the pass that verifies it.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "decode/drafter.h"

namespace s3d {

class Constraint;

// Masks that ride in the full pass (Block::riders), in a chain behind a row that it verifies.
struct Rider {
  int node;   // of the tree; -1: the last decided token
  int masks;  // how many
};

struct Proposal {
  DraftTree tree;  // empty: a plain round
  // [tree.size()] of each node, that the target chooses it when it chose the parent, as far as is known: by it rows are
  // granted. Empty: the tree is verified whole.
  std::vector<double> chances;
  std::string_view source;   // the drafter's name
  std::vector<bool> forced;  // [tree.size()] or empty: nodes that a constraint forces and no drafter proposed
  DraftPass pass;            // rows that have to be run before there is a tree; empty: none
  // Invisible to the tree. They count like its nodes against DraftLimits::nodes; those behind a node that gets no row
  // get none. What they come to is told to Speculator::observe_riders().
  std::vector<Rider> riders;
  const PackedAdapter* rider_adapter = nullptr;  // not null if there are riders
  bool riders_want_hidden = false;

  void clear();
  int rider_rows() const;
};

// The chance of the whole path to each node: the product from the root on, never above the parent's.
std::vector<double> path_chances(const DraftTree& tree, std::span<const double> chances);

// Only the nodes `kept` stay: ascending indices, with each node its parent.
void keep_nodes(Proposal& proposal, std::span<const int> kept);

// Takes out what `constraint` forbids, and puts in, as sure nodes, what it forces; at most `limits.nodes` nodes then.
// The constraint is afterwards as it was.
void obey(Constraint& constraint, const DraftLimits& limits, Proposal& proposal);

// What the drafter alone proposed, and the path as far as it leads along that.
struct OwnPart {
  DraftTree tree;
  std::vector<int> path;
};
OwnPart own_part(const Proposal& proposal, std::span<const int> path);

// Index of the node that follows `node` (-1: the root) with `token`; -1 if none does.
int child_with(const DraftTree& tree, int node, TokenId token);

}  // namespace s3d
