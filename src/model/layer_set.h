// Which layers of a model a pass runs, and the limits of one round that a file may ask for.
#pragma once

#include <algorithm>
#include <string_view>

#include "base/result.h"

namespace s3d {

// A round of speculation verifies at most so many rows in one full pass: the last decided token and what was drafted
// after it. On the machines that were measured no wider chain of drafts ever paid (docs/benchmarks.md).
inline constexpr int kMaxRoundRows = 16;
inline constexpr int kMaxDraft = kMaxRoundRows - 1;  // drafted tokens of a round

// The first `first` and the last `last` layers run, in order; those between them are skipped.
struct LayerSet {
  int first = 0;
  int last = 0;

  static LayerSet all(int n_layers) { return {n_layers, 0}; }
  int count() const { return first + last; }
  // The layer of the model that is the set's layer number `index`, 0 <= index < count().
  int layer(int index, int n_layers) const { return index < first ? index : n_layers - count() + index; }
  bool has(int layer, int n_layers) const { return layer < first || layer >= n_layers - last; }
  friend bool operator==(const LayerSet&, const LayerSet&) = default;
};

// "3+9": the first 3 and the last 9 layers. Error: anything else, or no layer at all; quotes the text.
Result<LayerSet> parse_layers(std::string_view text);

// What a draft pass runs when nobody says otherwise: a tenth of the layers at the start and three tenths at the end,
// each rounded to the nearest number and at least one, where the model has two layers. Late layers matter more: 3 + 9
// of 30 drafted better than 6 + 6 (docs/method.md).
inline LayerSet default_draft_layers(int n_layers) {
  const int first = std::max(1, (n_layers + 5) / 10);
  return {first, std::min(std::max(1, (3 * n_layers + 5) / 10), n_layers - first)};
}

}  // namespace s3d
