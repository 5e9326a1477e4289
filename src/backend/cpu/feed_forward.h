// The gated feed-forward as a piece of a layer: from the sublayer's input to what it adds to the residual stream.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/cpu/cpu_pass.h"

namespace s3d {

// Thread rule: prepare() by one thread, run() by every thread of the team.
class FeedForward {
 public:
  // `pass` must outlive it.
  FeedForward(CpuPass& pass, size_t max_rows);

  // What run() reads from `pass`, and the formats of all layers together.
  SublayerInput input(int layer) const;
  FormatSet input_formats() const { return input_formats_; }

  // After the pass's own prepare().
  void prepare();

  // down (act(gate x) * up x), then `end`.
  void run(Team& team, int layer, const PackedAdapter::Layer& lora, const SublayerEnd& end);

  size_t scratch_bytes() const;

 private:
  struct Formats {
    FormatSet input, down;
  };

  const LayerWeights& weights(int layer) const { return pass_.model.layers[usize(layer)]; }
  void gate_and_up(Team& team, int layer, const PackedLora& lora);

  CpuPass& pass_;
  const size_t d_ff_;
  std::vector<Formats> formats_;  // [n_layers]
  FormatSet input_formats_, down_formats_;
  AlignedFloats gate_, up_;         // [n][d_ff]
  ThreadCopies<StoredRows> gated_;  // [n][d_ff]
};

}  // namespace s3d
