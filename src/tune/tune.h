// Predicts what drafts are worth on this machine: for the drafter that is open, and for every plan that one could
// train. From costs of passes, rates of drafts, and the law that connects rates of different plans (acceptance_law.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tune/plan_value.h"

namespace s3d::tune {

// How often drafts of one kind were right: [depth] of those that were compared.
struct Rate {
  double rate = 0;
  double count = 0;
};

// An untrained draft of layers alone.
struct SkipRate {
  LayerSet layers;
  int group = 0;  // those of one group have nearly the same share of first layers
  Rate rate;
};

// A trained drafter, measured here or by its training.
struct TrainedRate {
  std::string name;  // "s3d", or the file of a training
  LayerSet layers;   // of its draft pass; none if it has no such plan
  bool fused = false;
  std::vector<Rate> rates;
};

struct Evidence {
  int n_layers = 0;
  Costs costs;
  std::vector<SkipRate> skips;  // at least one
  std::optional<TrainedRate> open;
  std::vector<double> open_draft_seconds;  // [depth] of making its draft; empty: none is open
  std::vector<TrainedRate> trainings;
  std::vector<double> usual_trained;  // what training adds to u by depth, where nobody says it: see Laws::trained
  std::vector<double> usual_fused;    // rates of masks that ride, where neither `open` nor `trainings` say them
  double plain_tps = 0;               // measured, on the texts of the rates
};

// A number with one standard deviation.
struct Uncertain {
  double value = 0;
  double error = 0;
};

struct Prediction {
  Laws laws;
  double scatter = 1;            // of the untrained rates about the law, see acceptance_law.h
  PlanValue open;                // of the open drafter; depth 0: none, or none pays
  Uncertain open_tps;            //
  std::vector<PlanValue> plans;  // all_plans()
  Uncertain best_tps;            // of plans[0]
  std::vector<Plan> as_good;     // plans that were best in a twentieth of the draws or more, plans[0] left out
};

// The laws that the rates give.
Laws fit_laws(const Evidence& evidence);

// Masks that `all_plans` goes up to: γ = 1 … 7.
inline constexpr int kMostMasks = 7;

// The errors come from drawing all rates anew, as their counts and the scatter about the law allow, 200 times with a
// fixed seed: equal evidence gives equal predictions.
Prediction predict(const Evidence& evidence);

}  // namespace s3d::tune
