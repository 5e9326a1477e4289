#include "backend/cuda/pass_inputs.h"

#include <algorithm>

#include "base/index.h"

namespace s3d::cuda {
namespace {

constexpr int kMaxQueries = 8;  // of a block: rows times heads

int first_seen(const PlacedRow& row, int window) {
  return window > 0 ? std::max(0, row.position + 1 - window) : 0;
}

// Rows order[first, first + count), which see the segments that any of them sees.
AttentionTile make_tile(const BlockPlacement& placement, const AttentionPlan& plan, int first, int count, int window) {
  constexpr int kSegment = AttentionTask::kSegment;
  int begin = INT32_MAX, end = 0;
  for (int i = first; i < first + count; ++i) {
    const PlacedRow& row = placement.rows[usize(plan.row_order[usize(i)])];
    begin = std::min(begin, first_seen(row, window));
    end = std::max(end, row.position + 1);
  }
  return {first, count, begin / kSegment, (end - 1) / kSegment - begin / kSegment + 1};
}

}  // namespace

AttentionPlan plan_attention(const BlockPlacement& placement, int group, int window) {
  AttentionPlan plan;
  const int parts = (group + kMaxQueries - 1) / kMaxQueries;
  plan.heads_per_part = (group + parts - 1) / parts;
  plan.rows_per_tile = std::max(1, kMaxQueries / plan.heads_per_part);
  for (const PlacedRow& row : placement.rows) {
    plan.seen.push_back({row.sequence, row.position + 1, row.contiguous, static_cast<int32_t>(row.path_begin)});
    plan.max_segments = std::max(plan.max_segments, row.position / AttentionTask::kSegment + 1);
  }
  for (const PlacedSequence& sequence : placement.sequences) {
    plan.first_page.push_back(isize(plan.pages));
    plan.pages.insert(plan.pages.end(), sequence.pages.begin(), sequence.pages.end());
    const int begin = isize(plan.row_order), n = isize(sequence.rows);
    plan.row_order.insert(plan.row_order.end(), sequence.rows.begin(), sequence.rows.end());
    for (int first = 0; first < n; first += plan.rows_per_tile) {
      const int count = std::min(plan.rows_per_tile, n - first);
      plan.tiles[0].push_back(make_tile(placement, plan, begin + first, count, 0));
      plan.tiles[1].push_back(make_tile(placement, plan, begin + first, count, window));
    }
  }
  return plan;
}

}  // namespace s3d::cuda
