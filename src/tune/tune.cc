#include "tune/tune.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "base/check.h"
#include "base/index.h"

namespace s3d::tune {
namespace {

double share_of(LayerSet layers, int n_layers) {
  return static_cast<double>(layers.count()) / n_layers;
}

RatePoint point_of(const SkipRate& skip, int n_layers) {
  return {.beta = share_of(skip.layers, n_layers), .rate = skip.rate.rate, .count = skip.rate.count};
}

// The law of each group of untrained plans, by their mean share of first layers.
std::vector<Laws::Split> fit_splits(const Evidence& evidence) {
  struct Group {
    std::vector<RatePoint> points;
    double shares = 0;
  };
  std::map<int, Group> groups;
  for (const SkipRate& skip : evidence.skips) {
    Group& group = groups[skip.group];
    group.points.push_back(point_of(skip, evidence.n_layers));
    group.shares += static_cast<double>(skip.layers.first) / skip.layers.count();
  }
  std::vector<Laws::Split> splits;
  for (const auto& [number, group] : groups) {
    splits.push_back({.share = group.shares / static_cast<double>(group.points.size()), .u = fit_law(group.points)});
  }
  std::sort(splits.begin(), splits.end(), [](const auto& a, const auto& b) { return a.share < b.share; });
  return splits;
}

std::vector<const TrainedRate*> trained(const Evidence& evidence, bool fused) {
  std::vector<const TrainedRate*> all;
  const auto add = [&](const TrainedRate& one) {
    if (one.fused == fused && (fused || one.layers.count() > 0)) all.push_back(&one);
  };
  if (evidence.open) add(*evidence.open);
  for (const TrainedRate& one : evidence.trainings) add(one);
  return all;
}

// [depth] Nothing for the first; for masks what those that run through all layers reach, or better ones that were seen.
std::vector<double> ceilings(const Evidence& evidence, const std::vector<double>& fused) {
  std::vector<double> out = {1};
  for (const TrainedRate* one : trained(evidence, /*fused=*/false)) {
    for (size_t depth = 1; depth < one->rates.size(); ++depth) {
      if (depth == out.size()) out.push_back(fused.empty() ? 1 : fused[std::min(depth, fused.size()) - 1]);
      out[depth] = std::max(out[depth], one->rates[depth].rate);
    }
  }
  if (out.size() == 1) out.insert(out.end(), fused.begin(), fused.end());
  return out;
}

// [depth] what training adds to u.
std::vector<double> fit_training(const Evidence& evidence, const Laws& laws) {
  constexpr double kFewest = 20;  // drafts that were compared: fewer tell nothing
  std::vector<double> out;
  for (size_t depth = 0;; ++depth) {
    std::vector<RatePoint> points;
    for (const TrainedRate* one : trained(evidence, /*fused=*/false)) {
      if (depth >= one->rates.size() || one->rates[depth].count < kFewest) continue;
      const double share = static_cast<double>(one->layers.first) / one->layers.count();
      points.push_back({.beta = share_of(one->layers, evidence.n_layers),
                        .rate = one->rates[depth].rate / laws.ceiling[depth],
                        .count = one->rates[depth].count,
                        .u = laws.u(share)});
    }
    if (points.empty()) return depth == 0 ? evidence.usual_trained : out;
    out.push_back(fit_law(points));
  }
}

std::vector<double> fused_rates(const Evidence& evidence) {
  const std::vector<const TrainedRate*> all = trained(evidence, /*fused=*/true);
  if (all.empty()) return evidence.usual_fused;
  std::vector<double> out;
  for (const Rate& rate : all.front()->rates) out.push_back(rate.rate);
  return out;
}

double scatter_of(const Evidence& evidence, const Laws& laws) {
  std::vector<RatePoint> points;
  for (const SkipRate& skip : evidence.skips) {
    points.push_back(point_of(skip, evidence.n_layers));
    points.back().u = laws.u(static_cast<double>(skip.layers.first) / skip.layers.count());
  }
  return scatter(points, 0, isize(laws.splits));
}

PlanValue open_value(const Evidence& evidence) {
  if (!evidence.open) return {};
  std::vector<double> rates;
  for (const Rate& rate : evidence.open->rates) rates.push_back(rate.rate);
  return evidence.open->fused ? fused_value(evidence.costs, rates)
                              : best_depth(evidence.costs, rates, evidence.open_draft_seconds);
}

using Random = std::mt19937_64;

// As chance would give it again. Two equal numbers of a generator give equal draws on every machine, so no distribution
// of the library is used.
void draw(Rate& rate, double scatter, Random& random) {
  constexpr int kSum = 12;  // the sum of twelve even numbers is nearly normal, of variance 1
  double normal = -kSum / 2.0;
  for (int i = 0; i < kSum; ++i) normal += static_cast<double>(random() >> 11U) * 0x1p-53;
  const double variance = scatter * rate.rate * (1 - rate.rate) / std::max(rate.count, 1.0);
  rate.rate = std::clamp(rate.rate + normal * std::sqrt(variance), 0.0, 1.0);
}

// `scatter` counts for what goes through the law; what is measured of the open drafter is used as it is.
Evidence drawn(const Evidence& evidence, double scatter, Random& random) {
  Evidence out = evidence;
  for (SkipRate& skip : out.skips) draw(skip.rate, scatter, random);
  if (out.open) {
    for (Rate& rate : out.open->rates) draw(rate, 1, random);
  }
  for (TrainedRate& training : out.trainings) {
    for (Rate& rate : training.rates) draw(rate, 1, random);
  }
  return out;
}

double deviation(const std::vector<double>& values) {
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size()));
}

// Plans of the same layers are one plan here, whatever number of masks is best.
bool same_place(const Plan& a, const Plan& b) {
  return a.fused == b.fused && a.layers == b.layers && (!a.fused || a.masks == b.masks);
}

void add_errors(const Evidence& evidence, Prediction& prediction) {
  constexpr int kDraws = 200;
  Random random(1);
  std::vector<double> open, best;
  std::vector<std::pair<Plan, int>> wins;
  for (int i = 0; i < kDraws; ++i) {
    const Evidence again = drawn(evidence, prediction.scatter, random);
    open.push_back(open_value(again).tps);
    const std::vector<PlanValue> plans = all_plans(again.costs, fit_laws(again), again.n_layers, kMostMasks);
    const auto found = std::find_if(plans.begin(), plans.end(), [&](const PlanValue& value) {
      return same_place(value.plan, prediction.plans[0].plan);
    });
    best.push_back(found != plans.end() ? found->tps : plans[0].tps);
    const auto won =
        std::find_if(wins.begin(), wins.end(), [&](const auto& win) { return same_place(win.first, plans[0].plan); });
    if (won != wins.end()) {
      ++won->second;
    } else {
      wins.emplace_back(plans[0].plan, 1);
    }
  }
  prediction.open_tps.error = deviation(open);
  prediction.best_tps.error = deviation(best);
  std::stable_sort(wins.begin(), wins.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [plan, times] : wins) {
    if (times * 20 >= kDraws && !same_place(plan, prediction.plans[0].plan)) prediction.as_good.push_back(plan);
  }
}

}  // namespace

Laws fit_laws(const Evidence& evidence) {
  S3D_CHECK(!evidence.skips.empty(), "a law is fitted to something");
  Laws laws;
  laws.splits = fit_splits(evidence);
  laws.fused = fused_rates(evidence);
  laws.ceiling = ceilings(evidence, laws.fused);
  laws.trained = fit_training(evidence, laws);
  return laws;
}

Prediction predict(const Evidence& evidence) {
  Prediction out;
  out.laws = fit_laws(evidence);
  out.scatter = scatter_of(evidence, out.laws);
  out.open = open_value(evidence);
  out.open_tps.value = out.open.tps;
  out.plans = all_plans(evidence.costs, out.laws, evidence.n_layers, kMostMasks);
  out.best_tps.value = out.plans.empty() ? 0 : out.plans[0].tps;
  if (!out.plans.empty()) add_errors(evidence, out);
  return out;
}

}  // namespace s3d::tune
