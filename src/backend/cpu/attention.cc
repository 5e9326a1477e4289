#include "backend/cpu/attention.h"

#include <algorithm>

#include "base/index.h"

namespace s3d {
namespace {

constexpr int kMaxQueries = AttentionTask::kMaxQueries;
constexpr int kSegment = AttentionTask::kSegment;

// A block of at most so many rows is done head by head, without a barrier between writing keys and reading them: the
// barrier (about half a microsecond) costs more than threads that are left over.
constexpr size_t kFewRows = 4;

// With fewer tasks for each thread than this, one long task could leave the others waiting.
constexpr size_t kTasksPerThread = 4;

}  // namespace

BlockAttention::BlockAttention(const ModelConfig& config, const FloatKernels& kernels, int threads)
    : config_(config), kernels_(kernels), threads_(threads), group_(config.n_heads / config.n_kv_heads) {
  const int parts_of_group = (group_ + kMaxQueries - 1) / kMaxQueries;
  part_heads_ = (group_ + parts_of_group - 1) / parts_of_group;
  n_parts_ = usize(parts_of_group) * usize(config.n_kv_heads);
  const size_t partial = kPartialHeader + (usize(config.head_dim) + 15) / 16 * 16;
  scratch_.resize(usize(threads));
  for (Scratch& scratch : scratch_) {
    scratch.scores.resize(kMaxQueries * kSegment);
    scratch.partial.resize(kMaxQueries * partial);
    scratch.state.resize(kMaxQueries * partial);
  }
}

void BlockAttention::prepare(const BlockPlacement& placement, const KvLayout& layout) {
  placement_ = &placement;
  layout_ = &layout;
  make_tiles(placement, std::max(1, kMaxQueries / part_heads_), tiles_);
  cut_tasks(/*local=*/false);
  if (!config_.local_layer.empty()) cut_tasks(/*local=*/true);
  by_head_ = placement.rows.size() <= kFewRows && reach_[0].units.empty() && reach_[1].units.empty();
  const size_t units = std::max(reach_[0].units.size(), reach_[1].units.size());
  if (partials_.size() < units * floats_per_task()) partials_.resize(units * floats_per_task());
}

void BlockAttention::cut_tasks(bool local) {
  Reach& reach = reach_[local];
  reach.units.clear();
  reach.first_unit.clear();
  const size_t tasks = tiles_.size() * n_parts_;
  if (threads_ == 1 || tasks >= kTasksPerThread * usize(threads_)) return;
  // Any layer of the kind tells which segments a task has.
  int layer = 0;
  while (layer + 1 < config_.n_layers && is_local(layer) != local) ++layer;
  for (size_t task = 0; task < tasks; ++task) {
    reach.first_unit.push_back(reach.units.size());
    int first, last;
    segments_of(make_task(layer, task, nullptr, nullptr), &first, &last);
    for (int s = first; s <= last; ++s) reach.units.push_back({task, s});
  }
  reach.first_unit.push_back(reach.units.size());
  if (reach.units.size() == tasks) reach.units.clear();  // one segment each: nothing to cut
}

AttentionTask BlockAttention::make_task(int layer, size_t index, const float* q, float* out) const {
  // A thread's tasks are neighbours: tiles of one head, whose keys and values it then finds in its cache.
  const RowTile& tile = tiles_[index % tiles_.size()];
  const int part = static_cast<int>(index / tiles_.size());
  const int parts_of_group = static_cast<int>(n_parts_) / config_.n_kv_heads;
  const int kv_head = part / parts_of_group;
  const int first_head = part % parts_of_group * part_heads_;
  const size_t column = usize(kv_head * group_ + first_head) * usize(config_.head_dim);
  const int window = is_local(layer) ? config_.sliding_window : 0;
  const PlacedSequence& sequence = placement_->sequences[tile.sequence];

  AttentionTask task{};
  task.layout = layout_;
  task.pages = sequence.pages.data();
  task.key_offset = layout_->key_head_offset(layer, kv_head);
  task.value_offset = layout_->value_head_offset(layer, kv_head);
  task.scale = config_.attention_scale;
  task.softcap = config_.attention_softcap;
  task.heads = std::min(part_heads_, group_ - first_head);
  task.n_rows = tile.count;
  for (int i = 0; i < tile.count; ++i) {
    const int r = sequence.rows[tile.first + i];
    const PlacedRow& row = placement_->rows[r];
    const size_t offset = usize(r) * usize(config_.q_dim()) + column;
    const int end = row.position + 1;
    const int begin = window > 0 ? std::max(0, end - window) : 0;
    const int contiguous = std::max(row.contiguous, begin);
    task.rows[i] = {.q = q == nullptr ? nullptr : q + offset,
                    .out = out == nullptr ? nullptr : out + offset,
                    .begin = begin,
                    .end = end,
                    .contiguous = contiguous,
                    .path = placement_->path(row) + (contiguous - row.contiguous)};
  }
  return task;
}

void BlockAttention::segments_of(const AttentionTask& task, int* first, int* last) const {
  int begin = task.rows[0].begin, end = task.rows[0].end;
  for (int i = 1; i < task.n_rows; ++i) {
    begin = std::min(begin, task.rows[i].begin);
    end = std::max(end, task.rows[i].end);
  }
  *first = begin / kSegment;
  *last = (end - 1) / kSegment;
}

void BlockAttention::finish(const AttentionTask& task, const float* state) const {
  const size_t head_dim = usize(config_.head_dim), stride = partial_floats(*layout_);
  for (int row = 0; row < task.n_rows; ++row) {
    for (int head = 0; head < task.heads; ++head) {
      kernels_.finish(state, head_dim, task.rows[row].out + usize(head) * head_dim);
      state += stride;
    }
  }
}

void BlockAttention::run_task(int thread, int layer, size_t index, const float* q, float* out) {
  Scratch& scratch = scratch_[thread];
  const AttentionTask task = make_task(layer, index, q, out);
  const size_t stride = partial_floats(*layout_), queries = usize(task.n_rows * task.heads);
  int first, last;
  segments_of(task, &first, &last);
  // Merging into an empty state copies, so the first segment may as well be written there.
  kernels_.attend_segment(task, first, scratch.scores.data(), scratch.state.data());
  for (int segment = first + 1; segment <= last; ++segment) {
    kernels_.attend_segment(task, segment, scratch.scores.data(), scratch.partial.data());
    for (size_t i = 0; i < queries; ++i) {
      kernels_.merge_partial(&scratch.partial[i * stride], usize(config_.head_dim), &scratch.state[i * stride]);
    }
  }
  finish(task, scratch.state.data());
}

void BlockAttention::run_unit(int thread, int layer, size_t index, const float* q, float* out) {
  const Unit& unit = reach_[is_local(layer)].units[index];
  kernels_.attend_segment(make_task(layer, unit.task, q, out), unit.segment, scratch_[thread].scores.data(),
                          partials_.data() + index * floats_per_task());
}

void BlockAttention::merge_task(int thread, int layer, size_t index, const float* q, float* out) {
  const Reach& reach = reach_[is_local(layer)];
  std::vector<float>& state = scratch_[thread].state;
  const AttentionTask task = make_task(layer, index, q, out);
  const size_t stride = partial_floats(*layout_), queries = usize(task.n_rows * task.heads);
  std::fill(state.begin(), state.end(), 0.0F);
  for (size_t unit = reach.first_unit[index]; unit < reach.first_unit[index + 1]; ++unit) {
    const float* partial = partials_.data() + unit * floats_per_task();
    for (size_t i = 0; i < queries; ++i) {
      kernels_.merge_partial(partial + i * stride, usize(config_.head_dim), &state[i * stride]);
    }
  }
  finish(task, state.data());
}

void BlockAttention::run_head(int thread, int layer, int kv_head, const float* q, float* out) {
  const size_t parts_of_group = n_parts_ / usize(config_.n_kv_heads);
  const size_t tasks = parts_of_group * tiles_.size(), first = usize(kv_head) * tasks;
  for (size_t task = first; task < first + tasks; ++task) run_task(thread, layer, task, q, out);
}

void BlockAttention::run(Team& team, int thread, int layer, const float* q, float* out) {
  const Reach& reach = reach_[is_local(layer)];
  const size_t tasks = tiles_.size() * n_parts_;
  if (reach.units.empty()) {
    team.for_chunks(tasks, 1, [&](size_t i, size_t end) {
      for (; i < end; ++i) run_task(thread, layer, i, q, out);
    });
    return;
  }
  team.for_chunks(reach.units.size(), 1, [&](size_t i, size_t end) {
    for (; i < end; ++i) run_unit(thread, layer, i, q, out);
  });
  team.for_chunks(tasks, 1, [&](size_t i, size_t end) {
    for (; i < end; ++i) merge_task(thread, layer, i, q, out);
  });
}

size_t BlockAttention::scratch_bytes() const {
  size_t floats = partials_.capacity();
  for (const Scratch& scratch : scratch_) {
    floats += scratch.scores.capacity() + scratch.partial.capacity() + scratch.state.capacity();
  }
  return floats * sizeof(float);
}

}  // namespace s3d
