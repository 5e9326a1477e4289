// How a matrix product is divided among blocks and warps. No bit depends on it.
#pragma once

#include <algorithm>
#include <cstddef>

#include "backend/cuda/fragment_layout.h"
#include "backend/cuda/tasks.h"

namespace s3d::cuda {

inline constexpr int kMatmulThreads = 256;

constexpr int segments_of(int columns) {
  return (columns + static_cast<int>(kSegmentColumns) - 1) / static_cast<int>(kSegmentColumns);
}
// Octets of rows that one block takes. Many rows (a prompt) share the unpacking of weights and scales among 64: by the
// counts of instructions, an octet costs 0.6 of what it costs in a block of two. Float products have no such kernel.
constexpr int matmul_octets(int n, bool integers) {
  return n <= 8 ? 1 : n <= 16 || !integers ? 2 : n <= 32 ? 4 : 8;
}

struct MatmulShape {
  Grid grid;
  unsigned threads;
  size_t shared_bytes;
  int units_per_block, items_per_round;
};

// A block has up to eight warps with the segments of one unit or of several. All warps of a round get the same number
// of items as nearly as can be, and the rounds of a long row are alike. Large matrices give a warp several segments:
// what a block does once costs as many instructions as two of them.
inline MatmulShape matmul_shape(const MatmulTask& task) {
  constexpr int kWarps = kMatmulThreads / 32;
  constexpr int kManyBlocks = 264;  // two for each multiprocessor of an H100: fewer would leave some idle
  const auto over = [](int a, int b) { return (a + b - 1) / b; };
  const int segments = segments_of(task.cols);
  const int octets = matmul_octets(task.n, fragment_layout(task.type).columns > 1);
  // So that sums and totals fit into the 48 KiB of shared memory that every card gives without being asked.
  const int most_items = octets <= 2 ? 24 : octets == 4 ? 15 : 8, most_units = octets <= 2 ? most_items : 16 / octets;
  int units = 0;
  for (int p = 0; p < task.n_products; ++p) units += over(task.products[p].rows, 16);
  MatmulShape shape{};
  const int for_warps = segments >= kWarps / 2 ? 1 : kWarps / 2 / segments;
  const int most = segments >= most_items ? 1 : most_items / segments;
  shape.units_per_block = std::min({most, most_units, std::max(for_warps, units / kManyBlocks)});
  const int items = shape.units_per_block * segments, rounds = over(items, most_items);
  shape.items_per_round = over(items, rounds);
  shape.threads = static_cast<unsigned>(over(shape.items_per_round, over(shape.items_per_round, kWarps))) * 32;
  for (int p = 0; p < task.n_products; ++p) {
    shape.grid.x += static_cast<unsigned>(over(over(task.products[p].rows, 16), shape.units_per_block));
  }
  --shape.grid.x;  // it began at 1
  shape.grid.y = static_cast<unsigned>(over(task.n, octets * 8));
  const int columns = octets * 8;
  shape.shared_bytes =
      static_cast<size_t>(columns) * sizeof(float) *
      (static_cast<size_t>(shape.units_per_block) * 16 + static_cast<size_t>(shape.items_per_round) * 20);
  return shape;
}

}  // namespace s3d::cuda
