// LoRA in the passes of the CPU backend: the small products that are added to the base's.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "backend/cpu/stored_rows.h"
#include "backend/packed_adapter.h"

namespace s3d {

// LoRA of one matrix: b times the stored low-rank rows, by way of `sum`, [rows.size()][b->rows()] that nobody else
// uses.
struct LowRankTerm {
  const PackedMatrix* b = nullptr;  // null: none
  const Activations* low = nullptr;
  float* sum = nullptr;
  std::span<const size_t> rows = {};  // of the pass, that it is added to
};

// The low-rank rows of one pass. Thread rule: prepare() and clear() by one thread, store() for different rows at once.
class LowRankRows {
 public:
  // Sizes the buffers for a pass of `n` rows, some of which (`rows`, ascending) run with `adapter`. `widest`: columns
  // of the widest matrix with LoRA.
  void prepare(const PackedAdapter& adapter, std::vector<size_t> rows, size_t n, size_t widest, int tile);
  // A pass without an adapter follows.
  void clear() { formats_ = {}; }

  // In which a pass stores rows beside the base's formats, because some matrix of LoRA reads them.
  FormatSet formats() const { return formats_; }

  // [n][lora.a.rows()] where the product of lora.a goes.
  float* low() { return low_.data(); }
  // Stores row `r` of low() for the b's of `lora`, if it runs with the adapter.
  void store(const Kernels& kernels, const PackedLora& lora, size_t r);
  // What b[pair] adds, once the rows are stored.
  LowRankTerm term(const PackedLora& lora, size_t pair);

  size_t scratch_bytes() const;

 private:
  static constexpr size_t kNone = ~size_t{0};

  FormatSet formats_;
  std::vector<size_t> rows_;                         // that run with the adapter
  std::vector<size_t> index_;                        // [n] of each row in rows_, or kNone
  std::vector<float> low_;                           // [n][stacked ranks]: one row more costs less than another input
  std::array<StoredRows, PackedLora::kMax> low_in_;  // [rows_][rank] of each pair
  std::vector<float> sums_;                          // [kMax][rows_][widest output]
};

}  // namespace s3d
