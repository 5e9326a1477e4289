#include "backend/cuda/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/cuda/pack_fragments.h"
#include "backend/cuda/tasks.h"
#include "base/index.h"

namespace s3d::cuda {
namespace {

constexpr int64_t kLogitRows = 64;  // of a pass, at most: prompts that are scored want no more at once

size_t bytes_of(const LayerWeights& w) {
  size_t bytes = 0;
  for (const PackedMatrix* matrix : {&w.wq, &w.wk, &w.wv, &w.wo, &w.w_gate, &w.w_up, &w.w_down}) {
    if (!matrix->empty()) bytes += fragment_bytes(*matrix);
  }
  for (const std::vector<float>* vector :
       {&w.attn_norm, &w.bq, &w.bk, &w.bv, &w.q_norm, &w.k_norm, &w.attn_post_norm, &w.ffn_norm, &w.ffn_post_norm}) {
    bytes += vector->size() * sizeof(float);
  }
  return bytes;
}

// Floats that a pass keeps for each row, roughly: what CudaPass::ensure_buffers asks for.
size_t floats_of_row(const ModelConfig& c, int64_t context) {
  const int64_t segments = context / AttentionTask::kSegment + 1;
  const int64_t partials = segments * c.n_heads * (2 + c.head_dim);
  return usize(4 * int64_t{c.d_model} + 3 * c.q_dim() + 2 * c.kv_dim() + 3 * c.d_ff + partials);
}

std::string mebibytes(size_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

size_t MemoryNeeds::of_last(int count) const {
  size_t bytes = rest;
  for (int i = 0; i < count; ++i) bytes += layers[layers.size() - 1 - usize(i)];
  return bytes;
}

MemoryNeeds memory_needs(const Model& model, KvType type, int64_t positions, int64_t context, int max_rows,
                         size_t adapter_bytes) {
  const ModelConfig& c = model.config;
  const KvLayout one_layer{type, c.head_dim, c.n_kv_heads, 1};
  const auto pages = usize((positions + KvLayout::kPageTokens - 1) / KvLayout::kPageTokens);
  MemoryNeeds needs;
  for (const LayerWeights& layer : model.layers) {
    needs.layers.push_back(bytes_of(layer) + pages * one_layer.page_bytes());
  }
  const auto logit_rows = usize(std::min<int64_t>(max_rows, kLogitRows));
  needs.rest = fragment_bytes(model.lm_head) + (model.output_norm.size() + usize(c.d_model)) * sizeof(float) +
               model.lm_head_ids.size() * sizeof(int32_t) + adapter_bytes +
               usize(max_rows) * floats_of_row(c, context) * sizeof(float) +
               logit_rows * usize(c.vocab_size + 2 * c.d_model) * sizeof(float);
  return needs;
}

Result<int> choose_layers(const MemoryNeeds& needs, size_t bytes, int wanted, std::string_view device) {
  const int n = isize(needs.layers);
  if (wanted >= 0) {
    const int count = std::min(wanted, n);
    const size_t needed = needs.of_last(count);
    if (needed <= bytes) return count;
    return Error{
        fmt::format("device {}: {} of {} layers with the LM head and the buffers need {}, {} more than the {} that may "
                    "be used; use "
                    "fewer --gpu-layers, a shorter context or a smaller --kv-type",
                    device, count, n, mebibytes(needed), mebibytes(needed - bytes), mebibytes(bytes))};
  }
  int count = n;
  while (count >= 0 && needs.of_last(count) > bytes) --count;
  if (count >= 0) return count;
  return Error{fmt::format(
      "device {}: the LM head and the buffers alone need {}, {} more than the {} that may be used; use --backend cpu",
      device, mebibytes(needs.rest), mebibytes(needs.rest - bytes), mebibytes(bytes))};
}

}  // namespace s3d::cuda
