#include "train/anchors.h"

#include <algorithm>

#include "base/check.h"
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

AnchorPlan::AnchorPlan(const Dataset& data, int per_group, int groups_per_step, uint64_t seed)
    : data_(data), per_group_(per_group), groups_per_step_(groups_per_step), seed_(seed) {
  int64_t groups = 0;
  for (const Sequence& sequence : data.sequences) {
    const int anchors = std::max(0, sequence.answer_length() - 1);
    anchors_per_epoch_ += anchors;
    groups += (anchors + per_group - 1) / per_group;
  }
  steps_per_epoch_ = std::max<int64_t>(1, groups / groups_per_step);
}

void AnchorPlan::make_epoch(int64_t epoch) {
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

std::vector<AnchorGroup> AnchorPlan::step(int64_t step) {
  const int64_t epoch = step / steps_per_epoch_;
  if (epoch != epoch_) make_epoch(epoch);
  const auto begin = static_cast<size_t>(step % steps_per_epoch_) * static_cast<size_t>(groups_per_step_);
  const size_t end = std::min(groups_.size(), begin + static_cast<size_t>(groups_per_step_));
  return {groups_.begin() + static_cast<std::ptrdiff_t>(begin), groups_.begin() + static_cast<std::ptrdiff_t>(end)};
}

TrainingBatch make_batch(const Dataset& data, const ContextStore& store, const AdapterConfig& config,
                         const std::vector<AnchorGroup>& groups, int per_group, torch::Device device) {
  const auto s = static_cast<int64_t>(groups.size());
  const int64_t rows = config.masks + 1;
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
    return torch::tensor(values).view(shape).to(device);
  };
  batch.draft.sequences = s;
  batch.draft.anchors = per_group;
  batch.draft.positions = longs(positions, {s, per_group});
  batch.draft.tokens = longs(tokens, {s, per_group});
  batch.targets = longs(targets, {s * per_group, rows});
  batch.previous = longs(previous, {s * per_group, rows});
  if (config.state_rank > 0) batch.draft.state = store.state(batch.sequences, batch.draft.positions);
  batch.draft.context = [&store, sequences = batch.sequences, context](int kept_layer) {
    return store.context(kept_layer, sequences, context);
  };
  return batch;
}

}  // namespace s3d::train
