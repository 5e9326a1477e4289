// Queries, keys and values of a pass: norm of each head, rotation, and writing to the cache. One warp does one head's
// vector; the bits are those of kernels/attention-inl.h.
#include "backend/cuda/float_ops.h"
#include "backend/cuda/launchers.h"
#include "backend/cuda/norm.h"

namespace s3d::S3D_CUDA_NS {
namespace {

using cuda::PlaceTask;

constexpr unsigned kThreads = 128;

S3D_DEVICE void rotate(const PlaceTask& task, int row, float* head) {
  const float* cos = task.cos + static_cast<size_t>(row) * task.pairs;
  const float* sin = task.sin + static_cast<size_t>(row) * task.pairs;
  for (int i = static_cast<int>(lane_of_warp()); i < task.pairs; i += 32) {
    const int first = task.interleaved ? 2 * i : i, second = task.interleaved ? 2 * i + 1 : i + task.pairs;
    const float a = head[first], b = head[second];
    head[first] = fma(a, cos[i], from_bits(bits_of(mul(b, sin[i])) ^ 0x80000000U));
    head[second] = fma(b, cos[i], mul(a, sin[i]));
  }
}

// Quantizes 32 dimensions from `begin` on, one a lane, as kernels/attention-inl.h, quantize_q8.
S3D_DEVICE void write_q8(const float* head, int begin, int head_dim, std::byte* page, const KvLayout::Place& place) {
  const int d = begin + static_cast<int>(lane_of_warp());
  const float x = d < head_dim ? head[d] : 0.0F;
  uint32_t largest_bits = magnitude_bits(x);
  for (unsigned mask = 16; mask > 0; mask /= 2) largest_bits = max2(largest_bits, shuffle_xor(largest_bits, mask));
  const float largest = from_bits(largest_bits);
  const auto q = static_cast<int8_t>(to_int8(x, inverse_scale(largest)));
  if (d < head_dim) *reinterpret_cast<int8_t*>(page + place.numbers + static_cast<size_t>(d) * place.step) = q;
  if (lane_of_warp() != 0) return;
  const size_t block = static_cast<size_t>(begin) / KvLayout::kScaleDims;
  *reinterpret_cast<uint16_t*>(page + place.scales + block * place.scale_step) = float_to_half(div(largest, 127.0F));
}

S3D_DEVICE void write_head(const PlaceTask& task, const float* head, std::byte* page, const KvLayout::Place& place) {
  const int head_dim = task.layout.head_dim;
  if (task.layout.type == KvType::kQ8_0) {
    for (int d = 0; d < head_dim; d += KvLayout::kScaleDims) write_q8(head, d, head_dim, page, place);
    return;
  }
  for (int d = static_cast<int>(lane_of_warp()); d < head_dim; d += 32) {
    std::byte* to = page + place.numbers + static_cast<size_t>(d) * place.step;
    if (task.layout.type == KvType::kF32) {
      *reinterpret_cast<float*>(to) = head[d];
    } else {
      *reinterpret_cast<uint16_t*>(to) = float_to_half(head[d]);
    }
  }
}

// Vectors of a row: the query heads, then the key heads, then the value heads.
__global__ void __launch_bounds__(kThreads) place_kernel(const PlaceTask task) {
  let_next_start();
  wait_for_previous();
  const int row = static_cast<int>(blockIdx.y), n_kv = task.layout.n_kv_heads, head_dim = task.layout.head_dim;
  const int vector = static_cast<int>(blockIdx.x * warps_of_block() + warp_of_block());
  if (vector >= task.n_heads + 2 * n_kv) return;  // a whole warp
  const bool is_query = vector < task.n_heads, is_value = vector >= task.n_heads + n_kv;
  const int kv_head = (vector - task.n_heads) % n_kv;
  float* head = reinterpret_cast<float*>(block_shared()) + warp_of_block() * static_cast<unsigned>(head_dim);
  const size_t heads = static_cast<size_t>(is_query ? task.n_heads : n_kv);
  const size_t from = (static_cast<size_t>(row) * heads + static_cast<size_t>(is_query ? vector : kv_head)) *
                      static_cast<size_t>(head_dim);
  const float* in = (is_query ? task.q : is_value ? task.v : task.k) + from;
  const float* norm = is_query ? task.q_norm : is_value ? nullptr : task.k_norm;
  for (int d = static_cast<int>(lane_of_warp()); d < head_dim; d += 32) head[d] = in[d];
  __syncwarp();
  if (norm != nullptr) {
    const float factor = norm_factor(head, head_dim, task.eps);  // of each lane's own elements, then exchanged
    for (int d = static_cast<int>(lane_of_warp()); d < head_dim; d += 32) head[d] = mul(mul(head[d], factor), norm[d]);
    __syncwarp();
  }
  if (!is_value) {
    rotate(task, row, head);
    __syncwarp();
  }
  if (is_query) {
    for (int d = static_cast<int>(lane_of_warp()); d < head_dim; d += 32) task.q[from + d] = head[d];
    return;
  }
  const int slot = task.slot_of_row[row];
  write_head(task, head, task.page_of_row[row],
             is_value ? task.layout.value(task.layer, kv_head, slot) : task.layout.key(task.layer, kv_head, slot));
}

}  // namespace

void launch_place(void* stream, const PlaceTask& task) {
  constexpr unsigned kWarps = kThreads / 32;
  const auto vectors = static_cast<unsigned>(task.n_heads + 2 * task.layout.n_kv_heads);
  const cuda::Grid grid{(vectors + kWarps - 1) / kWarps, static_cast<unsigned>(task.n), 1};
  S3D_LAUNCH(stream, place_kernel, grid, kThreads, kWarps * sizeof(float) * static_cast<size_t>(task.layout.head_dim),
             task);
}

}  // namespace s3d::S3D_CUDA_NS
