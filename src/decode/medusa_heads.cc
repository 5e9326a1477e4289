#include "decode/medusa_heads.h"

#include <cmath>

#include "base/index.h"
#include "model/tensor_floats.h"

namespace s3d {
namespace {

// In place: v / sqrt(mean(v^2) + eps) * weight.
void norm(std::span<float> row, std::span<const float> weight, float eps) {
  double sum = 0;
  for (const float x : row) sum += double{x} * x;
  const double scale = 1 / std::sqrt(sum / static_cast<double>(row.size()) + eps);
  for (size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(row[i] * scale * weight[i]);
}

float silu(float x) {
  return x / (1 + std::exp(-x));
}

// A model that was only opened holds no norm.
Result<std::vector<float>> output_norm(const Model& base) {
  if (!base.output_norm.empty()) return base.output_norm;
  S3D_ASSIGN(const Tensor* tensor, base.file->tensor("output_norm.weight"));
  S3D_ASSIGN(std::vector<float> weights, read_vector(*base.file, *tensor, usize(base.config.d_model)));
  for (float& weight : weights) weight *= base.config.logit_scale;
  return weights;
}

}  // namespace

Result<std::shared_ptr<MedusaHeads>> MedusaHeads::create(MedusaFile file, std::shared_ptr<const Model> base,
                                                         Backend& backend, ThreadPool& pool) {
  S3D_TRY(backend.can_multiply());
  const std::shared_ptr<MedusaHeads> out(new MedusaHeads(std::move(file), std::move(base), backend));
  const GgufFile& tensors = *out->file_.file;
  S3D_ASSIGN(out->norm_, output_norm(*out->base_));
  S3D_ASSIGN(out->head_, side_head(*out->base_, out->file_.draft_ids, &pool));
  S3D_TRY(backend.take(out->head_));
  for (const MedusaFile::Head& head : out->file_.heads) {
    Part part;
    S3D_ASSIGN(part.weight, pack_side_matrix(tensors, head.weight, &pool));
    S3D_ASSIGN(part.low, pack_side_matrix(tensors, head.low, &pool));
    S3D_ASSIGN(part.low_head, pack_side_matrix(tensors, head.low_head, &pool));
    part.bias = head.bias;
    for (const SideMatrix* matrix : {&part.weight, &part.low, &part.low_head}) S3D_TRY(backend.take(*matrix));
    out->parts_.push_back(std::move(part));
  }
  return out;
}

size_t MedusaHeads::bytes() const {
  size_t bytes = head_.own_bytes + norm_.size() * sizeof(float);
  for (const Part& part : parts_) {
    bytes += part.weight.own_bytes + part.low.own_bytes + part.low_head.own_bytes + part.bias.size() * sizeof(float);
  }
  return bytes;
}

std::vector<float> MedusaHeads::logits(std::span<const float> state, int heads) {
  const size_t d = state.size(), n = usize(heads), vocab = head_.rows();
  std::vector<float> normed(state.begin(), state.end()), v(n * d), out(n * vocab);
  norm(normed, norm_, base_->config.norm_eps);
  for (size_t k = 0; k < n; ++k) {
    const std::span<float> row = std::span(v).subspan(k * d, d);
    backend_.multiply(parts_[k].weight, normed, row);
    for (size_t i = 0; i < d; ++i) row[i] = normed[i] + silu(row[i] + parts_[k].bias[i]);
  }
  backend_.multiply(head_, v, out);
  if (parts_.front().low.empty()) return out;
  std::vector<float> low(parts_.front().low.rows()), more(vocab);
  for (size_t k = 0; k < n; ++k) {
    backend_.multiply(parts_[k].low, std::span(v).subspan(k * d, d), low);
    backend_.multiply(parts_[k].low_head, low, more);
    for (size_t i = 0; i < vocab; ++i) out[k * vocab + i] += more[i];
  }
  return out;
}

}  // namespace s3d
