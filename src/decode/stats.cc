#include <cstddef>

#include "s3d/types.h"

namespace s3d {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

template <size_t n>
void add_each(std::array<int64_t, n>& to, const std::array<int64_t, n>& from) {
  for (size_t i = 0; i < n; ++i) to[i] += from[i];
}

}  // namespace

double SpecStats::mean_acceptance_length() const {
  return ratio(num_accepted_tokens + num_drafts - num_ended_drafts, num_drafts);
}

double SpecStats::draft_acceptance_rate() const {
  return ratio(num_accepted_tokens, num_draft_tokens);
}

std::vector<double> SpecStats::acceptance_by_depth() const {
  std::vector<double> out;
  for (size_t i = 0; i < reached_by_depth.size() && reached_by_depth[i] > 0; ++i) {
    out.push_back(ratio(accepted_by_depth[i], reached_by_depth[i]));
  }
  return out;
}

void SpecStats::add(const SpecStats& other) {
  num_rounds += other.num_rounds;
  num_drafts += other.num_drafts;
  num_ended_drafts += other.num_ended_drafts;
  num_draft_tokens += other.num_draft_tokens;
  num_accepted_tokens += other.num_accepted_tokens;
  add_each(reached_by_depth, other.reached_by_depth);
  add_each(accepted_by_depth, other.accepted_by_depth);
  add_each(acceptance_histogram, other.acceptance_histogram);
  draft_seconds += other.draft_seconds;
  verify_seconds += other.verify_seconds;
  sample_seconds += other.sample_seconds;
  other_seconds += other.other_seconds;
}

}  // namespace s3d
