#include "tune/acceptance_law.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace s3d::tune {
namespace {

// Of the counts, without the constant.
double log_likelihood(std::span<const RatePoint> points, double u) {
  constexpr double kEdge = 1e-6;  // a share of exactly 0 or 1 is no proof
  double sum = 0;
  for (const RatePoint& point : points) {
    const double chance = std::clamp(acceptance(point.beta, point.u + u), kEdge, 1 - kEdge);
    sum += point.count * (point.rate * std::log(chance) + (1 - point.rate) * std::log(1 - chance));
  }
  return sum;
}

}  // namespace

double acceptance(double beta, double u) {
  constexpr double kStraight = 1e-9;  // expm1 of both would be 0 / 0
  if (std::abs(u) < kStraight) return beta;
  return std::expm1(u * beta) / std::expm1(u);
}

double fit_law(std::span<const RatePoint> points) {
  S3D_CHECK(!points.empty(), "a law is fitted to something");
  // The likelihood of one point has one maximum in u, and so has their sum here: golden section.
  const double golden = (std::sqrt(5.0) - 1) / 2;
  double low = -kSteepest, high = kSteepest;
  constexpr int kTurns = 60;  // 60 / 1.6^60 is below the precision of a double
  for (int i = 0; i < kTurns; ++i) {
    const double left = high - golden * (high - low), right = low + golden * (high - low);
    (log_likelihood(points, left) < log_likelihood(points, right) ? low : high) =
        log_likelihood(points, left) < log_likelihood(points, right) ? left : right;
  }
  return (low + high) / 2;
}

double scatter(std::span<const RatePoint> points, double u, int parameters) {
  double chi_square = 0;
  int counted = 0;
  for (const RatePoint& point : points) {
    const double chance = acceptance(point.beta, point.u + u);
    const double variance = chance * (1 - chance) / std::max(point.count, 1.0);
    if (variance <= 0) continue;
    chi_square += (point.rate - chance) * (point.rate - chance) / variance;
    ++counted;
  }
  const int free = counted - parameters;
  return free > 0 ? std::max(1.0, chi_square / free) : 1;
}

}  // namespace s3d::tune
