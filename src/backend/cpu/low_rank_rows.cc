#include "backend/cpu/low_rank_rows.h"

#include <algorithm>
#include <utility>

namespace s3d {

void LowRankRows::prepare(const PackedAdapter& adapter, std::vector<size_t> rows, size_t n, size_t widest, int tile) {
  clear();
  rows_ = std::move(rows);
  index_.assign(n, kNone);
  for (size_t i = 0; i < rows_.size(); ++i) index_[rows_[i]] = i;
  std::array<FormatSet, PackedLora::kMax> low_formats;
  size_t ranks = 0, rank = 0;
  for (const PackedAdapter::Layer& layer : adapter.layers()) {
    for (const PackedLora* lora : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      if (lora->a.empty()) continue;
      formats_.add({&lora->a});
      ranks = std::max(ranks, lora->a.rows());
      for (size_t i = 0; i < lora->b.size(); ++i) {
        if (lora->b[i].empty()) continue;
        low_formats[i].add({&lora->b[i]});
        rank = lora->b[i].cols();
      }
    }
  }
  low_.resize(n * ranks);
  for (size_t i = 0; i < low_in_.size(); ++i) low_in_[i].resize(low_formats[i], rows_.size(), rank, tile);
  sums_.resize(PackedLora::kMax * rows_.size() * widest);
}

void LowRankRows::store(const Kernels& kernels, const PackedLora& lora, size_t r) {
  const size_t at = index_[r];
  if (at == kNone) return;
  for (size_t i = 0; i < lora.b.size(); ++i) {
    if (!lora.b[i].empty()) low_in_[i].store(kernels, &low_[r * lora.a.rows() + lora.first[i]], {&lora.b[i]}, at);
  }
}

LowRankTerm LowRankRows::term(const PackedLora& lora, size_t pair) {
  const PackedMatrix& b = lora.b[pair];
  if (b.empty()) return {};
  return {&b, &low_in_[pair].for_matrix(b), &sums_[pair * (sums_.size() / PackedLora::kMax)], rows_};
}

size_t LowRankRows::scratch_bytes() const {
  size_t bytes =
      (low_.capacity() + sums_.capacity()) * sizeof(float) + (rows_.capacity() + index_.capacity()) * sizeof(size_t);
  for (const StoredRows& rows : low_in_) bytes += rows.bytes();
  return bytes;
}

}  // namespace s3d
