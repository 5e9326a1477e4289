#include "tune/plan_value.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/index.h"

namespace s3d::tune {

double Costs::draft(int layers, int rows) const {
  const auto at = std::min(usize(std::max(rows, 1)), head.size() - 1);
  return adapter * (head[at] + layer[at] * layers);
}

PassCosts in_texts(const PassCosts& alone, const std::vector<PassSample>& seen) {
  S3D_CHECK(!seen.empty(), "passes were seen");
  const auto ratio = [&](const PassSample& sample) { return sample.seconds / alone.of(sample.rows); };
  PassCosts out = alone;
  size_t next = 0;
  for (int rows = 1; rows <= PassCosts::kMaxRows; ++rows) {
    while (next < seen.size() && seen[next].rows < rows) ++next;
    double factor = ratio(seen[std::min(next, seen.size() - 1)]);
    if (next > 0 && next < seen.size()) {
      const PassSample &from = seen[next - 1], &to = seen[next];
      factor = ratio(from) + (ratio(to) - ratio(from)) * (rows - from.rows) / (to.rows - from.rows);
    }
    out.full[usize(rows)] *= factor;
  }
  for (size_t rows = PassCosts::kMaxRows; rows > 1; --rows)
    out.full[rows - 1] = std::min(out.full[rows - 1], out.full[rows]);
  return out;
}

double Laws::u(double share) const {
  S3D_CHECK(!splits.empty(), "laws have a split");
  size_t next = 0;
  while (next < splits.size() && splits[next].share < share) ++next;
  if (next == 0) return splits.front().u;
  if (next == splits.size()) return splits.back().u;
  const Split &a = splits[next - 1], &b = splits[next];
  return a.u + (b.u - a.u) * (share - a.share) / (b.share - a.share);
}

std::vector<double> Laws::rates(LayerSet layers, int n_layers, int depth) const {
  const double beta = static_cast<double>(layers.count()) / n_layers;
  const double untrained = u(static_cast<double>(layers.first) / layers.count());
  std::vector<double> out;
  for (int d = 0; d < depth; ++d) {
    const double more = trained.empty() ? 0 : trained[std::min(usize(d), trained.size() - 1)];
    const double most = ceiling.empty() ? 1 : ceiling[std::min(usize(d), ceiling.size() - 1)];
    out.push_back(most * acceptance(beta, std::clamp(untrained + more, -kSteepest, kSteepest)));
  }
  return out;
}

std::string Plan::text() const {
  const std::string with = fmt::format("{} mask{}", masks, masks == 1 ? "" : "s");
  return fused ? "fused, " + with : fmt::format("{}+{}, {}", layers.first, layers.last, with);
}

PlanValue best_depth(const Costs& costs, const std::vector<double>& rates, const std::vector<double>& draft_seconds) {
  const auto seconds = [&](int rows, double draft) { return costs.context * draft + costs.full.of(rows) + costs.rest; };
  PlanValue best = {.plan = {}, .seconds = seconds(1, 0)};
  best.tps = 1 / best.seconds;
  double tokens = 1, path = 1;
  for (int depth = 1; usize(depth) <= std::min(rates.size(), draft_seconds.size()); ++depth) {
    path *= rates[usize(depth) - 1];
    tokens += path;
    const double took = seconds(depth + 1, draft_seconds[usize(depth) - 1]);
    if (tokens / took > best.tps) {
      best = {.plan = {}, .depth = depth, .tokens = tokens, .seconds = took, .tps = tokens / took};
    }
  }
  return best;
}

PlanValue fused_value(const Costs& costs, const std::vector<double>& rates) {
  const int masks = isize(rates);
  double tokens = 1, path = 1;
  for (const double rate : rates) tokens += path *= rate;
  const int rows = (masks + 1) * (masks + 1);
  const double seconds = costs.full.of(rows) + costs.riders + costs.rest;
  return {.plan = {.fused = true, .layers = {}, .masks = masks},
          .depth = masks,
          .tokens = tokens,
          .seconds = seconds,
          .tps = tokens / seconds};
}

std::vector<PlanValue> all_plans(const Costs& costs, const Laws& laws, int n_layers, int most_masks) {
  std::vector<PlanValue> all;
  for (int count = 1; count < n_layers; ++count) {
    std::vector<double> draft;
    for (int depth = 1; depth <= most_masks + 1; ++depth) draft.push_back(costs.draft(count, depth));
    for (int first = 0; first <= count; ++first) {
      const double share = static_cast<double>(first) / count;
      if (share < laws.splits.front().share || share > laws.splits.back().share) continue;
      const LayerSet layers = {first, count - first};
      PlanValue value = best_depth(costs, laws.rates(layers, n_layers, most_masks + 1), draft);
      value.plan = {.fused = false, .layers = layers, .masks = std::max(0, value.depth - 1)};
      all.push_back(value);
    }
  }
  for (size_t masks = 1; masks <= laws.fused.size(); ++masks) {
    all.push_back(fused_value(costs, {laws.fused.begin(), laws.fused.begin() + static_cast<std::ptrdiff_t>(masks)}));
  }
  std::stable_sort(all.begin(), all.end(), [](const PlanValue& a, const PlanValue& b) { return a.tps > b.tps; });
  return all;
}

}  // namespace s3d::tune
