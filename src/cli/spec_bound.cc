#include "cli/spec_bound.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/index.h"

namespace s3d::cli {

RoundParts round_parts(const SpecFigures& plain, const SpecFigures& drafter) {
  if (plain.stats.num_rounds == 0 || drafter.stats.num_rounds == 0 || plain.stats.verify_seconds <= 0) return {};
  const double pass = plain.stats.verify_seconds / static_cast<double>(plain.stats.num_rounds);
  const auto rounds = static_cast<double>(drafter.stats.num_rounds);
  const SpecStats& stats = drafter.stats;
  return {.tokens = static_cast<double>(drafter.tokens) / rounds,
          .drafted = static_cast<double>(stats.num_draft_tokens) / rounds,
          .verify = stats.verify_seconds / rounds / pass,
          .draft = stats.draft_seconds / rounds / pass,
          .rest = std::max(0.0, drafter.seconds - stats.verify_seconds - stats.draft_seconds) / rounds / pass,
          .plain = plain.seconds / plain.stats.verify_seconds};
}

std::string bound_line(const SpecBenchResult& result) {
  const DrafterResult* best = nullptr;
  for (const DrafterResult& one : result.drafters) {
    const bool real = !one.name.starts_with("synthetic");
    if (real && one.all.stats.num_drafts > 0 && (best == nullptr || one.all.speedup > best->all.speedup)) best = &one;
  }
  if (best == nullptr) return "";
  const RoundParts parts = round_parts(result.plain.all, best->all);
  if (parts.tokens <= 0) return "";
  struct Bound {
    const char* name;
    const char* without;
    double speedup;
  };
  std::array<Bound, 3> bounds = {{{"acceptance", "if every drafted token were right", parts.with_right_drafts()},
                                  {"the rows of the verify pass", "if they cost nothing", parts.with_free_rows()},
                                  {"the cost of drafts", "if they cost nothing", parts.with_free_drafts()}}};
  std::stable_sort(bounds.begin(), bounds.end(), [](const Bound& a, const Bound& b) { return a.speedup > b.speedup; });
  return fmt::format(
      "{} gains most. A round gives {:.2f} tokens and costs {:.2f} one-row passes: {:.2f} to verify, {:.2f} to draft, "
      "{:.2f} for the rest; that is {:.2f} times plain decoding. What bounds it: {} ({:.2f} times {}), then {} ({:.2f} "
      "{}), then {} ({:.2f} {}).",
      best->name, parts.tokens, parts.verify + parts.draft + parts.rest, parts.verify, parts.draft, parts.rest,
      parts.speedup(), bounds[0].name, bounds[0].speedup, bounds[0].without, bounds[1].name, bounds[1].speedup,
      bounds[1].without, bounds[2].name, bounds[2].speedup, bounds[2].without);
}

}  // namespace s3d::cli
