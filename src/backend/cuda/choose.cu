// The best tokens of each row of logits, and the sums of a softmax, so that the logits need not leave the device. What
// is chosen, and the bits of the sums, are those of backend/token_choice.cc and base/softmax.h.
#include "backend/cuda/float_ops.h"
#include "backend/cuda/launchers.h"

namespace s3d::S3D_CUDA_NS {
namespace {

using cuda::ChooseTask;
using cuda::Ranked;

constexpr int kPiece = ChooseTask::kPiece;
constexpr int kPerLane = kPiece / static_cast<int>(kWarpLanes);
constexpr int kChains = 16;  // softmax::kLanes
constexpr uint32_t kMinusInfinity = 0xff800000U;

S3D_DEVICE int pieces_of(const ChooseTask& task) {
  return (task.width + kPiece - 1) / kPiece;
}

// Larger logits first, of equal ones the smaller token. NaN is never better than anything.
S3D_DEVICE Ranked better(const Ranked& a, const Ranked& b) {
  return b.logit > a.logit || (b.logit == a.logit && b.token < a.token) ? b : a;
}
S3D_DEVICE Ranked best_of_warp(Ranked best) {
  S3D_UNROLL
  for (unsigned mask = 16; mask > 0; mask /= 2) {
    const float logit = shuffle_xor_float(best.logit, mask);
    const auto token = static_cast<int32_t>(shuffle_xor(static_cast<uint32_t>(best.token), mask));
    best = better(best, {token, logit});
  }
  return best;
}

S3D_DEVICE bool is_finite(float x) {
  return magnitude_bits(x) < 0x7f800000U;
}

// A warp's piece of a row: its best tokens in order. A lane has every 32nd logit, and forgets those that were taken.
__global__ void __launch_bounds__(kWarpLanes) choose_kernel(const ChooseTask task) {
  let_next_start();
  wait_for_previous();
  const int piece = static_cast<int>(blockIdx.x), row = static_cast<int>(blockIdx.y),
            lane = static_cast<int>(lane_of_warp());
  const int begin = piece * kPiece + lane;
  const float* logits = task.logits + static_cast<size_t>(row) * task.width;
  float mine[kPerLane];
  bool finite = true;
  S3D_UNROLL
  for (int i = 0; i < kPerLane; ++i) {
    const int token = begin + i * static_cast<int>(kWarpLanes);
    mine[i] = token < task.width ? logits[token] : from_bits(kMinusInfinity);
    finite = finite && (token >= task.width || is_finite(mine[i]));
  }
  const size_t at = static_cast<size_t>(row) * pieces_of(task) + piece;
  const bool all_finite = ballot(finite) == 0xffffffffU;
  if (lane == 0) task.piece_finite[at] = all_finite ? 1 : 0;
  for (int k = 0; k < task.best; ++k) {
    Ranked best{-1, from_bits(kMinusInfinity)};
    S3D_UNROLL
    for (int i = 0; i < kPerLane; ++i) {
      if (mine[i] > best.logit) best = {begin + i * static_cast<int>(kWarpLanes), mine[i]};
    }
    best = best_of_warp(best);
    if (lane == 0) task.piece_best[at * task.best + k] = best;
    S3D_UNROLL
    for (int i = 0; i < kPerLane; ++i) {
      if (begin + i * static_cast<int>(kWarpLanes) == best.token) mine[i] = from_bits(kMinusInfinity);
    }
  }
}

// A warp merges the pieces of a row; how many of a piece's tokens are taken stands in shared memory.
__global__ void __launch_bounds__(kWarpLanes) merge_choices_kernel(const ChooseTask task) {
  let_next_start();
  wait_for_previous();
  const int row = static_cast<int>(blockIdx.x), lane = static_cast<int>(lane_of_warp()), pieces = pieces_of(task);
  auto* taken = reinterpret_cast<uint8_t*>(block_shared());
  const size_t first = static_cast<size_t>(row) * pieces;
  bool finite = true;
  for (int piece = lane; piece < pieces; piece += static_cast<int>(kWarpLanes)) {
    taken[piece] = 0;
    finite = finite && task.piece_finite[first + piece] != 0;
  }
  const bool all_finite = ballot(finite) == 0xffffffffU;
  if (lane == 0) task.finite[row] = all_finite ? 1 : 0;
  for (int k = 0; k < task.best; ++k) {
    Ranked best{-1, from_bits(kMinusInfinity)};
    for (int piece = lane; piece < pieces; piece += static_cast<int>(kWarpLanes)) {
      if (taken[piece] < task.best) best = better(best, task.piece_best[(first + piece) * task.best + taken[piece]]);
    }
    best = best_of_warp(best);
    if (best.token >= 0 && best.token / kPiece % static_cast<int>(kWarpLanes) == lane) ++taken[best.token / kPiece];
    if (lane != 0) continue;
    task.tokens[static_cast<size_t>(row) * task.best + k] = best;
    if (k == 0 && task.next != nullptr) task.next[row] = best.token + 1;
  }
}

// base/softmax.h, exp_nonpositive.
S3D_DEVICE float exp_nonpositive(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23
  const float clamped = x > -87.0F ? x : -87.0F;
  const float shifted = add(mul(clamped, 1.44269504F), kRound);
  const float k = sub(shifted, kRound);
  const float r = sub(sub(clamped, mul(k, 0.693359375F)), mul(k, -2.12194440e-4F));
  float p = 1.0F / 5040.0F;
  p = add(mul(p, r), 1.0F / 720.0F);
  p = add(mul(p, r), 1.0F / 120.0F);
  p = add(mul(p, r), 1.0F / 24.0F);
  p = add(mul(p, r), 1.0F / 6.0F);
  p = add(mul(p, r), 0.5F);
  p = add(mul(p, r), 1.0F);
  p = add(mul(p, r), 1.0F);
  const uint32_t exponent = (bits_of(shifted) + 127U) << 23U;
  const float value = mul(p, from_bits(exponent));
  return x > -87.0F ? value : 0.0F;
}

// A warp has two pieces of a row, a lane one of the 16 sums of one of them.
__global__ void __launch_bounds__(kWarpLanes) sum_pieces_kernel(const ChooseTask task) {
  let_next_start();
  wait_for_previous();
  const int row = static_cast<int>(blockIdx.y), lane = static_cast<int>(lane_of_warp()), chain = lane % kChains;
  const int piece = static_cast<int>(blockIdx.x) * 2 + lane / kChains;
  const float* logits = task.logits + static_cast<size_t>(row) * task.width;
  const float largest = task.tokens[static_cast<size_t>(row) * task.best].logit;
  const int end = task.width < (piece + 1) * kPiece ? task.width : (piece + 1) * kPiece;
  float sum = 0.0F;
  for (int token = piece * kPiece + chain; token < end; token += kChains) {
    sum = add(sum, exp_nonpositive(sub(logits[token], largest)));
  }
  float total = 0.0F;
  for (int i = 0; i < kChains; ++i) {
    total = add(total, from_bits(shuffle(bits_of(sum), static_cast<unsigned>(lane - chain + i))));
  }
  if (chain == 0 && piece < pieces_of(task)) {
    task.piece_sums[static_cast<size_t>(row) * pieces_of(task) + piece] = total;
  }
}

__global__ void __launch_bounds__(kWarpLanes) sum_row_kernel(const ChooseTask task) {
  let_next_start();
  wait_for_previous();
  const int row = static_cast<int>(blockIdx.x), pieces = pieces_of(task);
  if (lane_of_warp() != 0) return;
  float total = 0.0F;
  for (int piece = 0; piece < pieces; ++piece) {
    total = add(total, task.piece_sums[static_cast<size_t>(row) * pieces + piece]);
  }
  task.sums[row] = total;
}

}  // namespace

void launch_choose(void* stream, const ChooseTask& task) {
  const auto rows = static_cast<unsigned>(task.n), pieces = static_cast<unsigned>((task.width + kPiece - 1) / kPiece);
  S3D_LAUNCH(stream, choose_kernel, (cuda::Grid{pieces, rows, 1}), kWarpLanes, 0, task);
  S3D_LAUNCH(stream, merge_choices_kernel, (cuda::Grid{rows, 1, 1}), kWarpLanes, pieces, task);
  if (task.sums == nullptr) return;
  S3D_LAUNCH(stream, sum_pieces_kernel, (cuda::Grid{(pieces + 1) / 2, rows, 1}), kWarpLanes, 0, task);
  S3D_LAUNCH(stream, sum_row_kernel, (cuda::Grid{rows, 1, 1}), kWarpLanes, 0, task);
}

}  // namespace s3d::S3D_CUDA_NS
