// How the result of `s3d tune` is shown.
#pragma once

#include <string>

#include "cli/report.h"
#include "engine/tuning.h"
#include "tune/tune.h"

namespace s3d::cli {

// A page: costs, laws, the curve over the number of layers, the open drafter and the best plan.
std::string tune_markdown(const Runtime& runtime, const tune::Evidence& evidence, const tune::Prediction& prediction);

Json tune_json(const Runtime& runtime, const tune::Evidence& evidence, const tune::Prediction& prediction);

// What the engine keeps of it.
Tuning tuning_of(const Runtime& runtime, const tune::Evidence& evidence, const tune::Prediction& prediction);

// A kept tuning as lines.
std::string tuning_text(const Tuning& tuning);

// The command line that trains the best plan.
std::string train_command(const std::string& model, const tune::Prediction& prediction);

}  // namespace s3d::cli
