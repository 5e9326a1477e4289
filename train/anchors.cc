#include "train/anchors.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/index.h"
#include "train/device_copy.h"
#include "train/keyed_random.h"

namespace s3d::train {
namespace {

// A permutation that depends on the key alone.
template <typename T>
void shuffle(std::vector<T>& values, uint64_t key) {
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[keyed(key, i) % i]);
}

}  // namespace

std::vector<int> all_anchors(const Sequence& sequence) {
  std::vector<int> out;
  for (int t = sequence.prompt_length; t + 1 < sequence.length(); ++t) out.push_back(t);
  return out;
}

RowSchedule::RowSchedule(std::vector<double> weights, bool sampled, int full_groups, uint64_t seed)
    : shares_(weights.size()), full_groups_(full_groups), seed_(seed) {
  // A step of r rows has 1 / r of its anchors' weight in each row. For row j to weigh w_j in all, the steps of r rows
  // must be a share of r (w_{r-1} - w_r).
  weights.push_back(0);
  double sum = 0;
  for (size_t r = 1; r <= shares_.size(); ++r) {
    shares_[r - 1] = sampled ? static_cast<double>(r) * (weights[r - 1] - weights[r]) : r == shares_.size();
    sum += shares_[r - 1];
  }
  for (double& share : shares_) share /= sum;
}

int RowSchedule::rows(int64_t step) const {
  double left = uniform(keyed(seed_, 0x707, step));
  for (size_t r = 1; r < shares_.size(); ++r) {
    left -= shares_[r - 1];
    if (left < 0) return static_cast<int>(r);
  }
  return static_cast<int>(shares_.size());
}

int RowSchedule::groups(int rows) const {
  return static_cast<int>(std::lround(static_cast<double>(full_groups_) * static_cast<double>(shares_.size()) / rows));
}

double RowSchedule::mean_groups() const {
  double mean = 0;
  for (size_t r = 1; r <= shares_.size(); ++r) mean += shares_[r - 1] * groups(static_cast<int>(r));
  return mean;
}

AnchorSchedule::AnchorSchedule(const Dataset& data, int per_group, RowSchedule rows, uint64_t seed)
    : data_(data), per_group_(per_group), rows_(std::move(rows)), seed_(seed) {
  for (const Sequence& sequence : data.sequences) {
    const int anchors = std::max(0, sequence.answer_length() - 1);
    anchors_per_epoch_ += anchors;
    groups_per_epoch_ += (anchors + per_group - 1) / per_group;
  }
}

int64_t AnchorSchedule::first_group(int64_t step) {
  while (static_cast<int64_t>(firsts_.size()) <= step) {
    firsts_.push_back(firsts_.back() + rows_.groups(rows_.rows(static_cast<int64_t>(firsts_.size()) - 1)));
  }
  return firsts_[static_cast<size_t>(step)];
}

int64_t AnchorSchedule::anchors_before(int64_t step) {
  const int64_t epoch = first_group(step) / groups_per_epoch_, rest = first_group(step) % groups_per_epoch_;
  if (rest > 0 && epoch != epoch_) make_epoch(epoch);
  int64_t anchors = epoch * anchors_per_epoch_;
  for (int64_t i = 0; i < rest; ++i) anchors += isize(groups_[static_cast<size_t>(i)].positions);
  return anchors;
}

void AnchorSchedule::make_epoch(int64_t epoch) {
  groups_.clear();
  for (size_t s = 0; s < data_.sequences.size(); ++s) {
    std::vector<int> anchors = all_anchors(data_.sequences[s]);
    shuffle(anchors, keyed(seed_, epoch, s));
    for (size_t at = 0; at < anchors.size(); at += static_cast<size_t>(per_group_)) {
      const size_t end = std::min(anchors.size(), at + static_cast<size_t>(per_group_));
      AnchorGroup group{
          static_cast<int>(s),
          {anchors.begin() + static_cast<std::ptrdiff_t>(at), anchors.begin() + static_cast<std::ptrdiff_t>(end)}};
      std::sort(group.positions.begin(), group.positions.end());
      groups_.push_back(std::move(group));
    }
  }
  shuffle(groups_, keyed(seed_, epoch, ~uint64_t{0}));
  epoch_ = epoch;
}

std::vector<AnchorGroup> AnchorSchedule::step(int64_t step) {
  std::vector<AnchorGroup> out;
  for (int64_t i = first_group(step); i < first_group(step + 1); ++i) {
    if (i / groups_per_epoch_ != epoch_) make_epoch(i / groups_per_epoch_);
    out.push_back(groups_[static_cast<size_t>(i % groups_per_epoch_)]);
  }
  return out;
}

TrainingBatch make_rows(const Dataset& data, const AdapterConfig& config, const std::vector<AnchorGroup>& groups,
                        int per_group, torch::Device device, int rows) {
  const auto s = static_cast<int64_t>(groups.size());
  if (rows == 0) rows = config.depth();
  std::vector<int64_t> positions, tokens, targets, previous;
  TrainingBatch batch;
  int64_t context = 1;
  for (const AnchorGroup& group : groups) {
    const Sequence& sequence = data.sequences[static_cast<size_t>(group.sequence)];
    S3D_CHECK(!group.positions.empty() && group.positions.size() <= static_cast<size_t>(per_group));
    batch.sequences.push_back(group.sequence);
    for (int a = 0; a < per_group; ++a) {
      const bool filler = static_cast<size_t>(a) >= group.positions.size();
      const int t = group.positions[filler ? 0 : static_cast<size_t>(a)];
      positions.push_back(t);
      tokens.push_back(sequence.tokens[static_cast<size_t>(t)]);
      context = std::max<int64_t>(context, t);
      for (int j = 0; j < rows; ++j) {
        const auto at = static_cast<size_t>(t + j);
        previous.push_back(at < sequence.tokens.size() ? sequence.tokens[at] : 0);
        targets.push_back(!filler && at + 1 < sequence.tokens.size() ? sequence.tokens[at + 1] : -1);
      }
    }
  }
  const auto longs = [&](const std::vector<int64_t>& values, std::vector<int64_t> shape) {
    return to_device(torch::tensor(values).view(shape), device);
  };
  batch.draft.sequences = s;
  batch.draft.anchors = per_group;
  batch.draft.rows = rows;
  batch.draft.positions = longs(positions, {s, per_group});
  batch.draft.tokens = longs(tokens, {s, per_group});
  batch.targets = longs(targets, {s * per_group, rows});
  batch.previous = longs(previous, {s * per_group, rows});
  batch.draft.context_length = context;
  return batch;
}

RecordStore::SoftTargets soft_targets(const RecordStore& store, const TrainingBatch& batch) {
  const Tensor& positions = batch.draft.positions;
  return store.soft_targets(batch.sequences,
                            positions.unsqueeze(2) + torch::arange(batch.draft.rows, positions.options()));
}

TrainingBatch make_batch(const Dataset& data, const RecordStore& store, const AdapterConfig& config,
                         const std::vector<AnchorGroup>& groups, int per_group, torch::Device device, int rows) {
  TrainingBatch batch = make_rows(data, config, groups, per_group, device, rows);
  if (config.state_rank > 0) batch.draft.state = store.state(batch.sequences, batch.draft.positions);
  if (!device.is_cpu()) {  // few lengths, so that a GPU's memory is used again as it is, and whole tiles
    constexpr int64_t kTile = 64;
    batch.draft.context_length = (batch.draft.context_length + kTile - 1) / kTile * kTile;
  }
  batch.draft.context_kv = store.context(batch.sequences, batch.draft.context_length);
  return batch;
}

}  // namespace s3d::train
