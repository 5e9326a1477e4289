// What a backend works out about a block before it computes: where each row's keys and values go, and what it sees.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"
#include "model/config.h"

namespace s3d {

// A row at logical position p of its sequence sees positions [0, p]. Position i lies in slot i while
// i < contiguous, and in slot path(row)[i - contiguous] from there on. A row of a chain has contiguous = p + 1.
struct PlacedRow {
  int sequence;  // index into BlockPlacement::sequences
  int position;
  int slot;           // where its own key and value go
  int contiguous;     // >= the committed length of the sequence
  size_t path_begin;  // into BlockPlacement::paths; [position + 1 - contiguous] slots, ascending
};

struct PlacedSequence {
  SeqId id;
  std::vector<int> rows;          // its rows of the block, in slot order
  std::vector<std::byte*> pages;  // with the pending slots' pages
};

// Rows of one sequence that share attention tasks: sequence.rows[first, first + count).
struct RowTile {
  int sequence;
  int first;
  int count;
};

struct BlockPlacement {
  std::vector<PlacedRow> rows;  // [n rows of the block]
  std::vector<PlacedSequence> sequences;
  std::vector<int> paths;
  std::vector<int> wanted;  // rows whose logits are wanted
  std::vector<int> layers;  // indices, in order

  const int* path(const PlacedRow& row) const { return paths.data() + row.path_begin; }
};

// Checks a block and reserves its slots. Errors: those of Backend::run; then nothing is pending. The buffers of
// `placement` are used again.
Status place_block(const Block& block, const ModelConfig& config, int max_rows, KvCache& kv, BlockPlacement& placement);

// Drops what place_block reserved.
void drop_pending(const BlockPlacement& placement, KvCache& kv);

// Cuts each sequence's rows into tiles of at most `most` rows.
void make_tiles(const BlockPlacement& placement, int most, std::vector<RowTile>& tiles);

}  // namespace s3d
