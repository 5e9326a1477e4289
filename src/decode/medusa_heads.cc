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

DraftPass MedusaHeads::pass(std::span<const float> state, int heads) {
  DraftPass pass;
  pass.runner = this;
  pass.rows.resize(usize(heads));
  pass.state = state.data();
  return pass;
}

// Logits of more rows would take memory that only crowds need.
int MedusaHeads::max_rows() const {
  constexpr int kMaxRows = 64;
  return kMaxRows;
}

Result<PassOutput> MedusaHeads::run(std::span<const DraftPass* const> passes) {
  const size_t d = usize(base_->config.d_model), vocab = head_.rows();
  std::vector<HeadRow> rows;
  std::vector<float> normed;
  for (size_t i = 0; i < passes.size(); ++i) {
    normed.insert(normed.end(), passes[i]->state, passes[i]->state + d);
    norm(std::span(normed).subspan(i * d, d), norm_, base_->config.norm_eps);
    for (size_t k = 0; k < passes[i]->rows.size(); ++k) rows.push_back({.head = k, .state = i});
  }
  std::vector<float> v(rows.size() * d);
  logits_.resize(rows.size() * vocab);
  add_hidden(rows, normed, v);
  backend_.multiply(head_, v, logits_);
  if (!parts_.front().low.empty()) add_low_rank(rows, v, logits_);
  return PassOutput{.logits = logits_};
}

// The rows of one head are one product.
std::vector<size_t> MedusaHeads::rows_of(std::span<const HeadRow> rows, size_t head) {
  std::vector<size_t> out;
  for (size_t r = 0; r < rows.size(); ++r) {
    if (rows[r].head == head) out.push_back(r);
  }
  return out;
}

// v of each row.
void MedusaHeads::add_hidden(std::span<const HeadRow> rows, std::span<const float> normed, std::span<float> v) {
  const size_t d = usize(base_->config.d_model);
  for (size_t k = 0; k < parts_.size(); ++k) {
    const std::vector<size_t> mine = rows_of(rows, k);
    if (mine.empty()) continue;
    std::vector<float> in;
    for (const size_t r : mine) in.insert(in.end(), &normed[rows[r].state * d], &normed[rows[r].state * d] + d);
    std::vector<float> out(in.size());
    backend_.multiply(parts_[k].weight, in, out);
    for (size_t i = 0; i < mine.size(); ++i) {
      for (size_t c = 0; c < d; ++c) v[mine[i] * d + c] = in[i * d + c] + silu(out[i * d + c] + parts_[k].bias[c]);
    }
  }
}

void MedusaHeads::add_low_rank(std::span<const HeadRow> rows, std::span<const float> v, std::span<float> out) {
  const size_t d = usize(base_->config.d_model), vocab = head_.rows();
  for (size_t k = 0; k < parts_.size(); ++k) {
    const std::vector<size_t> mine = rows_of(rows, k);
    if (mine.empty()) continue;
    std::vector<float> in;
    for (const size_t r : mine) in.insert(in.end(), &v[r * d], &v[r * d] + d);
    std::vector<float> low(mine.size() * parts_[k].low.rows()), more(mine.size() * vocab);
    backend_.multiply(parts_[k].low, in, low);
    backend_.multiply(parts_[k].low_head, low, more);
    for (size_t i = 0; i < mine.size(); ++i) {
      for (size_t t = 0; t < vocab; ++t) out[mine[i] * vocab + t] += more[i * vocab + t];
    }
  }
}

}  // namespace s3d
