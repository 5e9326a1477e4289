// Drafts that are right as often as one wishes: what a drafter that is better, worse or cheaper than today's would
// gain.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "decode/drafter.h"
#include "s3d/types.h"

namespace s3d::cli {

// The text that will come, prompt and answer: known because it was decoded before.
using KnownText = std::shared_ptr<std::vector<TokenId>>;

// Every drafted token is right with the chance `rate` in [0, 1] when those before it were; which ones are, is a
// function of the position alone. It states `rate` as its probability. `vocab`: tokens of the target. `pace`: a drafter
// whose passes are run for each draft, and whose own drafts are dropped, so that a draft costs what one of it costs;
// null: drafts cost nothing. Where `text` says nothing, nothing is drafted. Thread rule: that of Drafter.
std::unique_ptr<Drafter> make_synthetic_drafter(KnownText text, double rate, int vocab, std::unique_ptr<Drafter> pace);

}  // namespace s3d::cli
