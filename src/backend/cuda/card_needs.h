// How much memory of a card some of a model's layers take, with all that stands beside them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/cuda/device.h"
#include "backend/cuda/device_matrix.h"
#include "backend/cuda/pass_limits.h"
#include "kernels/kv_layout.h"
#include "model/adapter.h"
#include "model/weights.h"

namespace s3d::cuda {

// Bytes of a card's memory.
struct CardNeeds {
  size_t weights = 0;   // matrices, norms and biases of its layers
  size_t kv = 0;        // keys and values of all positions, of its layers
  size_t head = 0;      // output norm and LM head: of the card with the last layer
  size_t adapters = 0;  // their parts that its layers, or the LM head, need
  size_t buffers = 0;   // of passes, and of the choice of tokens
  size_t all() const { return weights + kv + head + adapters + buffers; }
};

// What will lie on cards beside the weights.
struct PlannedUse {
  KvType kv_type = KvType::kF16;
  int64_t positions = 0;  // of the whole KV cache
  PassLimits limits;
  std::span<const Adapter> adapters = {};  // for drafts; heads of their own are not counted
};

// What a card with these layers of `model`, which was opened or packed, takes: the memory is taken, by the code that
// takes it on a card, on a device that only counts, in the steps of `like` (measuring_device.h).
CardNeeds needs_of(const Model& model, const PlannedUse& use, const LayerRange& range, const Device& like);

}  // namespace s3d::cuda
