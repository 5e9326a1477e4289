// Which anchors a step trains on: a function of seed and step only, so that a run resumes exactly and several ranks
// share a step.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/dataset.h"
#include "train/draft_block.h"
#include "train/record_store.h"

namespace s3d::train {

// Some anchors of one sequence that are trained in one step.
struct AnchorGroup {
  int sequence;
  std::vector<int> positions;  // distinct, ascending; at most `per_group` of them
};

// How many rows of its anchors a step trains. Later rows matter less, because they count only when the earlier ones are
// right. With weights w_0 >= w_1 >= … a loss can weigh every row, and pay for all of them; or it can leave out the
// later rows of most anchors and weigh what is left equally, which has the same expected gradient for each anchor at a
// part of the cost. The steps are of (nearly) the same number of rows: the fewer rows an anchor has, the more anchors.
class RowSchedule {
 public:
  // `weights`: of rows 0, 1, …, not increasing. `sampled` false: every step trains all rows.
  RowSchedule(std::vector<double> weights, bool sampled, int full_groups, uint64_t seed);

  int rows(int64_t step) const;  // a function of seed and step
  int groups(int rows) const;    // of a step with so many rows
  double mean_groups() const;    // of a step, expected

 private:
  std::vector<double> shares_;  // [rows - 1] of all steps
  int full_groups_;             // of a step with all rows
  uint64_t seed_;
};

// Every anchor of every answer once an epoch: each sequence's anchors are shuffled anew and cut into groups of
// `per_group`, and the groups of all sequences are shuffled. Each step takes the next of them.
class AnchorSchedule {
 public:
  AnchorSchedule(const Dataset& data, int per_group, RowSchedule rows, uint64_t seed);

  double steps_per_epoch() const { return static_cast<double>(groups_per_epoch_) / rows_.mean_groups(); }
  int64_t anchors_per_epoch() const { return anchors_per_epoch_; }
  int64_t anchors_before(int64_t step);  // trained by the steps before it
  int rows(int64_t step) const { return rows_.rows(step); }

  // The groups of a step. Consecutive steps are cheap.
  std::vector<AnchorGroup> step(int64_t step);

 private:
  void make_epoch(int64_t epoch);
  int64_t first_group(int64_t step);  // of all groups of all epochs

  const Dataset& data_;
  int per_group_;
  RowSchedule rows_;
  uint64_t seed_;
  int64_t groups_per_epoch_ = 0;
  int64_t anchors_per_epoch_ = 0;
  std::vector<int64_t> firsts_ = {0};  // first_group() of the steps that were asked for
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
  Tensor targets;              // [S * A, R] the text's token at t + 1 + j, or -1 where it has ended or is filled up
  Tensor previous;             // [S * A, R] the token before it (row 0: x_t; 0 where there is none)
};

// The rows of these anchors without what the base knows of their sequences (DraftBatch::context_kv and ::state).
// `per_group`: A. `rows`: R; 0: config.depth(). All groups must hold at least one anchor.
TrainingBatch make_rows(const Dataset& data, const AdapterConfig& config, const std::vector<AnchorGroup>& groups,
                        int per_group, torch::Device device, int rows = 0);

// The base's distributions at the rows of a batch: [S, A, R, k] each. Rows beyond the end of a text, which have no
// target, get any.
RecordStore::SoftTargets soft_targets(const RecordStore& store, const TrainingBatch& batch);

// The same with that from a store.
TrainingBatch make_batch(const Dataset& data, const RecordStore& store, const AdapterConfig& config,
                         const std::vector<AnchorGroup>& groups, int per_group, torch::Device device, int rows = 0);

}  // namespace s3d::train
