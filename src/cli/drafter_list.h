// The drafters that a loaded model has, whatever they are.
#pragma once

#include <string>
#include <vector>

#include "engine/runtime.h"
#include "engine/speculation.h"

namespace s3d::cli {

// Names that make_speculator() takes here: "auto" and all of the table; "model" only where `settings` name a draft
// model.
std::vector<std::string> all_drafters(const Runtime& runtime, const SpeculationOptions& settings);

// The file that a drafter of this model is loaded from; empty: it needs none.
std::string drafter_file(const Runtime& runtime, const std::string& drafter);

}  // namespace s3d::cli
