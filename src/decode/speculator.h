// Decides, round by round, what one sequence drafts: with which drafter, how many tokens, or nothing.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "decode/cost_model.h"
#include "decode/drafter.h"
#include "decode/proposal.h"

namespace s3d {

// What else is in the passes of a round. A choice that is right for a sequence alone is not right for it in a crowd.
struct RoundLoad {
  const PassCosts* costs = nullptr;  // of full passes; not null
  int rows = 0;                      // of the other sequences, in the full pass
  double tokens = 0;                 // that they are expected to get from it
  int sequences = 1;                 // that decode, this one included
  int drafters = 1;                  // that usually share a draft pass, this one included

  // Tokens a second of all sequences in a round of which this one has `own_rows` rows and gets `own_tokens`.
  double rate(double own_tokens, int own_rows, double extra_seconds) const {
    return (tokens + own_tokens) / (extra_seconds + costs->of(rows + own_rows));
  }
};

// What a round of one sequence came to.
struct RoundResult {
  std::vector<int> path;      // nodes of the tree that were accepted, from the root on
  bool finished = false;      // with the last of them: what was drafted after it was not compared
  double draft_seconds = 0;   // until the proposal was there, of shared draft passes all
  int draft_rows = 0;         // of all sequences in the last shared draft pass; 0: there was none
  int draft_sharers = 0;      // sequences that shared it, this one included
  double verify_seconds = 0;  // the full pass, shared by all sequences in it
  int verify_rows = 1;        // of all sequences in the pass
};

// Thread rule: one call at a time; one object for each sequence that is generated.
//
// A round: propose(); as long as there are rows in `proposal.pass`, they are run and take() follows; then the scheduler
// grants rows to some nodes of the tree, parents first, and verifies those; observe() if it has taps; observe_riders()
// if masks rode along; learn().
class Speculator {
 public:
  virtual ~Speculator() = default;
  // Hidden states of the last row are kept for DraftInput::state.
  virtual bool needs_state() const = 0;
  // Replaces `proposal` (empty: a plain round), or asks for a pass.
  virtual Status propose(const DraftInput& input, const DraftLimits& limits, const RoundLoad& load,
                         Proposal& proposal) = 0;
  // Gets the outputs of the rows that were asked for, or null if there was no memory to run them: asks for more, or
  // makes the proposal. `input`: as in propose().
  virtual void take(const DraftInput& /*input*/, const PassOutput* /*mine*/, Proposal& /*proposal*/) {}
  // Outputs of the proposal's riders behind the row whose logits decided the last token: [masks, vocab] and, if they
  // were wanted, [masks, d_model]. Valid during the call, which comes before learn(), if there were such riders.
  virtual void observe_riders(const PassOutput& /*riders*/) {}
  // As those of Drafter.
  virtual std::span<const int> taps() const { return {}; }
  virtual void observe(const CommittedRows& /*rows*/) {}
  // What became of the nodes `tree` that were verified; after every round, plain ones too.
  virtual void learn(const DraftTree& tree, const RoundResult& result) = 0;
  // Text that the answer may repeat. Called once, before the first round.
  virtual void expect(std::span<const TokenId> /*text*/) {}
  virtual size_t extra_bytes() const = 0;
};

// Always drafts `nodes` tokens with one drafter, up to `width` alternatives for each position. `drafter` is kept.
std::unique_ptr<Speculator> make_fixed_speculator(std::unique_ptr<Drafter> drafter, int nodes, int width = 1);

}  // namespace s3d
