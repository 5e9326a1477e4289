// Which anchors a step trains on: a function of seed and step only, so that a run resumes exactly and several ranks
// share a step.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/context_store.h"
#include "train/dataset.h"
#include "train/draft_block.h"

namespace s3d::train {

// Some anchors of one sequence that are trained in one step.
struct AnchorGroup {
  int sequence;
  std::vector<int> positions;  // distinct, ascending; at most `per_group` of them
};

// Every anchor of every answer once an epoch: each sequence's anchors are shuffled anew and cut into groups of
// `per_group`, and the groups of all sequences are shuffled. A step takes the next `groups_per_step` of them; the last
// groups of an epoch that do not fill a step are left out.
class AnchorPlan {
 public:
  AnchorPlan(const Dataset& data, int per_group, int groups_per_step, uint64_t seed);

  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  int64_t anchors_per_epoch() const { return anchors_per_epoch_; }
  int per_group() const { return per_group_; }

  // The groups of a step. Consecutive steps of one epoch are cheap.
  std::vector<AnchorGroup> step(int64_t step);

 private:
  void make_epoch(int64_t epoch);

  const Dataset& data_;
  int per_group_;
  int groups_per_step_;
  uint64_t seed_;
  int64_t steps_per_epoch_ = 0;
  int64_t anchors_per_epoch_ = 0;
  int64_t epoch_ = -1;
  std::vector<AnchorGroup> groups_;  // of `epoch_`, shuffled
};

// The anchors of an answer: positions t whose token is decided (in the answer) and that have at least one token after
// them: prompt_length … length - 2.
std::vector<int> all_anchors(const Sequence& sequence);

// A batch with what it is trained towards. Anchors that only fill up a group have weight 0.
struct TrainingBatch {
  DraftBatch draft;
  std::vector<int> sequences;  // [S]
  Tensor targets;   // [S * A, masks + 1] the text's token at t + 1 + j, or -1 where it has ended or is filled up
  Tensor previous;  // [S * A, masks + 1] the token before it (row 0: x_t; 0 where there is none)
};

// `per_group`: A. All groups must hold at least one anchor.
TrainingBatch make_batch(const Dataset& data, const ContextStore& store, const AdapterConfig& config,
                         const std::vector<AnchorGroup>& groups, int per_group, torch::Device device);

}  // namespace s3d::train
