// The table of float kernels of one instruction set: norms, rotations, activations, attention. No SIMD in this header.
//
// All of them give every instruction set the same bits: they are written once over sixteen lanes, with fixed order and
// explicit fused multiply-adds. Each is single-threaded. Pointers need no alignment.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv_layout.h"

namespace s3d {

// Attention of one key-value head for the query heads that share it, for a few rows of one sequence.
//
// A row sees a list of logical positions [begin, end). Logical position p lies in slot p while p < contiguous, and in
// slot path[p - contiguous] from there on (a branch of a tree of rows). Positions are cut into segments of kSegment
// by their logical number; a segment yields a partial result, and partial results are merged in segment order. So the
// bits depend on neither the rows that share the task nor on where the slots lie nor on who computes which segment.
struct AttentionTask {
  static constexpr int kMaxQueries = 6;  // fills the 16 vector registers of AVX2 with two accumulators for each query
  static constexpr int kSegment = 256;

  struct Row {
    const float* q;   // [heads][head_dim]
    float* out;       // [heads][head_dim], written by the caller of finish()
    int begin;        // first visible position
    int end;          // one past the last: the row itself is at end - 1
    int contiguous;   // in [begin, end]
    const int* path;  // [end - contiguous]
  };

  const KvLayout* layout;
  const std::byte* const* pages;  // of the sequence
  size_t key_offset;              // of this layer and head in each page: KvLayout::key_head_offset
  size_t value_offset;
  float scale;    // of q·k
  float softcap;  // score = softcap * tanh(score / softcap); 0 = off
  int heads;      // query heads; rows * heads <= kMaxQueries
  int n_rows;
  Row rows[kMaxQueries];
};

// A partial result of one query: [0] largest score, [1] sum of the exponentials (0 = nothing seen), from [16] on the
// weighted sum of values, [padded head_dim].
constexpr int kPartialHeader = 16;
inline size_t partial_floats(const KvLayout& layout) {
  return kPartialHeader + static_cast<size_t>(layout.padded_head_dim());
}

struct FloatKernels {
  // out[i] = x[i] / sqrt(mean(x²) + eps) * weight[i]; out may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, size_t n, float* out);
  void (*add)(const float* x, size_t n, float* y);                                  // y += x
  void (*softcap)(float cap, size_t n, float* y);                                   // y = cap * tanh(y / cap)
  void (*silu_mul)(const float* gate, const float* up, size_t n, float* out);       // silu(gate) * up; out may be gate
  void (*gelu_tanh_mul)(const float* gate, const float* up, size_t n, float* out);  // gelu(gate) * up, tanh form
  void (*exp)(const float* x, size_t n, float* out);                                // for tests

  // Rotates the `pairs` pairs at the front of a head: (2i, 2i + 1), or (i, i + pairs) for the split form.
  void (*rope_interleaved)(const float* cos, const float* sin, size_t pairs, float* head);
  void (*rope_split)(const float* cos, const float* sin, size_t pairs, float* head);

  // Write one head's key or value ([head_dim] floats) into slot `slot` (in [0, 64)) of a page; `keys` and `values`
  // point at the head's part of the page. Different slots may be written at once.
  void (*write_key)(const KvLayout& layout, const float* key, int slot, std::byte* keys);
  void (*write_value)(const KvLayout& layout, const float* value, int slot, std::byte* values);

  // Partial results of segment `segment` of all queries, row-major: partial[(row * heads + head) * partial_floats].
  // `scores`: scratch, [kMaxQueries][kSegment].
  void (*attend_segment)(const AttentionTask& task, int segment, float* scores, float* partial);
  // Adds the partial result of a later segment to `state` (both of one query). An empty state has state[1] = 0.
  void (*merge_partial)(const float* partial, size_t head_dim, float* state);
  void (*finish)(const float* state, size_t head_dim, float* out);  // out[head_dim] = weighted mean of the values
};

}  // namespace s3d
