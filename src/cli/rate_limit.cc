#include "cli/rate_limit.h"

#include <algorithm>

namespace s3d::cli {
namespace {

constexpr double kMinute = 60;

}  // namespace

double RateLimit::filled(const Budget& budget, double now) const {
  return std::min<double>(per_minute_, budget.left + (now - budget.at) * per_minute_ / kMinute);
}

// Once a minute, so that the list holds the clients of two minutes at most.
void RateLimit::forget_full(double now) {
  if (now - swept_ < kMinute) return;
  swept_ = now;
  std::erase_if(budgets_, [&](const auto& entry) { return filled(entry.second, now) >= per_minute_; });
}

std::optional<double> RateLimit::take(const std::string& client, double now) {
  if (per_minute_ <= 0) return {};
  const std::lock_guard lock(mutex_);
  forget_full(now);
  Budget& budget = budgets_.try_emplace(client, Budget{static_cast<double>(per_minute_), now}).first->second;
  budget = {filled(budget, now), now};
  if (budget.left < 1) return (1 - budget.left) * kMinute / per_minute_;
  budget.left -= 1;
  return {};
}

}  // namespace s3d::cli
