// How often a draft is right, by the share of the layers that it runs: the one-parameter law α(β; U) that the paper
// (arXiv 2405.20314) plans with.
#pragma once

#include <span>

namespace s3d::tune {

// α(β; U) = (1 − U^β) / (1 − U), here with u = ln U: 0 at β = 0, 1 at β = 1, rising between them. u = 0 is the straight
// line; the lower u, the better a few layers are; above 0 few layers are worse than their share.
double acceptance(double beta, double u);

// What was measured at one β: of `count` drafts that were compared, the share `rate` was right.
struct RatePoint {
  double beta = 0;
  double rate = 0;
  double count = 0;
  double u = 0;  // of a law that is known already: what is fitted is added to it
};

inline constexpr double kSteepest = 30;  // |u| beyond this changes no prediction

// The u, added to each point's own, for which the points are likeliest (binomial); between -kSteepest and kSteepest. At
// least one point.
double fit_law(std::span<const RatePoint> points);

// How many times as much the points scatter about the law as chance alone would make them (reduced chi-square), at
// least 1: the law is simple, and counts must not pretend that it is exact. `parameters`: that were fitted to them.
double scatter(std::span<const RatePoint> points, double u, int parameters = 1);

}  // namespace s3d::tune
