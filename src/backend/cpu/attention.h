// Attention of one layer for all rows of a block, shared among the threads of a team.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/block_placement.h"
#include "base/thread_pool.h"
#include "kernels/float_ops.h"
#include "model/config.h"

namespace s3d {

// Work is cut into tasks: (key-value head, part of its query heads, tile of rows). When a block has too few tasks for
// the threads, tasks are cut further into segments of their context, whose partial results are merged in order; both
// ways give the same bits (kernels/float_ops.h).
// Thread rule: prepare() by one thread; the others from all threads of a team, each with its own `thread`.
class BlockAttention {
 public:
  BlockAttention(const ModelConfig& config, const FloatKernels& kernels, int threads);

  // Lays out the tasks of a block. `placement` and `layout` are kept by reference until the next prepare().
  void prepare(const BlockPlacement& placement, const KvLayout& layout);

  // True if each key-value head is best done by one thread at one go: run_head() for all heads.
  bool by_head() const { return by_head_; }

  // All rows of one key-value head. q: [n rows][q_dim], out: likewise.
  void run_head(int thread, int layer, int kv_head, const float* q, float* out);

  // All heads; every thread of the team calls it. Ends with a barrier.
  void run(Team& team, int thread, int layer, const float* q, float* out);

  size_t scratch_bytes() const;

 private:
  // One segment of one task, when tasks are cut.
  struct Unit {
    size_t task;
    int segment;
  };
  // Layers with and without a sliding window see different spans.
  struct Reach {
    std::vector<Unit> units;         // empty: tasks are not cut
    std::vector<size_t> first_unit;  // [tasks + 1]
  };
  struct Scratch {
    std::vector<float> scores;   // [kMaxQueries][kSegment]
    std::vector<float> partial;  // [kMaxQueries][partial_floats]
    std::vector<float> state;    // likewise
  };

  bool is_local(int layer) const { return config_.is_local(layer); }
  size_t floats_per_task() const { return AttentionTask::kMaxQueries * partial_floats(*layout_); }
  AttentionTask make_task(int layer, size_t index, const float* q, float* out) const;
  void segments_of(const AttentionTask& task, int* first, int* last) const;
  void cut_tasks(bool local);
  void run_task(int thread, int layer, size_t index, const float* q, float* out);
  void run_unit(int thread, int layer, size_t index, const float* q, float* out);
  void merge_task(int thread, int layer, size_t index, const float* q, float* out);
  void finish(const AttentionTask& task, const float* state) const;

  const ModelConfig& config_;
  const FloatKernels& kernels_;
  const int threads_;
  int group_;       // query heads of a key-value head
  int part_heads_;  // query heads of a part, at most
  size_t n_parts_;  // of all key-value heads
  const BlockPlacement* placement_ = nullptr;
  const KvLayout* layout_ = nullptr;
  bool by_head_ = false;
  std::vector<RowTile> tiles_;
  Reach reach_[2];  // [is local]
  std::vector<Scratch> scratch_;
  std::vector<float> partials_;  // [units][kMaxQueries][partial_floats]
};

}  // namespace s3d
