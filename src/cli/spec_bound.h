// What keeps drafting from gaining more, from what a measurement says of its rounds.
#pragma once

#include <string>

#include "cli/bench_spec_measure.h"

namespace s3d::cli {

// The rounds of a drafter. Costs are in one-row passes of plain decoding, measured beside it.
struct RoundParts {
  double tokens = 0;   // that a round gives, rounds without a draft included
  double drafted = 0;  // tokens that a round drafts and compares
  double verify = 0;   // cost of the full pass
  double draft = 0;    // of making the draft
  double rest = 0;     // of choosing and committing tokens
  double plain = 1;    // of a round of plain decoding, its rest included

  // Times plain decoding: what these rounds give, and what they would if one thing cost nothing.
  double speedup() const { return plain * tokens / (verify + draft + rest); }
  double with_free_rows() const { return plain * tokens / (1 + draft + rest); }
  double with_free_drafts() const { return plain * tokens / (verify + rest); }
  double with_right_drafts() const { return plain * (1 + drafted) / (verify + draft + rest); }
};

// Of all prompts of a drafter. All parts but `plain` are 0 if one of the two decoded nothing.
RoundParts round_parts(const SpecFigures& plain, const SpecFigures& drafter);

// One line about the fastest drafter of a measurement that is not made up: what its rounds give and cost, and which of
// rows, drafts and acceptance bounds it: the one whose disappearance would gain most. Empty without drafters.
std::string bound_line(const SpecBenchResult& result);

}  // namespace s3d::cli
