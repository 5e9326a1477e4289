// The planner: decides, round by round, which of its drafters drafts for one sequence and how many rows are verified,
// or that nothing is drafted. It takes what promises most tokens a second.
#pragma once

#include <memory>
#include <vector>

#include "decode/cost_model.h"
#include "decode/draft_choice.h"
#include "decode/pass_choice.h"
#include "decode/rider_choice.h"
#include "decode/speculator.h"

namespace s3d {

// What planners learned about a drafter that costs a pass.
struct PassExperience {
  DraftCosts costs;
  Calibration chances;
  TrackRecord record;
};

// What planners learned about a model, its drafters and this machine.
struct Experience {
  std::vector<Calibration> free;     // of the drafters that need no pass
  std::vector<PassExperience> pass;  // of those that do
  RiderWorth riders;

  // The same with less weight: what the planner of a new text begins with.
  Experience faded() const;
};

// Every round it compares plain decoding, the free drafters (which need no pass) and those that need one, by costs and
// by what it learned of each; at most one of the latter is asked in a round. Whatever is verified, masks ride with it
// for a drafter that has riders, where the next round is worth it. Thread rule: that of Speculator; planners that share
// an Experience belong to one thread.
class Planner : public Speculator {
 public:
  // `shared` holds the measured costs of drafts at first; planners with the same drafters may share one: each begins
  // with a faded copy of what the others learned, and adds to it. `width`: alternatives for each position that `passes`
  // are asked for. At most one of the drafters, the last of the free ones, has riders; none of the free ones has taps.
  Planner(std::vector<std::unique_ptr<Drafter>> free, std::vector<std::unique_ptr<Drafter>> passes,
          std::shared_ptr<Experience> shared, int width = 1);
  // The same with one drafter that costs a pass, or none (null).
  Planner(std::vector<std::unique_ptr<Drafter>> free, std::unique_ptr<Drafter> pass, std::shared_ptr<Experience> shared,
          int width = 1);

  bool needs_state() const override;
  // What it proposes is not cut to what is worth a row: that is for whoever knows all sequences of the pass.
  Status propose(const DraftInput& input, const DraftLimits& limits, const RoundLoad& load,
                 Proposal& proposal) override;
  void take(const DraftInput& input, const PassOutput* mine, Proposal& proposal) override;
  void observe_riders(const PassOutput& riders) override;
  std::span<const int> taps() const override;
  void observe(const CommittedRows& rows) override;
  void learn(const DraftTree& tree, const RoundResult& result) override;
  void expect(std::span<const TokenId> text) override;
  size_t extra_bytes() const override;

 private:
  static constexpr int kNobody = -1;

  // Who made a draft: an index in free_ or passes_; kNobody.
  struct Author {
    int free = kNobody, pass = kNobody;
  };

  // A draft that may be proposed, and what it would be worth.
  struct Offer {
    DraftTree tree;
    std::vector<double> chances;
    Author whose;
    Selection worth;
  };
  // The round in progress.
  struct Round {
    RoundLoad load;
    Offer best;
    Author chosen;                // whose tree is verified
    int asked_pass = kNobody;     // the drafter that costs a pass and was asked: an index in passes_
    DraftLimits asked;            // of it
    int drafted_depth = 0;        // of its draft; 0: none was asked
    int drafters = 1;             // that share its pass
    double promised = 0;          // rate for which it was asked, before its track record was applied; 0: nobody knows
    DraftTree drafted;            // its draft
    bool riders_drafted = false;  // what rode in the round before gave a draft
    double riders_gain = 0;       // tokens that it added to what the round promised
  };

  bool consider(const DraftTree& tree, Author whose, double extra_seconds, int nodes);
  const Calibration& calibration_of(Author whose) const;
  Status ask_free(const DraftInput& input, const DraftLimits& limits);
  Drafter* rider() const;
  void add_riders(Proposal& proposal) const;
  RoundLoad load_of(const Drafter& pass) const;
  bool choose_pass(const DraftLimits& limits);
  void weigh_pass();
  void cut_to_worth();
  void hand_over(Proposal& proposal);
  void learn_into(Experience& experience, const DraftTree& tree, const std::vector<int>& depths,
                  const RoundResult& result) const;
  void learn_pass(PassExperience& experience, const DraftTree& tree, const std::vector<int>& depths,
                  const RoundResult& result) const;
  double seconds_of_round(const PassExperience& experience, const DraftTree& tree) const;

  std::vector<std::unique_ptr<Drafter>> free_;
  std::vector<std::unique_ptr<Drafter>> passes_;
  std::vector<int> taps_;  // of all of them, rising
  std::shared_ptr<Experience> shared_;
  Experience mine_;  // of this sequence
  int width_;
  PassChoice pass_choice_;
  Round round_;
  DraftLimits limits_;     // of the round
  bool observed_ = false;  // riders, in this round
};

}  // namespace s3d
