// Attention as a piece of a layer: from the sublayer's input to what it adds to the residual stream.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/block_placement.h"
#include "backend/cpu/attention.h"
#include "backend/cpu/cpu_pass.h"
#include "backend/cpu/rope_table.h"

namespace s3d {

// Thread rule: prepare() by one thread, run() by every thread of the team.
class SelfAttention {
 public:
  // `pass` must outlive it.
  SelfAttention(CpuPass& pass, size_t max_rows);

  // What run() reads from `pass`, and the formats of all layers together.
  SublayerInput input(int layer) const;
  FormatSet input_formats() const { return input_formats_; }

  // After the pass's own prepare(). `placement` and `kv` are kept by reference until the next one.
  void prepare(const BlockPlacement& placement, const KvCache& kv);

  // Output projection of attention over the cache, then `end`.
  void run(int thread, Team& team, int layer, const PackedAdapter::Layer& lora, const SublayerEnd& end);

  size_t scratch_bytes() const;

 private:
  struct Formats {
    FormatSet input, output;
  };

  const LayerWeights& weights(int layer) const { return pass_.model.layers[usize(layer)]; }
  void project(Team& team, int layer, const PackedLora& lora);
  void attend(int thread, Team& team, int layer);
  void norm(const std::vector<float>& weight, float* vector) const;
  void place_head(int layer, size_t r, int kv_head);

  CpuPass& pass_;
  const ModelConfig& config_;
  std::vector<Formats> formats_;  // [n_layers]
  FormatSet input_formats_, output_formats_;
  BlockAttention attention_;
  RopeTable rope_[2];  // [is local]
  const BlockPlacement* placement_ = nullptr;
  const KvLayout* layout_ = nullptr;
  std::vector<int> positions_;            // [n]
  std::vector<RopeSet> rope_sets_;        // [n]
  AlignedFloats q_, attended_;            // [n][q_dim]
  AlignedFloats k_, v_;                   // [n][kv_dim]
  ThreadCopies<StoredRows> attended_in_;  // [n][q_dim]
};

}  // namespace s3d
