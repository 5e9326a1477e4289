#include "backend/cpu/low_rank_rows.h"

#include <algorithm>
#include <utility>

namespace s3d {

void LowRankRows::prepare(const PackedAdapter& adapter, std::vector<size_t> rows, size_t n, size_t widest, int tile,
                          size_t threads) {
  clear();
  rows_ = std::move(rows);
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
  low_in_.prepare(rows_.size(), ranks, threads, [&](Pairs& pairs) {
    for (size_t i = 0; i < pairs.size(); ++i) pairs[i].resize(low_formats[i], rows_.size(), rank, tile);
  });
  sums_.resize(PackedLora::kMax * rows_.size() * widest);
}

void LowRankRows::store(Team& team, const Kernels& kernels, const PackedLora& lora) {
  low_in_.each_row(team, [&](Pairs& to, size_t at) {
    const float* row = &low_[rows_[at] * lora.a.rows()];
    for (size_t i = 0; i < lora.b.size(); ++i) {
      if (!lora.b[i].empty()) to[i].store(kernels, row + lora.first[i], {&lora.b[i]}, at);
    }
  });
}

LowRankTerm LowRankRows::term(const Team& team, const PackedLora& lora, size_t pair) {
  const PackedMatrix& b = lora.b[pair];
  if (b.empty()) return {};
  return {&b, &low_in_.mine(team)[pair].for_matrix(b), &sums_[pair * (sums_.size() / PackedLora::kMax)], rows_};
}

size_t LowRankRows::scratch_bytes() const {
  const auto bytes_of = [](const Pairs& pairs) {
    size_t bytes = 0;
    for (const StoredRows& rows : pairs) bytes += rows.bytes();
    return bytes;
  };
  return (low_.capacity() + sums_.capacity()) * sizeof(float) + rows_.capacity() * sizeof(size_t) +
         low_in_.sum(bytes_of);
}

}  // namespace s3d
