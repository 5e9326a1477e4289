// Slots that move to earlier places of their sequence when a path of a tree is committed.
#include "backend/cuda/launchers.h"

namespace s3d::S3D_CUDA_NS {
namespace {

using cuda::MoveTask;

constexpr unsigned kThreads = 64;

template <typename T>
S3D_DEVICE void copy(const std::byte* from, std::byte* to, size_t step, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(kThreads)) {
    *reinterpret_cast<T*>(to + static_cast<size_t>(i) * step) =
        *reinterpret_cast<const T*>(from + static_cast<size_t>(i) * step);
  }
}

S3D_DEVICE void move(const KvLayout& layout, const std::byte* from_page, const KvLayout::Place& from,
                     std::byte* to_page, const KvLayout::Place& to) {
  const std::byte* numbers = from_page + from.numbers;
  if (layout.type == KvType::kF32) copy<float>(numbers, to_page + to.numbers, from.step, layout.head_dim);
  if (layout.type == KvType::kF16) copy<uint16_t>(numbers, to_page + to.numbers, from.step, layout.head_dim);
  if (layout.type == KvType::kQ8_0) {
    copy<int8_t>(numbers, to_page + to.numbers, from.step, layout.head_dim);
    copy<uint16_t>(from_page + from.scales, to_page + to.scales, from.scale_step, layout.scale_blocks());
  }
}

// A block has one head of one layer, and does the moves in their order: a slot is read before it is overwritten, as the
// slots ascend. A thread has the same dimensions in all of them, so none waits for another.
__global__ void __launch_bounds__(kThreads, 1) moves_kernel(const MoveTask task) {
  let_next_start();
  wait_for_previous();
  const int head = static_cast<int>(blockIdx.x), layer = task.layout.first_layer + static_cast<int>(blockIdx.y);
  for (int i = 0; i < task.n; ++i) {
    const MoveTask::Move& m = task.moves[i];
    move(task.layout, m.from_page, task.layout.key(layer, head, m.from), m.to_page, task.layout.key(layer, head, m.to));
    move(task.layout, m.from_page, task.layout.value(layer, head, m.from), m.to_page,
         task.layout.value(layer, head, m.to));
  }
}

}  // namespace

void launch_moves(void* stream, const MoveTask& task) {
  const cuda::Grid grid{static_cast<unsigned>(task.layout.n_kv_heads), static_cast<unsigned>(task.layout.n_layers), 1};
  S3D_LAUNCH(stream, moves_kernel, grid, kThreads, 0, task);
}

}  // namespace s3d::S3D_CUDA_NS
