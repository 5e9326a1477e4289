// The end of a pass of the CPU backend: output norm and logits of the rows that want them.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/cpu_pass.h"

namespace s3d {

// Thread rule: prepare() and output() by one thread, run() by every thread of the team.
class LmHead {
 public:
  // `pass` must outlive it.
  explicit LmHead(CpuPass& pass) : pass_(pass) {}

  // For the rows `wanted` (indices in the pass), which stay where they are until the next prepare(). The logits of a
  // pass with an adapter are those of its draft vocabulary. Nothing is done where no row is wanted.
  void prepare(std::span<const int> wanted, const PackedAdapter* adapter, bool want_hidden);

  void run(int thread, Team& team);

  // What run() left; the views hold until the next prepare().
  PassOutput output();

  size_t scratch_bytes() const;

 private:
  using Floats = AlignedFloats;

  const PackedMatrix& head() const;
  size_t rows() const;    // of the head that this pass uses
  size_t stride() const;  // floats from one row of `logits_` to the next
  bool reordered() const { return adapter_ == nullptr && !pass_.model.lm_head_ids.empty(); }
  void product(const Activations& in, size_t begin, size_t end);
  void scattered_product(int thread, const Activations& in, size_t begin, size_t end);

  CpuPass& pass_;
  std::span<const int> wanted_;
  const PackedAdapter* adapter_ = nullptr;
  bool want_hidden_ = false;
  ThreadCopies<StoredRows> in_;  // [n wanted][d_model]
  Floats logits_;                // [n wanted][stride()]
  Floats hidden_;                // [n wanted][d_model]
  Floats scattered_;             // [threads][n wanted][kPiece * 16] logits in the head's order
};

}  // namespace s3d
