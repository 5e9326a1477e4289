// What sampled tokens are compared with: the distribution by its plain definition, and Pearson's chi-square test. For
// tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "base/index.h"
#include "decode/sampler.h"

namespace s3d {

// Probabilities of the vocabulary without penalties and bias: full sort, double precision, one step after the other.
inline std::vector<double> slow_probabilities(const SamplerOptions& s, const std::vector<float>& logits) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (s.top_k > 0) order.resize(std::min(order.size(), usize(s.top_k)));
  const auto weight = [&](size_t i, double t) { return std::exp((logits[i] - logits[order[0]]) / t); };
  double total = 0;
  for (size_t i : order) total += weight(i, 1);
  double sum = 0;
  size_t keep = 0;
  while (keep < order.size() && (keep == 0 || sum < s.top_p * total)) sum += weight(order[keep++], 1);
  if (s.top_p < 1) order.resize(keep);
  std::erase_if(order, [&](size_t i) { return weight(i, 1) < s.min_p; });
  std::vector<double> out(logits.size(), 0.0);
  total = 0;
  for (size_t i : order) total += weight(i, s.temperature);
  for (size_t i : order) out[i] = weight(i, s.temperature) / total;
  return out;
}

// Pearson's statistic over groups of draws; each group has a distribution of its own.
class ChiSquare {
 public:
  // Draws of one group: outcome i was seen seen[i] times and has probability wanted[i]. Outcomes are pooled, likely
  // ones first, until ten of each pool are expected: below that the statistic does not follow its distribution.
  void add(std::span<const double> wanted, std::span<const int> seen) {
    constexpr double kMin = 10;
    const double draws = std::accumulate(seen.begin(), seen.end(), 0.0);
    std::vector<size_t> order(wanted.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return wanted[a] > wanted[b]; });
    std::vector<Pool> pools;
    bool open = false;
    for (const size_t i : order) {
      if (wanted[i] <= 0 && seen[i] > 0) statistic_ = std::numeric_limits<double>::infinity();
      if (!open) pools.emplace_back();
      pools.back().expected += wanted[i] * draws;
      pools.back().seen += seen[i];
      open = pools.back().expected < kMin;
    }
    if (open && pools.size() > 1) {  // the rest is too small for a pool of its own
      pools[pools.size() - 2].expected += pools.back().expected;
      pools[pools.size() - 2].seen += pools.back().seen;
      pools.pop_back();
    }
    if (pools.size() < 2) return;
    for (const Pool& pool : pools)
      statistic_ += (pool.seen - pool.expected) * (pool.seen - pool.expected) / pool.expected;
    freedom_ += isize(pools) - 1;
  }

  double statistic() const { return statistic_; }
  int freedom() const { return freedom_; }
  // What the statistic of right draws exceeds with a probability of 0.1 % (Wilson and Hilferty's approximation, within
  // 0.1 for 30 degrees of freedom and more), and what it stays below with that probability.
  double most() const { return quantile(kNormal999); }
  double least() const { return quantile(-kNormal999); }

 private:
  struct Pool {
    double expected = 0, seen = 0;
  };
  static constexpr double kNormal999 = 3.0902;  // 99.9 % of normal draws are below
  double quantile(double normal) const {
    const double v = 2.0 / (9.0 * freedom_);
    return freedom_ * std::pow(1 - v + normal * std::sqrt(v), 3);
  }

  double statistic_ = 0;
  int freedom_ = 0;
};

}  // namespace s3d
