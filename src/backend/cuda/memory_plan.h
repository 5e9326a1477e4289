// How many of a model's layers a device has room for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/kv_layout.h"
#include "model/weights.h"

namespace s3d::cuda {

// Bytes of a device's memory.
struct MemoryNeeds {
  std::vector<size_t> layers;  // of each: weights, and keys and values of all positions
  size_t rest = 0;             // output norm, LM head, buffers of passes, a draft adapter

  size_t of_last(int count) const;  // the last `count` layers with the rest
};

// `positions`: of the whole KV cache; `context`: of one sequence; `adapter_bytes`: packed.
MemoryNeeds memory_needs(const Model& model, KvType type, int64_t positions, int64_t context, int max_rows,
                         size_t adapter_bytes);

// How many layers, from the last one down, `bytes` of a device hold: `wanted` of them, or, where that is negative, as
// many as fit. More than there are is all. Error: those wanted do not fit, or nothing does; says how much is missing.
Result<int> choose_layers(const MemoryNeeds& needs, size_t bytes, int wanted, std::string_view device);

}  // namespace s3d::cuda
