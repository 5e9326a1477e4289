// What a run leaves for people: tables and a plot.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/evaluate.h"

namespace s3d::train {

// One row of the learning curve.
struct CurvePoint {
  int64_t step = 0;
  int64_t anchors = 0;      // trained so far
  double seconds = 0;       // of training, pauses left out
  double core_seconds = 0;  // that processors worked for it, of all ranks together; measurements are left out
  double learning_rate = 0;
  double loss = 0;            // mean since the row before
  double mean_accepted = 0;   // held-out tokens per round, the target's own included; 0: not measured in this row
  std::vector<double> rates;  // [depth] held-out acceptance by depth; empty: not measured
  double perplexity = 0;      // of the base on held-out answers; 0: it is not trained
  double agreement = 0;       // share of held-out answer tokens that are the base's greedy choice
};

// To and from one JSON array, for checkpoints.
std::string curve_to_json(const std::vector<CurvePoint>& curve);
Result<std::vector<CurvePoint>> curve_from_json(const std::string& text);

// "2.043 tokens a round over 812 rounds; by depth 0.61 …; perplexity 1.23, …"
std::string held_out_text(const HeldOut& held_out);

nlohmann::json to_json(const Acceptance& acceptance);

std::string curve_csv(const std::vector<CurvePoint>& curve);

// Accepted tokens per round (left axis) and acceptance by depth (right axis) over trained anchors, with the loss below.
std::string curve_svg(const std::vector<CurvePoint>& curve, const std::string& title);

}  // namespace s3d::train
