// Attention over the cache, in the CPU's order of operations (kernels/attention-inl.h): segments of 256 positions give
// partial results, which are merged in the order of the segments and stored as the input of the next product.
//
// A block has one segment, one key-value head, and the query heads of a few rows that share it ("queries"): each key
// and value is read once for all of them. A thread has one position while scores are computed, and one dimension while
// values are summed; so each sum has one thread, and the order of a query's sums depends on nothing that shares its
// block.
#include "backend/cuda/float_ops.h"
#include "backend/cuda/launchers.h"
#include "backend/cuda/norm.h"
#include "backend/cuda/stored_rows.h"

namespace s3d::S3D_CUDA_NS {
namespace {

using cuda::AttentionTask;
using cuda::AttentionTile;

constexpr unsigned kThreads = AttentionTask::kSegment;
constexpr int kSegment = AttentionTask::kSegment;
constexpr int kPartialHead = 2;  // largest score, sum of the exponentials; before the weighted values

S3D_DEVICE int clamp(int x, int low, int high) {
  return x < low ? low : x > high ? high : x;
}

// The positions of a row in the segment: [begin, shared) in their own slots, [shared, end) by the path.
struct Span {
  int begin, shared, end;
  int contiguous;
  const int32_t* path;

  S3D_DEVICE bool sees(int p) const { return begin <= p && p < end; }
  S3D_DEVICE int slot(int p) const { return p < shared ? p : path[p - contiguous]; }
};

// What a block works on.
struct Part {
  AttentionTile tile;
  int sequence;
  int kv_head, first_head, heads;
  int segment, base;  // base: first position of the segment
};

S3D_DEVICE Part part_of_block(const AttentionTask& task) {
  const int group = task.n_heads / task.layout.n_kv_heads;
  const int parts_of_group = (group + task.heads_per_part - 1) / task.heads_per_part;
  const int parts = parts_of_group * task.layout.n_kv_heads;
  const int part = static_cast<int>(blockIdx.x) % parts, in_group = part % parts_of_group * task.heads_per_part;
  Part out;
  out.tile = task.tiles[static_cast<int>(blockIdx.x) / parts];
  out.sequence = task.seen[task.row_order[out.tile.first]].sequence;
  out.kv_head = part / parts_of_group;
  out.first_head = out.kv_head * group + in_group;
  out.heads = task.heads_per_part < group - in_group ? task.heads_per_part : group - in_group;
  out.segment = out.tile.first_segment + static_cast<int>(blockIdx.y);
  out.base = out.segment * kSegment;
  return out;
}

S3D_DEVICE Span span_of(const AttentionTask& task, const Part& part, int row_of_tile) {
  const cuda::SeenBy& seen = task.seen[task.row_order[part.tile.first + row_of_tile]];
  const int first = task.window > 0 && seen.end > task.window ? seen.end - task.window : 0;
  const int top = part.base + kSegment;
  Span span;
  span.begin = clamp(first, part.base, top);
  span.end = clamp(seen.end, span.begin, top);
  span.shared = clamp(seen.contiguous, span.begin, span.end);
  span.contiguous = seen.contiguous;
  span.path = task.paths + seen.path_begin;
  return span;
}

template <KvType kType>
S3D_DEVICE float number_at(const std::byte* base, size_t i) {
  if constexpr (kType == KvType::kF32) return reinterpret_cast<const float*>(base)[i];
  if constexpr (kType == KvType::kF16) return half_to_float(reinterpret_cast<const uint16_t*>(base)[i]);
  return to_float(reinterpret_cast<const int8_t*>(base)[i]);
}

// Shared memory of a block.
struct Scratch {
  float* q;        // [head_dim][kQ]
  float* weights;  // [kSegment][kQ]: scores first
  Span* spans;     // [kQ]: of rows of the tile
};

// Scores of queries [first, first + kCount) with the key in `slot`: chains over the dimensions, times the scale.
template <KvType kType, int kQ, int kCount>
S3D_DEVICE void score_slot(const AttentionTask& task, const Part& part, const Scratch& scratch, int slot, int first,
                           float (&out)[kCount]) {
  const std::byte* page = task.pages[task.first_page[part.sequence] + slot / KvLayout::kPageTokens];
  const KvLayout::Place place = task.layout.key(task.layer, part.kv_head, slot % KvLayout::kPageTokens);
  const std::byte* numbers = page + place.numbers;
  const auto* scales = reinterpret_cast<const uint16_t*>(page + place.scales);
  for (int j = 0; j < kCount; ++j) out[j] = 0;
  float scale = 0;
  for (int d = 0; d < task.layout.head_dim; ++d) {
    float key = number_at<kType>(numbers, static_cast<size_t>(d) * KvLayout::kGroup);
    if constexpr (kType == KvType::kQ8_0) {
      if (d % KvLayout::kScaleDims == 0) scale = half_to_float(scales[d / KvLayout::kScaleDims * KvLayout::kGroup]);
      key = mul(key, scale);
    }
    const float* q = scratch.q + d * kQ + first;
    S3D_UNROLL
    for (int j = 0; j < kCount; ++j) out[j] = fma(q[j], key, out[j]);
  }
  for (int j = 0; j < kCount; ++j) out[j] = mul(out[j], task.scale);
}

// A thread's position against all queries: first the rows that have it in its own slot, together; then those that have
// it on their path, row by row.
template <KvType kType, int kQ>
S3D_DEVICE void score_position(const AttentionTask& task, const Part& part, const Scratch& scratch, int p) {
  float* to = scratch.weights + (p - part.base) * kQ;
  bool shared = false;
  for (int r = 0; r < part.tile.count; ++r) {
    const Span& span = scratch.spans[r];
    shared = shared || (span.begin <= p && p < span.shared);
  }
  if (shared) {
    float scores[kQ];
    score_slot<kType, kQ, kQ>(task, part, scratch, p, 0, scores);
    S3D_UNROLL
    for (int j = 0; j < kQ; ++j) to[j] = scores[j];
  }
  for (int r = 0; r < part.tile.count; ++r) {
    const Span& span = scratch.spans[r];
    if (p < span.shared || !span.sees(p)) continue;
    for (int h = 0; h < part.heads; ++h) {
      float score[1];
      score_slot<kType, kQ, 1>(task, part, scratch, span.slot(p), r * part.heads + h, score);
      to[r * part.heads + h] = score[0];
    }
  }
}

// Turns the scores of a query into weights; by one warp. Returns the largest score and the sum of the weights.
template <int kQ>
S3D_DEVICE float2 softmax(const AttentionTask& task, const Part& part, float* column, const Span& span) {
  const int lane = static_cast<int>(lane_of_warp());
  const float twice_inverse = task.softcap == 0 ? 0.0F : div(2.0F, task.softcap);
  float largest = from_bits(0xff800000U);  // minus infinity
  for (int i = lane; i < kSegment; i += 32) {
    if (!span.sees(part.base + i)) continue;
    float& score = column[i * kQ];
    if (task.softcap != 0) score = soft_cap(task.softcap, twice_inverse, score);
    largest = max2(largest, score);
  }
  for (unsigned mask = 16; mask > 0; mask /= 2) largest = max2(largest, shuffle_xor_float(largest, mask));
  for (int i = lane; i < kSegment; i += 32) {
    float& score = column[i * kQ];
    score = span.sees(part.base + i) ? exponential(sub(score, largest)) : 0.0F;
  }
  float lower = 0, upper = 0;  // of weights that this lane has written
  for (int i = lane; i < kSegment; i += kSumChains) {
    lower = add(lower, column[i * kQ]);
    upper = add(upper, column[(i + 32) * kQ]);
  }
  return {largest, add_chains(lower, upper)};
}

template <KvType kType>
S3D_DEVICE float value_at(const AttentionTask& task, const Part& part, int slot, int d) {
  const std::byte* page = task.pages[task.first_page[part.sequence] + slot / KvLayout::kPageTokens];
  const KvLayout::Place place = task.layout.value(task.layer, part.kv_head, slot % KvLayout::kPageTokens);
  const float value = number_at<kType>(page + place.numbers, static_cast<size_t>(d));
  if constexpr (kType != KvType::kQ8_0) return value;
  const auto* scales = reinterpret_cast<const uint16_t*>(page + place.scales);
  return mul(value, half_to_float(scales[d / KvLayout::kScaleDims]));
}

// Weighted sums of dimension d for queries [first, first + kCount), over the positions in their order: those that only
// some of the queries see, query by query; those that all have in one slot, together; then the rest.
template <KvType kType, int kQ, int kCount>
S3D_DEVICE void sum_values(const AttentionTask& task, const Part& part, const Scratch& scratch, int first, int count,
                           int d, float (&sum)[kCount]) {
  int common_begin = part.base, common_end = part.base + kSegment;
  for (int j = 0; j < count; ++j) {
    const Span& span = scratch.spans[(first + j) / part.heads];
    if (span.begin > common_begin) common_begin = span.begin;
    if (span.shared < common_end) common_end = span.shared;
  }
  if (common_begin >= common_end) common_begin = common_end = part.base;
  S3D_UNROLL
  for (int j = 0; j < kCount; ++j) {
    sum[j] = 0;
    if (j >= count) continue;
    const Span& span = scratch.spans[(first + j) / part.heads];
    for (int p = span.begin; p < common_begin; ++p) {
      sum[j] = fma(scratch.weights[(p - part.base) * kQ + first + j], value_at<kType>(task, part, p, d), sum[j]);
    }
  }
  for (int p = common_begin; p < common_end; ++p) {
    const float value = value_at<kType>(task, part, p, d);
    const float* weights = scratch.weights + (p - part.base) * kQ + first;
    S3D_UNROLL
    for (int j = 0; j < kCount; ++j) sum[j] = fma(weights[j], value, sum[j]);
  }
  S3D_UNROLL
  for (int j = 0; j < kCount; ++j) {
    if (j >= count) continue;
    const Span& span = scratch.spans[(first + j) / part.heads];
    for (int p = span.begin > common_end ? span.begin : common_end; p < span.end; ++p) {
      const float value = value_at<kType>(task, part, span.slot(p), d);
      sum[j] = fma(scratch.weights[(p - part.base) * kQ + first + j], value, sum[j]);
    }
  }
}

S3D_DEVICE size_t partial_floats(const AttentionTask& task) {
  return kPartialHead + static_cast<size_t>(task.layout.head_dim);
}
S3D_DEVICE float* partial_of(const AttentionTask& task, int row, int head, int segment) {
  const size_t index = (static_cast<size_t>(row) * task.n_heads + head) * task.max_segments + segment;
  return task.partials + index * partial_floats(task);
}

template <int kQ>
constexpr size_t attention_shared_bytes(int head_dim) {
  return sizeof(Span) * kQ + sizeof(float) * kQ * (static_cast<size_t>(head_dim) + kSegment);
}

template <KvType kType, int kQ>
__global__ void __launch_bounds__(kThreads, 1) attend_kernel(const AttentionTask task) {
  let_next_start();
  wait_for_previous();
  constexpr int kTogether = kQ < 4 ? kQ : 4;  // queries whose values a thread sums at once
  const Part part = part_of_block(task);
  if (static_cast<int>(blockIdx.y) >= part.tile.segments) return;
  const int thread = static_cast<int>(threadIdx.x), head_dim = task.layout.head_dim;
  const int queries = part.tile.count * part.heads;
  Scratch scratch;
  scratch.spans = reinterpret_cast<Span*>(block_shared());
  scratch.q = reinterpret_cast<float*>(scratch.spans + kQ);
  scratch.weights = scratch.q + head_dim * kQ;
  if (thread < part.tile.count) scratch.spans[thread] = span_of(task, part, thread);
  for (int i = thread; i < kQ * head_dim; i += kSegment) {  // places that are left over repeat the first query
    const int j = i / head_dim < queries ? i / head_dim : 0, d = i % head_dim;
    const int row = task.row_order[part.tile.first + j / part.heads], head = part.first_head + j % part.heads;
    scratch.q[d * kQ + i / head_dim] = task.q[(static_cast<size_t>(row) * task.n_heads + head) * head_dim + d];
  }
  __syncthreads();
  score_position<kType, kQ>(task, part, scratch, part.base + thread);
  __syncthreads();
  for (int j = static_cast<int>(warp_of_block()); j < kQ; j += static_cast<int>(warps_of_block())) {
    if (j >= queries) break;  // a whole warp
    const int row = task.row_order[part.tile.first + j / part.heads], head = part.first_head + j % part.heads;
    const Span& span = scratch.spans[j / part.heads];
    const float2 head_of_partial =
        span.begin < span.end ? softmax<kQ>(task, part, scratch.weights + j, span) : float2{0.0F, 0.0F};
    float* partial = partial_of(task, row, head, part.segment);
    if (lane_of_warp() == 0) {
      partial[0] = head_of_partial.x;
      partial[1] = head_of_partial.y;
    }
  }
  __syncthreads();
  constexpr int kChunks = (kQ + kTogether - 1) / kTogether;
  for (int i = thread; i < kChunks * head_dim; i += kSegment) {
    const int first = i / head_dim * kTogether, d = i % head_dim;
    const int count = queries - first < kTogether ? queries - first : kTogether;
    if (count <= 0) break;
    float sum[kTogether];
    sum_values<kType, kQ, kTogether>(task, part, scratch, first, count, d, sum);
    S3D_UNROLL
    for (int j = 0; j < kTogether; ++j) {
      if (j >= count) continue;
      const int query = first + j, head = part.first_head + query % part.heads;
      partial_of(task, task.row_order[part.tile.first + query / part.heads], head, part.segment)[kPartialHead + d] =
          sum[j];
    }
  }
}

// Dimension d of a row and head: its segments, merged in their order.
S3D_DEVICE float merged(const AttentionTask& task, int row, int head, int d) {
  const int end = task.seen[row].end;
  const int begin = task.window > 0 && end > task.window ? end - task.window : 0;
  float largest = 0, sum = 0, value = 0;
  for (int segment = begin / kSegment; segment <= (end - 1) / kSegment; ++segment) {
    const float* partial = partial_of(task, row, head, segment);
    const float other = partial[0], other_sum = partial[1], other_value = partial[kPartialHead + d];
    if (other_sum == 0.0F) continue;
    if (sum == 0.0F) {
      largest = other;
      sum = other_sum;
      value = other_value;
      continue;
    }
    const float both = largest > other ? largest : other;
    const float keep = exponential(sub(largest, both)), take = exponential(sub(other, both));
    largest = both;
    sum = fma(sum, keep, mul(other_sum, take));
    value = fma(value, keep, mul(other_value, take));
  }
  return mul(value, div(1.0F, sum));
}

// A block merges 256 columns of a row, of all heads side by side, one a thread; then a warp stores them as the input of
// the next product.
__global__ void __launch_bounds__(kPerWarp) merge_kernel(const AttentionTask task) {
  let_next_start();
  wait_for_previous();
  const int row = static_cast<int>(blockIdx.y), head_dim = task.layout.head_dim, cols = task.n_heads * head_dim;
  const int begin = static_cast<int>(blockIdx.x) * kPerWarp, column = begin + static_cast<int>(threadIdx.x);
  auto* values = reinterpret_cast<float*>(block_shared());
  values[threadIdx.x] = column < cols ? merged(task, row, column / head_dim, column % head_dim) : 0.0F;
  __syncthreads();
  if (warp_of_block() != 0) return;
  Eight eight;
  const int first = static_cast<int>(lane_of_warp()) * kPerLane;
  eight.column = begin + first;
  for (int i = 0; i < kPerLane; ++i) eight.v[i] = values[first + i];
  store(task.stored, cols, row, eight);
}

template <KvType kType, int kQ>
void launch_attend(void* stream, const AttentionTask& task, const cuda::Grid& grid) {
  S3D_LAUNCH(stream, (attend_kernel<kType, kQ>), grid, kThreads, attention_shared_bytes<kQ>(task.layout.head_dim),
             task);
}

template <KvType kType>
void launch_for(void* stream, const AttentionTask& task, const cuda::Grid& grid, int queries) {
  if (queries == 1) return launch_attend<kType, 1>(stream, task, grid);
  if (queries <= 4) return launch_attend<kType, 4>(stream, task, grid);
  return launch_attend<kType, 8>(stream, task, grid);
}

}  // namespace

void launch_attention(void* stream, const AttentionTask& task) {
  const int group = task.n_heads / task.layout.n_kv_heads;
  const int parts = (group + task.heads_per_part - 1) / task.heads_per_part * task.layout.n_kv_heads;
  const cuda::Grid grid{static_cast<unsigned>(task.n_tiles * parts), static_cast<unsigned>(task.max_segments), 1};
  const int queries = task.rows_per_tile * task.heads_per_part;
  switch (task.layout.type) {
    case KvType::kF16:
      launch_for<KvType::kF16>(stream, task, grid, queries);
      break;
    case KvType::kF32:
      launch_for<KvType::kF32>(stream, task, grid, queries);
      break;
    case KvType::kQ8_0:
      launch_for<KvType::kQ8_0>(stream, task, grid, queries);
      break;
  }
  const auto parts_of_row = static_cast<unsigned>((task.n_heads * task.layout.head_dim + kPerWarp - 1) / kPerWarp);
  const cuda::Grid merge{parts_of_row, static_cast<unsigned>(task.n), 1};
  S3D_LAUNCH(stream, merge_kernel, merge, static_cast<unsigned>(kPerWarp), sizeof(float) * kPerWarp, task);
}

}  // namespace s3d::S3D_CUDA_NS
