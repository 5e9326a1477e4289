// How many of a model's layers one card or several have room for, and which of them has which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/kv_layout.h"
#include "model/weights.h"

namespace s3d::cuda {

// Bytes of a card's memory.
struct MemoryNeeds {
  std::vector<size_t> weights;  // of each layer
  size_t kv = 0;                // keys and values of all positions, of each layer
  size_t head = 0;              // output norm, LM head and logits: of the card with the last layer
  size_t buffers = 0;           // buffers of passes, a draft adapter: of each card
};

// What a card with layers [first, end) holds.
struct CardNeeds {
  size_t weights = 0, kv = 0, head = 0, buffers = 0;
  size_t all() const { return weights + kv + head + buffers; }
};
CardNeeds needs_of(const MemoryNeeds& needs, int first, int end);

// `positions`: of the whole KV cache; `context`: of one sequence; `adapter_bytes`: packed. `model`: opened, or packed.
MemoryNeeds memory_needs(const Model& model, KvType type, int64_t positions, int64_t context, int max_rows,
                         size_t adapter_bytes);

struct CardMemory {
  std::string name;
  size_t bytes;  // that may be used
};

// The model's last layers on cards that stand in the order of the layers; what comes before them is the CPU's.
struct LayerDivision {
  std::vector<int> layers;  // of each card
  int last = 0;             // the card with the last layer, or, where no layer is on a card, with the LM head alone
};

// Divides `wanted` layers, or, where that is negative, as many as fit; more than there are is all. By `shares`, one for
// each card, or, where there are none: all on the first card that holds them, else in proportion to the memory of the
// cards, as far as they hold it. Errors: the layers do not fit, with what takes how much; shares that are not one for
// each card, or negative, or all 0.
Result<LayerDivision> divide_layers(const MemoryNeeds& needs, std::span<const CardMemory> cards, int wanted,
                                    std::span<const double> shares = {});

}  // namespace s3d::cuda
