#include "backend/block_placement.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "backend/packed_adapter.h"
#include "base/index.h"

namespace s3d {
namespace {

Status check_riders(const Block& block, const ModelConfig& config) {
  if (block.adapter != nullptr) return Error{"a draft pass with riders: expected one adapter"};
  if (!block.riders->config().fused) return Error{"riders of an adapter that was made for draft passes"};
  if (block.layers.count() == config.n_layers) return Ok();
  return Error{
      fmt::format("riders in a pass over {} of {} layers: expected all", block.layers.count(), config.n_layers)};
}

// Inputs and taps.
Status check_features(const Block& block, const ModelConfig& config) {
  const size_t n = block.rows.size();
  if (!block.input.empty() && (block.input.size() != n || block.adapter != nullptr || block.riders != nullptr)) {
    return Error{fmt::format("a block of {} rows with {} inputs: expected one for each row, and no adapter", n,
                             block.input.size())};
  }
  if (block.taps.empty() && block.tapped.empty()) return Ok();
  if (block.layers.count() != config.n_layers) return Error{"taps of a pass that skips layers: expected all"};
  const auto rising = [](std::span<const int> values, int first, size_t end) {
    const bool in_range = values.empty() || (values.front() >= first && usize(values.back()) < end);
    return in_range && std::adjacent_find(values.begin(), values.end(), std::greater_equal<>()) == values.end();
  };
  if (rising(block.taps, 1, usize(config.n_layers) + 1) && rising(block.tapped, 0, n)) return Ok();
  return Error{fmt::format("taps [{}] of rows [{}]: expected rising numbers, of layers 1 to {} and of rows below {}",
                           fmt::join(block.taps, ", "), fmt::join(block.tapped, ", "), config.n_layers, n)};
}

Status check_block(const Block& block, const ModelConfig& config, int max_rows) {
  const size_t n = block.rows.size();
  if (n == 0) return Error{"a block without rows: expected at least 1"};
  if (n > usize(max_rows)) {
    return Error{fmt::format("a block of {} rows: at most {} fit one pass; run it in parts", n, max_rows)};
  }
  if (!block.want.empty() && block.want.size() != n) {
    return Error{
        fmt::format("a block of {} rows with {} wants: expected one for each row, or none", n, block.want.size())};
  }
  const auto [first, last] = block.layers;
  if (first < 0 || last < 0 || block.layers.count() > config.n_layers) {
    return Error{fmt::format("layers: the first {} and the last {} of {}", first, last, config.n_layers)};
  }
  if (!block.state.empty() && block.state.size() != n) {
    return Error{
        fmt::format("a block of {} rows with {} states: expected one for each row, or none", n, block.state.size())};
  }
  S3D_TRY(check_features(block, config));
  if (block.riders != nullptr) return check_riders(block, config);
  if (block.adapter == nullptr) return Ok();
  if (block.adapter->config().fused) return Error{"a draft pass with an adapter whose masks ride in full passes"};
  const LayerSet expected = block.adapter->config().layers;
  if (block.layers != expected) {
    return Error{fmt::format("a draft pass over layers {} + {}: the adapter is for {} + {}", first, last,
                             expected.first, expected.last)};
  }
  return Ok();
}

// Masks that may be tokens of the block.
int masks_of(const Block& block) {
  const PackedAdapter* adapter = block.riders != nullptr ? block.riders : block.adapter;
  return adapter == nullptr ? 0 : adapter->config().masks;
}

Status check_row(const Block& block, size_t i, const ModelConfig& config, const KvCache& kv) {
  const Row& row = block.rows[i];
  const auto fail = [&](std::string what) { return Error{fmt::format("row {} of the block: {}", i, what)}; };
  if (row.token < -masks_of(block)) {
    return fail(fmt::format("token {} is mask {}, but there are {}", row.token, -1 - row.token, masks_of(block)));
  }
  if (row.token >= config.vocab_size && (block.input.empty() || block.input[i] == nullptr)) {
    return fail(fmt::format("token {} is outside the vocabulary of {}", row.token, config.vocab_size));
  }
  if (!kv.has_sequence(row.seq)) return fail(fmt::format("there is no sequence {}", row.seq));
  int expected = kv.length(row.seq);
  if (row.parent != -1) {
    if (row.parent < 0 || usize(row.parent) >= i) {
      return fail(fmt::format("parent {}; expected -1 or a row before it", row.parent));
    }
    const Row& parent = block.rows[row.parent];
    if (parent.seq != row.seq) return fail(fmt::format("its parent, row {}, is of another sequence", row.parent));
    if (block.riders != nullptr && parent.token < 0 && row.token >= 0) {
      return fail(fmt::format("its parent, row {}, is a mask, which no token may see", row.parent));
    }
    expected = parent.position + 1;
  }
  if (row.position != expected) return fail(fmt::format("position {}; expected {}", row.position, expected));
  if (row.position >= config.context_length) {
    return fail(fmt::format("position {} is beyond the model's context of {}; start a new sequence or shorten it",
                            row.position, config.context_length));
  }
  return Ok();
}

int sequence_index(BlockPlacement& placement, SeqId id) {
  for (size_t i = 0; i < placement.sequences.size(); ++i) {
    if (placement.sequences[i].id == id) return static_cast<int>(i);
  }
  placement.sequences.push_back({.id = id, .rows = {}, .pages = {}});
  return static_cast<int>(placement.sequences.size() - 1);
}

// Slots of the row's position and of its ancestors', from the first that is not in its own place.
void find_path(const Row& row, PlacedRow& planned, BlockPlacement& placement) {
  planned.path_begin = placement.paths.size();
  if (row.parent == -1) {
    planned.contiguous = row.position;
  } else {
    const PlacedRow& parent = placement.rows[row.parent];
    planned.contiguous = parent.contiguous;
    for (int p = parent.contiguous; p <= parent.position; ++p) {
      placement.paths.push_back(placement.paths[parent.path_begin + usize(p - parent.contiguous)]);
    }
  }
  if (planned.contiguous == row.position && planned.slot == row.position) {
    ++planned.contiguous;
  } else {
    placement.paths.push_back(planned.slot);
  }
}

void place_rows(const Block& block, const KvCache& kv, BlockPlacement& placement) {
  for (size_t i = 0; i < block.rows.size(); ++i) {
    const Row& row = block.rows[i];
    const int s = sequence_index(placement, row.seq);
    PlacedSequence& sequence = placement.sequences[s];
    const int slot = kv.length(row.seq) + isize(sequence.rows);
    sequence.rows.push_back(static_cast<int>(i));
    PlacedRow planned{.sequence = s, .position = row.position, .slot = slot, .contiguous = 0, .path_begin = 0};
    find_path(row, planned, placement);
    placement.rows.push_back(planned);
  }
}

Status reserve_slots(BlockPlacement& placement, KvCache& kv) {
  for (PlacedSequence& sequence : placement.sequences) {
    if (Status reserved = kv.reserve(sequence.id, isize(sequence.rows)); !reserved.ok()) {
      drop_pending(placement, kv);
      return reserved;
    }
    for (int i = 0; i < kv.pages(sequence.id); ++i) sequence.pages.push_back(kv.page(sequence.id, i));
  }
  return Ok();
}

}  // namespace

Status place_block(const Block& block, const ModelConfig& config, int max_rows, KvCache& kv,
                   BlockPlacement& placement) {
  placement.rows.clear();
  placement.sequences.clear();
  placement.paths.clear();
  placement.wanted.clear();
  placement.layers.clear();
  S3D_TRY(check_block(block, config, max_rows));
  for (size_t i = 0; i < block.rows.size(); ++i) S3D_TRY(check_row(block, i, config, kv));
  place_rows(block, kv, placement);
  for (int i = 0; i < block.layers.first; ++i) placement.layers.push_back(i);
  for (int i = config.n_layers - block.layers.last; i < config.n_layers; ++i) placement.layers.push_back(i);
  for (size_t i = 0; i < block.want.size(); ++i) {
    if (block.want[i] == Want::kLogits) placement.wanted.push_back(static_cast<int>(i));
  }
  if (block.want.empty()) placement.wanted.push_back(isize(block.rows) - 1);
  return reserve_slots(placement, kv);
}

void drop_pending(const BlockPlacement& placement, KvCache& kv) {
  for (const PlacedSequence& sequence : placement.sequences) kv.truncate(sequence.id, kv.length(sequence.id));
}

void make_tiles(const BlockPlacement& placement, int most, std::vector<RowTile>& tiles) {
  tiles.clear();
  for (size_t s = 0; s < placement.sequences.size(); ++s) {
    const int n = isize(placement.sequences[s].rows);
    for (int first = 0; first < n; first += most) {
      tiles.push_back({static_cast<int>(s), first, std::min(most, n - first)});
    }
  }
}

}  // namespace s3d
