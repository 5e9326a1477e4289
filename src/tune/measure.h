// Measures what tune.h predicts from: passes and drafts of a loaded model, on texts of its own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/runtime.h"
#include "tune/tune.h"

namespace s3d::tune {

struct MeasureOptions {
  std::vector<std::vector<TokenId>> prompts;  // ready for the model; at least one
  int max_tokens = 48;                        // of each answer
};

// Called before each part with what it is, "costs of passes"; false stops with an error.
using OnPart = std::function<bool(const std::string& part)>;

// Untrained plans whose drafts are tried: a quarter, two fifths and three fifths of the layers, an eighth, a quarter or
// half of them at the start. Rates are 0 yet. At least one for a model of two layers or more.
std::vector<SkipRate> untrained_plans(int n_layers);

// Everything but `trainings` and what is usual, which come from elsewhere. `runtime` needs room for the longest prompt
// and its answer; what its planners know of drafts is not touched. Errors: a model of one layer; a context too small to
// measure; a pass failed; stopped.
Result<Evidence> measure_evidence(Runtime& runtime, const MeasureOptions& options, const OnPart& on_part);

}  // namespace s3d::tune
