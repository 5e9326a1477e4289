// Which of several drafters that cost a pass is asked in a round, or none. Pure: the same rates and luck give the same
// choices.
#pragma once

#include <span>
#include <vector>

#include "decode/draft_choice.h"

namespace s3d {

// What a round is worth, in tokens a second of all sequences in the pass.
struct RoundRates {
  double free = 0;    // with the best draft that costs no pass, or none
  double plain = 0;   // without any draft
  int sequences = 1;  // that decode in the round, and would all wait for a probe
};

// One of the drafters is the usual one while it is worth its pass; another one must promise clearly more to take its
// place. All others are probed now and then: their rounds are rounds with a draft like any other, but for what the
// usual one would have made of them.
class PassChoice {
 public:
  explicit PassChoice(int drafters);

  // `promised`: what a round with each of the drafters is worth by what is known of it. Index of the one that is asked;
  // -1: none.
  int choose(std::span<const double> promised, const RoundRates& rates);

  // The one that was chosen is a probe: its draft is to be verified whatever is believed of it, and told below.
  bool probing() const { return probing_; }
  // What the round of a probe must be worth, so that its drafter did well.
  double bar() const { return bar_; }
  // The first token of the draft was accepted; the round made `rate` tokens a second.
  void learn_probe(bool accepted, double rate);

 private:
  std::vector<DraftGate> gates_;
  int usual_ = -1;
  int chosen_ = -1;
  bool probing_ = false;
  double bar_ = 0;
};

}  // namespace s3d
