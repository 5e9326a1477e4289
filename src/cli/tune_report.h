// How the result of `s3d tune` is shown.
#pragma once

#include <string>
#include <vector>

#include "cli/report.h"
#include "engine/tuning.h"
#include "tune/tune.h"

namespace s3d::cli {

// A page: costs, laws, the curve over the number of layers, the open drafter and the best plan.
std::string tune_markdown(const Runtime& runtime, const tune::Evidence& evidence, const tune::Prediction& prediction);

// `model`: as the person names it.
Json tune_json(const Runtime& runtime, const std::string& model, const tune::Evidence& evidence,
               const tune::Prediction& prediction);

// What the engine keeps of it.
Tuning tuning_of(const Runtime& runtime, const tune::Evidence& evidence, const tune::Prediction& prediction);

// A kept tuning as lines.
std::string tuning_text(const Tuning& tuning);

// Where the best plan is trained.
struct TrainPlaces {
  std::string data = "TEXT.jsonl", held_out = "HELD-OUT.jsonl", output = "FOLDER";  // held_out: may be empty
};
// The arguments of s3d-train that train the best plan.
std::vector<std::string> train_arguments(const std::string& model, const tune::Prediction& prediction,
                                         const TrainPlaces& places = {});

}  // namespace s3d::cli
