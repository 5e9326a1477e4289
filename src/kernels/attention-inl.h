// Attention over the key-value cache, and writing to it (layout: kernels/kv_layout.h). Included by isa_*.cc after
// float_ops-inl.h.
//
// Order of operations, the same whatever shares the call:
//   score(p) = scale * (fma chain over the dimensions of q·k), one lane for each position;
//   within a segment: largest score m; weight(p) = e^(score(p) - m); sum over p in 64 chains (p mod 64), then as a
//   tree; out = fma chain over the positions of weight(p) * v(p);
//   segments are merged in order: with M = max(m1, m2), sums and outs are scaled by e^(m - M) and added.
#include "kernels/float_ops.h"

namespace s3d::S3D_ISA_NS {

inline uint16_t half_of(float x) {
  alignas(64) uint16_t h[kLanes];
  store_f16(h, set1(x));
  return h[0];
}
inline float float_of(uint16_t half) {
  alignas(64) uint16_t h[kLanes] = {};
  h[0] = half;
  alignas(64) float x[kLanes];
  store(x, load_f16(h));
  return x[0];
}

// Reads sixteen stored numbers at element index i.
template <KvType type>
inline F32x16 load_stored(const std::byte* base, size_t i) {
  if constexpr (type == KvType::kF32) return load(reinterpret_cast<const float*>(base) + i);
  if constexpr (type == KvType::kF16) return load_f16(reinterpret_cast<const uint16_t*>(base) + i);
  if constexpr (type == KvType::kQ8_0) return load_i8(reinterpret_cast<const int8_t*>(base) + i);
}

// ---- Writing -------------------------------------------------------------------------------------------------------

// Quantizes up to 32 floats as Q8_0 does: the scale is the largest magnitude / 127, rounded to half.
inline void quantize_q8(const float* x, size_t n, int8_t* q, uint16_t* scale) {
  alignas(64) float padded[KvLayout::kScaleDims] = {};
  for (size_t i = 0; i < n; ++i) padded[i] = x[i];
  const float largest = reduce_max_magnitude(max_magnitude(abs(load(padded)), abs(load(padded + kLanes))));
  alignas(64) int8_t bytes[KvLayout::kScaleDims];
  store_scaled_i8(padded, KvLayout::kScaleDims, largest, bytes);
  for (size_t i = 0; i < n; ++i) q[i] = bytes[i];
  *scale = half_of(largest / 127.0F);
}

inline size_t block_length(size_t head_dim, size_t block) {
  const size_t left = head_dim - block * KvLayout::kScaleDims;
  return left < KvLayout::kScaleDims ? left : KvLayout::kScaleDims;
}

template <typename T>
inline void scatter(const T* from, size_t n, std::byte* group, size_t lane) {
  T* to = reinterpret_cast<T*>(group) + lane;
  for (size_t d = 0; d < n; ++d) to[d * kLanes] = from[d];
}

// Halves of x, sixteen at a time; `out` has room for n rounded up to sixteen.
inline void to_half(const float* x, size_t n, uint16_t* out) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_f16(out + i, load(x + i));
  if (i < n) store_f16(out + i, load_first(x + i, n - i));
}

inline void write_key(const KvLayout& layout, const float* key, int slot, std::byte* keys) {
  const size_t head_dim = static_cast<size_t>(layout.head_dim);
  const size_t lane = static_cast<size_t>(slot) % kLanes;
  std::byte* group = keys + static_cast<size_t>(slot) / kLanes * layout.key_group_bytes();
  if (layout.type == KvType::kF32) return scatter(key, head_dim, group, lane);
  if (layout.type == KvType::kF16) {
    for (size_t d = 0; d < head_dim; d += kLanes) {
      const size_t n = head_dim - d < kLanes ? head_dim - d : kLanes;
      alignas(64) uint16_t halves[kLanes];
      to_half(key + d, n, halves);
      scatter(halves, n, group + d * kLanes * sizeof(uint16_t), lane);
    }
    return;
  }
  uint16_t* scales = reinterpret_cast<uint16_t*>(group + layout.key_scales_offset()) + lane;
  for (size_t block = 0; block * KvLayout::kScaleDims < head_dim; ++block) {
    const size_t d = block * KvLayout::kScaleDims, n = block_length(head_dim, block);
    int8_t q[KvLayout::kScaleDims];
    quantize_q8(key + d, n, q, scales + block * kLanes);
    scatter(q, n, group + d * kLanes, lane);
  }
}

inline void write_value(const KvLayout& layout, const float* value, int slot, std::byte* values) {
  const size_t head_dim = static_cast<size_t>(layout.head_dim);
  std::byte* row = values + static_cast<size_t>(slot) * layout.value_row_bytes();
  if (layout.type == KvType::kF32) {
    float* out = reinterpret_cast<float*>(row);
    for (size_t d = 0; d < head_dim; ++d) out[d] = value[d];
    return;
  }
  if (layout.type == KvType::kF16) return to_half(value, head_dim, reinterpret_cast<uint16_t*>(row));
  uint16_t* scales = reinterpret_cast<uint16_t*>(values + layout.value_scales_offset() +
                                                 static_cast<size_t>(slot) * layout.value_scale_row_bytes());
  for (size_t block = 0; block * KvLayout::kScaleDims < head_dim; ++block) {
    const size_t d = block * KvLayout::kScaleDims;
    quantize_q8(value + d, block_length(head_dim, block), reinterpret_cast<int8_t*>(row) + d, scales + block);
  }
}

// ---- Scores --------------------------------------------------------------------------------------------------------

// Scores of Q queries with G groups of sixteen slots that lie `stride` bytes apart. out: [Q] rows `out_stride` floats
// apart, [G * 16] each. Every key vector is loaded once for all queries.
template <KvType type, int Q, int G>
inline void score_groups(const KvLayout& layout, const float* const* q, float scale, const std::byte* group,
                         size_t stride, float* out, size_t out_stride) {
  F32x16 sum[Q][G];
  for (int j = 0; j < Q; ++j) {
    for (int g = 0; g < G; ++g) sum[j][g] = zero();
  }
  const size_t head_dim = static_cast<size_t>(layout.head_dim);
  const size_t step = type == KvType::kQ8_0 ? size_t{KvLayout::kScaleDims} : head_dim;  // dimensions with one scale
  for (size_t begin = 0; begin < head_dim; begin += step) {
    F32x16 key_scale[G];
    if constexpr (type == KvType::kQ8_0) {
      for (int g = 0; g < G; ++g) {
        key_scale[g] = load_f16(reinterpret_cast<const uint16_t*>(group + g * stride + layout.key_scales_offset()) +
                                begin / KvLayout::kScaleDims * kLanes);
      }
    }
    const size_t end = head_dim - begin < step ? head_dim : begin + step;
    for (size_t d = begin; d < end; ++d) {
      F32x16 key[G];
      for (int g = 0; g < G; ++g) {
        key[g] = load_stored<type>(group + g * stride, d * kLanes);
        if constexpr (type == KvType::kQ8_0) key[g] = mul(key[g], key_scale[g]);  // exact: 8 times 11 bits
      }
      for (int j = 0; j < Q; ++j) {
        const F32x16 x = set1(q[j][d]);
        for (int g = 0; g < G; ++g) sum[j][g] = fma(x, key[g], sum[j][g]);
      }
    }
  }
  for (int j = 0; j < Q; ++j) {
    for (int g = 0; g < G; ++g) store(out + j * out_stride + g * kLanes, mul(sum[j][g], set1(scale)));
  }
}

// Groups that one query count takes at once: two AVX2 units need eight chains of fused multiply-adds to stay busy.
template <int Q>
constexpr int kGroupsAtOnce = Q == 1   ? 4
                              : Q <= 3 ? 2
                                       : 1;

// Scores of all slots of groups [first, last) (of the sequence), `out` being the place of group `first`.
template <KvType type, int Q>
inline void score_range(const AttentionTask& task, const float* const* q, int first, int last, float* out) {
  constexpr int kGroupsOfPage = KvLayout::kPageTokens / KvLayout::kGroup;
  const size_t stride = task.layout->key_group_bytes();
  for (int g = first; g < last;) {
    const std::byte* group = task.pages[g / kGroupsOfPage] + task.key_offset + stride * (g % kGroupsOfPage);
    int n = kGroupsOfPage - g % kGroupsOfPage;
    if (n > last - g) n = last - g;
    while (n > 0) {
      const int taken = n >= kGroupsAtOnce<Q> ? kGroupsAtOnce<Q> : 1;
      if (taken == 1) {
        score_groups<type, Q, 1>(*task.layout, q, task.scale, group, stride, out, AttentionTask::kSegment);
      } else {
        score_groups<type, Q, kGroupsAtOnce<Q>>(*task.layout, q, task.scale, group, stride, out,
                                                AttentionTask::kSegment);
      }
      group += stride * taken;
      out += kLanes * taken;
      g += taken;
      n -= taken;
    }
  }
}

// ---- Values --------------------------------------------------------------------------------------------------------

// Value rows that follow each other in memory.
struct ValueRun {
  const std::byte* row;
  const std::byte* scales;
  int count;
  int index;  // of the first, in the segment
};

// Adds weight * value over the runs to `out` for dimensions [d, d + 16 D) of Q queries; D vectors share a row's scan.
template <KvType type, int Q, int D>
inline void accumulate_block(const KvLayout& layout, const ValueRun* runs, int n_runs, const float* weights, size_t d,
                             float* out, size_t out_stride) {
  F32x16 sum[Q][D];
  for (int j = 0; j < Q; ++j) {
    for (int v = 0; v < D; ++v) sum[j][v] = load(out + j * out_stride + d + v * kLanes);
  }
  const size_t row_bytes = layout.value_row_bytes(), scale_row_bytes = layout.value_scale_row_bytes();
  for (int r = 0; r < n_runs; ++r) {
    const std::byte* row = runs[r].row;
    const std::byte* scales = runs[r].scales;
    const float* weight = weights + runs[r].index;
    for (int p = 0; p < runs[r].count; ++p) {
      F32x16 value[D];
      for (int v = 0; v < D; ++v) {
        const size_t at = d + v * kLanes;
        value[v] = load_stored<type>(row, at);
        if constexpr (type == KvType::kQ8_0) {
          value[v] =
              mul(value[v], set1(float_of(reinterpret_cast<const uint16_t*>(scales)[at / KvLayout::kScaleDims])));
        }
      }
      for (int j = 0; j < Q; ++j) {
        const F32x16 w = set1(weight[j * AttentionTask::kSegment + p]);
        for (int v = 0; v < D; ++v) sum[j][v] = fma(w, value[v], sum[j][v]);
      }
      row += row_bytes;
      scales += scale_row_bytes;
    }
  }
  for (int j = 0; j < Q; ++j) {
    for (int v = 0; v < D; ++v) store(out + j * out_stride + d + v * kLanes, sum[j][v]);
  }
}

template <KvType type, int Q>
inline void accumulate(const KvLayout& layout, const ValueRun* runs, int n_runs, const float* weights, float* out,
                       size_t out_stride) {
  constexpr size_t D = Q == 1 ? 4 : Q <= 3 ? 2 : 1;  // as kGroupsAtOnce
  const size_t dims = static_cast<size_t>(layout.padded_head_dim());
  size_t d = 0;
  for (; d + D * kLanes <= dims; d += D * kLanes) {
    accumulate_block<type, Q, D>(layout, runs, n_runs, weights, d, out, out_stride);
  }
  for (; d < dims; d += kLanes) {
    accumulate_block<type, Q, 1>(layout, runs, n_runs, weights, d, out, out_stride);
  }
}

// ---- One segment ---------------------------------------------------------------------------------------------------

// Everything below works on one segment; positions are absolute, weights and scores are indexed from `base`.
template <KvType type>
class SegmentAttention {
 public:
  SegmentAttention(const AttentionTask& task, int segment, float* scores, float* partial)
      : task_(task),
        layout_(*task.layout),
        base_(segment * AttentionTask::kSegment),
        stride_(kPartialHeader + static_cast<size_t>(layout_.padded_head_dim())),
        scores_(scores),
        partial_(partial) {}

  void run() {
    for (int r = 0; r < task_.n_rows; ++r) clip_row(r);
    score_shared();
    for (int r = 0; r < task_.n_rows; ++r) {
      score_path(r);
      for (int h = 0; h < task_.heads; ++h) softmax(r, r * task_.heads + h);
    }
    sum_values();
  }

 private:
  static constexpr int kQueries = AttentionTask::kMaxQueries;
  static constexpr int kSegment = AttentionTask::kSegment;
  static constexpr int kMaxRuns = kSegment;  // a path may have a run for each position

  // The part of a row's positions in this segment: [begin, shared) in their own slots, [shared, end) by the path.
  struct Span {
    int begin, shared, end;
  };

  static int clamp(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

  void clip_row(int r) {
    const AttentionTask::Row& row = task_.rows[r];
    const int top = base_ + kSegment;
    Span& s = spans_[r];
    s.begin = clamp(row.begin, base_, top);
    s.end = clamp(row.end, s.begin, top);
    s.shared = clamp(row.contiguous, s.begin, s.end);
  }

  // Calls f with the query count as a constant.
  template <typename F>
  static void with_queries(int q, F f) {
    switch (q) {
      case 1:
        return f(Constant<1>{});
      case 2:
        return f(Constant<2>{});
      case 3:
        return f(Constant<3>{});
      case 4:
        return f(Constant<4>{});
      case 5:
        return f(Constant<5>{});
      default:
        return f(Constant<6>{});
    }
  }
  template <int N>
  struct Constant {
    static constexpr int value = N;
  };

  void query_pointers(int row, int n_rows, const float** q) const {
    for (int r = 0; r < n_rows; ++r) {
      for (int h = 0; h < task_.heads; ++h) {
        q[r * task_.heads + h] = task_.rows[row + r].q + static_cast<size_t>(h) * layout_.head_dim;
      }
    }
  }

  // Scores of the positions that lie in their own slots, for all rows together. Lanes that a row does not see are
  // computed too and never read; no lane depends on another.
  void score_shared() {
    int begin = base_ + kSegment, end = base_;
    for (int r = 0; r < task_.n_rows; ++r) {
      if (spans_[r].begin >= spans_[r].shared) continue;
      if (spans_[r].begin < begin) begin = spans_[r].begin;
      if (spans_[r].shared > end) end = spans_[r].shared;
    }
    if (begin >= end) return;
    const float* q[kQueries];
    query_pointers(0, task_.n_rows, q);
    const int first = begin / KvLayout::kGroup;
    const int last = (end + KvLayout::kGroup - 1) / KvLayout::kGroup;
    float* out = scores_ + (first * KvLayout::kGroup - base_);
    with_queries(task_.n_rows * task_.heads, [&](auto n) { score_range<type, n.value>(task_, q, first, last, out); });
  }

  // Scores of the positions on the row's path: whole groups of slots are computed, and the lanes wanted are copied.
  void score_path(int r) {
    const AttentionTask::Row& row = task_.rows[r];
    const float* q[kQueries];
    query_pointers(r, 1, q);
    float* scores = scores_ + static_cast<size_t>(r) * task_.heads * kSegment;
    alignas(64) float group_scores[kQueries * kSegment];  // only the first lanes of each row are used
    int group = -1;
    for (int p = spans_[r].shared; p < spans_[r].end; ++p) {
      const int slot = row.path[p - row.contiguous];
      if (slot / KvLayout::kGroup != group) {  // paths ascend, so a group is computed once
        group = slot / KvLayout::kGroup;
        with_queries(task_.heads,
                     [&](auto n) { score_range<type, n.value>(task_, q, group, group + 1, group_scores); });
      }
      for (int h = 0; h < task_.heads; ++h) {
        scores[h * kSegment + (p - base_)] = group_scores[h * kSegment + slot % KvLayout::kGroup];
      }
    }
  }

  // Turns a query's scores into weights, and writes the head of its partial result.
  void softmax(int r, int query) {
    float* partial = partial_ + query * stride_;
    for (size_t i = 0; i < stride_; i += kLanes) store(partial + i, zero());
    const int begin = spans_[r].begin - base_, end = spans_[r].end - base_;
    if (begin >= end) return;
    float* s = scores_ + query * kSegment;
    const int first = begin / 16 * 16, last = (end + 15) / 16 * 16;
    fill(s, first, begin, s[begin]);  // unseen lanes repeat a seen score: they leave the largest as it is
    fill(s, end, last, s[begin]);
    if (task_.softcap != 0) softcap(task_.softcap, static_cast<size_t>(last - first), s + first);
    F32x16 largest = load(s + first);
    for (int i = first + 16; i < last; i += 16) largest = max(largest, load(s + i));
    partial[0] = reduce_max(largest);
    for (int i = first; i < last; i += 16) store(s + i, exp16(sub(load(s + i), set1(partial[0]))));
    fill(s, first, begin, 0.0F);
    fill(s, end, last, 0.0F);
    partial[1] = sum_weights(s, first, last);
  }
  // Sum of s[first, last), both multiples of 16, in chains by the position's number in the segment.
  static float sum_weights(const float* s, int first, int last) {
    Chains sum = no_chains();
    for (int i = first; i < last; i += 16) {
      F32x16& chain = sum.v[static_cast<size_t>(i) / kLanes % 4];
      chain = add(chain, load(s + i));
    }
    return reduce_add(sum);
  }
  static void fill(float* s, int begin, int end, float x) {
    for (int i = begin; i < end; ++i) s[i] = x;
  }

  // Weighted sums of values, in the order of positions for every query: first what only some rows see, row by row,
  // then what all see in the same slots, together, then the rest, row by row.
  void sum_values() {
    int common_begin = base_, common_end = base_ + kSegment;
    for (int r = 0; r < task_.n_rows; ++r) {
      if (spans_[r].begin > common_begin) common_begin = spans_[r].begin;
      if (spans_[r].shared < common_end) common_end = spans_[r].shared;
    }
    if (common_begin >= common_end) common_end = common_begin = base_;  // nothing in common
    ValueRun runs[kMaxRuns];
    if (common_end > base_) {
      for (int r = 0; r < task_.n_rows; ++r) add_values(r, 1, runs, slot_runs(spans_[r].begin, common_begin, runs));
      add_values(0, task_.n_rows, runs, slot_runs(common_begin, common_end, runs));
    }
    for (int r = 0; r < task_.n_rows; ++r) {
      const Span& s = spans_[r];
      int n = slot_runs(common_end > s.begin ? common_end : s.begin, s.shared, runs);
      n = path_runs(r, runs, n);
      add_values(r, 1, runs, n);
    }
  }

  ValueRun run_at(int slot, int count, int position) const {
    const size_t in_page = static_cast<size_t>(slot % KvLayout::kPageTokens);
    const std::byte* values = task_.pages[slot / KvLayout::kPageTokens] + task_.value_offset;
    return {values + in_page * layout_.value_row_bytes(),
            values + layout_.value_scales_offset() + in_page * layout_.value_scale_row_bytes(), count,
            position - base_};
  }

  // Runs of positions [begin, end) that lie in their own slots; returns how many.
  int slot_runs(int begin, int end, ValueRun* runs) const {
    int n = 0;
    for (int p = begin; p < end;) {
      const int left = KvLayout::kPageTokens - p % KvLayout::kPageTokens;
      const int count = left < end - p ? left : end - p;
      runs[n++] = run_at(p, count, p);
      p += count;
    }
    return n;
  }

  int path_runs(int r, ValueRun* runs, int n) const {
    const AttentionTask::Row& row = task_.rows[r];
    for (int p = spans_[r].shared; p < spans_[r].end; ++p) runs[n++] = run_at(row.path[p - row.contiguous], 1, p);
    return n;
  }

  void add_values(int row, int n_rows, const ValueRun* runs, int n_runs) {
    if (n_runs == 0) return;
    const int query = row * task_.heads;
    with_queries(n_rows * task_.heads, [&](auto n) {
      accumulate<type, n.value>(layout_, runs, n_runs, scores_ + query * kSegment,
                                partial_ + query * stride_ + kPartialHeader, stride_);
    });
  }

  const AttentionTask& task_;
  const KvLayout& layout_;
  const int base_;
  const size_t stride_;
  float* const scores_;
  float* const partial_;
  Span spans_[kQueries];
};

inline void attend_segment(const AttentionTask& task, int segment, float* scores, float* partial) {
  switch (task.layout->type) {
    case KvType::kF16:
      return SegmentAttention<KvType::kF16>(task, segment, scores, partial).run();
    case KvType::kF32:
      return SegmentAttention<KvType::kF32>(task, segment, scores, partial).run();
    case KvType::kQ8_0:
      return SegmentAttention<KvType::kQ8_0>(task, segment, scores, partial).run();
  }
}

inline void merge_partial(const float* partial, size_t head_dim, float* state) {
  const size_t n = kPartialHeader + (head_dim + 15) / 16 * 16;
  if (partial[1] == 0.0F) return;
  if (state[1] == 0.0F) {
    for (size_t i = 0; i < n; i += kLanes) store(state + i, load(partial + i));
    return;
  }
  const float largest = state[0] > partial[0] ? state[0] : partial[0];
  const float keep = exp1(state[0] - largest), take = exp1(partial[0] - largest);
  state[0] = largest;
  state[1] = __builtin_fmaf(state[1], keep, partial[1] * take);
  for (size_t i = kPartialHeader; i < n; i += kLanes) {
    store(state + i, fma(load(state + i), set1(keep), mul(load(partial + i), set1(take))));
  }
}

inline void finish_attention(const float* state, size_t head_dim, float* out) {
  const F32x16 inverse = set1(1.0F / state[1]);
  map(state + kPartialHeader, head_dim, out, [&](F32x16 a) { return mul(a, inverse); });
}

inline constexpr FloatKernels kFloatKernels = {
    .rms_norm = rms_norm,
    .add = add_to,
    .softcap = softcap,
    .silu_mul = silu_mul,
    .gelu_tanh_mul = gelu_tanh_mul,
    .exp = exp_all,
    .rope_interleaved = rope_interleaved,
    .rope_split = rope_split,
    .write_key = write_key,
    .write_value = write_value,
    .attend_segment = attend_segment,
    .merge_partial = merge_partial,
    .finish = finish_attention,
};

}  // namespace s3d::S3D_ISA_NS
