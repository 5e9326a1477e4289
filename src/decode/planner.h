// The planner: decides, round by round, which drafter drafts for one sequence and how many rows are verified, or that
// nothing is drafted. It takes what promises most tokens a second.
#pragma once

#include <memory>
#include <vector>

#include "decode/cost_model.h"
#include "decode/draft_choice.h"
#include "decode/rider_choice.h"
#include "decode/speculator.h"

namespace s3d {

// What planners learned about a model, its drafters and this machine.
struct Experience {
  DraftCosts draft;
  std::vector<Calibration> free;  // of the drafters that need no pass
  Calibration pass;               // of the one that does
  TrackRecord record;
  RiderWorth riders;

  // The same with less weight: what the planner of a new text begins with.
  Experience faded() const;
};

// Every round it compares plain decoding, the free drafters (which need no pass) and the drafter that needs one, by
// costs and by what it learned of each. Whatever is verified, masks ride with it for a drafter that has riders, where
// the next round is worth it. Thread rule: that of Speculator; planners that share an Experience belong to
// one thread.
class Planner : public Speculator {
 public:
  // `pass` may be null. `shared` holds the measured costs of drafts at first; planners with the same drafters may share
  // one: each begins with a faded copy of what the others learned, and adds to it. `width`: alternatives for each
  // position that `pass` is asked for. At most one of the drafters, the last of the free ones, has riders;
  // only `pass` may have taps.
  Planner(std::vector<std::unique_ptr<Drafter>> free, std::unique_ptr<Drafter> pass, std::shared_ptr<Experience> shared,
          int width = 1);

  bool needs_state() const override;
  // What it proposes is not cut to what is worth a row: that is for whoever knows all sequences of the pass.
  Status propose(const DraftInput& input, const DraftLimits& limits, const RoundLoad& load,
                 Proposal& proposal) override;
  void take(const DraftInput& input, const PassOutput& mine, Proposal& proposal) override;
  void observe_riders(const PassOutput& riders) override;
  std::span<const int> taps() const override;
  void observe(const CommittedRows& rows) override;
  void learn(const DraftTree& tree, const RoundResult& result) override;
  void expect(std::span<const TokenId> text) override;
  size_t extra_bytes() const override;

 private:
  static constexpr int kNobody = -1, kPass = -2;

  // A draft that may be proposed, and what it would be worth.
  struct Offer {
    DraftTree tree;
    std::vector<double> chances;
    int whose = kNobody;
    Selection worth;
  };
  // The round in progress.
  struct Round {
    RoundLoad load;
    Offer best;
    int chosen = kNobody;         // whose tree is verified: an index in free_, kPass or kNobody
    DraftLimits asked;            // of the pass drafter
    int drafted_depth = 0;        // of the pass drafter's draft; 0: it was not asked
    int drafters = 1;             // that share its pass
    double promised = 0;          // rate for which it was asked, before its track record was applied; 0: as a probe
    DraftTree drafted;            // its draft
    bool riders_drafted = false;  // what rode in the round before gave a draft
    double riders_gain = 0;       // tokens that it added to what the round promised
  };

  bool consider(const DraftTree& tree, int whose, const Calibration& calibration, double extra_seconds, int nodes);
  Status ask_free(const DraftInput& input, const DraftLimits& limits);
  Drafter* rider() const;
  void add_riders(Proposal& proposal) const;
  bool wants_pass(const DraftLimits& limits);
  void weigh_pass();
  void cut_to_worth();
  void hand_over(Proposal& proposal);
  void learn_into(Experience& experience, const DraftTree& tree, const std::vector<int>& depths,
                  const RoundResult& result) const;

  std::vector<std::unique_ptr<Drafter>> free_;
  std::unique_ptr<Drafter> pass_;  // or null
  std::shared_ptr<Experience> shared_;
  Experience mine_;  // of this sequence
  int width_;
  DraftGate gate_;
  Round round_;
  DraftLimits limits_;     // of the round
  bool observed_ = false;  // riders, in this round
};

}  // namespace s3d
