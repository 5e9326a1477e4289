// LoRA in the passes of the CPU backend: the small products that are added to the base's.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "backend/cpu/stored_rows.h"
#include "backend/cpu/thread_copies.h"
#include "backend/packed_adapter.h"
#include "base/aligned.h"

namespace s3d {

// LoRA of one matrix: b times the stored low-rank rows, by way of `sum`, [rows.size()][b->rows()] that nobody else
// uses.
struct LowRankTerm {
  const PackedMatrix* b = nullptr;  // null: none
  const Activations* low = nullptr;
  float* sum = nullptr;
  std::span<const size_t> rows = {};  // of the pass, that it is added to
};

// The low-rank rows of one pass. Thread rule: prepare() and clear() by one thread, the others by every thread of the
// team.
class LowRankRows {
 public:
  // Sizes the buffers for a pass of `n` rows, some of which (`rows`, ascending) run with `adapter`. `widest`: columns
  // of the widest matrix with LoRA.
  void prepare(const PackedAdapter& adapter, std::vector<size_t> rows, size_t n, size_t widest, int tile,
               size_t threads);
  // A pass without an adapter follows.
  void clear() { formats_ = {}; }

  // In which a pass stores rows beside the base's formats, because some matrix of LoRA reads them.
  FormatSet formats() const { return formats_; }

  // [n][lora.a.rows()] where the product of lora.a goes.
  float* low() { return low_.data(); }
  // Stores the rows of low() that run with the adapter for the b's of `lora`.
  void store(Team& team, const Kernels& kernels, const PackedLora& lora);
  // What b[pair] adds, once the rows are stored.
  LowRankTerm term(const Team& team, const PackedLora& lora, size_t pair);

  size_t scratch_bytes() const;

 private:
  using Pairs = std::array<StoredRows, PackedLora::kMax>;

  FormatSet formats_;
  std::vector<size_t> rows_;    // that run with the adapter
  AlignedFloats low_;           // [n][stacked ranks]: one row more costs less than another input
  ThreadCopies<Pairs> low_in_;  // [rows_][rank] of each pair
  AlignedFloats sums_;          // [kMax][rows_][widest output]
};

}  // namespace s3d
