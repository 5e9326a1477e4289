// Which masks ride in the pass of a round, and behind which rows. A rider is worth something only if its row turns out
// to be the last one that is right; then its logits are the draft of the next round.
#pragma once

#include <span>
#include <vector>

#include "decode/proposal.h"

namespace s3d {

// What drafts by riders are worth, learned from rounds in which there was one. Forgets slowly.
class RiderWorth {
 public:
  // In a round with riders' logits at hand: the tokens that the round promised beyond what it would have without.
  void learn(double tokens);
  // A round without them: what was believed at first comes back a little, so that riders are tried again.
  void forget();

  // Tokens that mask 1, 2, … behind the last right row add to the next round. `chances`: [masks] that the guess of each
  // is right when those before it were.
  std::vector<double> of_masks(std::span<const double> chances) const;

 private:
  static constexpr double kAtFirst = 0.5;
  double tokens_ = kAtFirst;
};

// Masks behind the rows of a round that verifies `tree`, most worth first, while each is worth more than its row costs.
// `chances`: [tree.size()] of each node given its parent. `worth`: RiderWorth::of_masks. `row_costs`: tokens that each
// further row costs; at most so many masks ride. No mask stands deeper than `depth` (the root's first one has depth 1).
std::vector<Rider> choose_riders(const DraftTree& tree, std::span<const double> chances, std::span<const double> worth,
                                 std::span<const double> row_costs, int depth);

// Makes them part of `proposal`.
void ride(std::vector<Rider> riders, const PackedAdapter& adapter, Proposal& proposal);

}  // namespace s3d
