#include "train/trained_layers.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/check.h"
#include "kernels/packed_matrix.h"
#include "model/tensor_floats.h"

namespace s3d::train {
namespace {

constexpr int64_t kRowsPerTask = 16;

Status check_writable(const GgufFile& file, const s3d::Tensor& tensor) {
  if (is_supported_weight(tensor.type) && !ggml_quantize_requires_imatrix(tensor.type)) return Ok();
  return Error{
      fmt::format("{}: tensor \"{}\" has type {}, which cannot be written again after training; take a base "
                  "in another type, such as q8_0 or q4_0",
                  file.path(), tensor.name, ggml_type_name(tensor.type))};
}

// [rows, cols]
Tensor floats_of(const s3d::Tensor& stored) {
  Tensor out = torch::empty({stored.rows(), stored.cols()});
  tensor_to_floats(stored, out.data_ptr<float>());
  return out;
}

// A row in the file's type. One whose values are still those of the file keeps its bytes: quantizers do not always
// give back what they once gave.
void encode_row(const s3d::Tensor& stored, int64_t row, const float* values, std::vector<float>& scratch,
                std::byte* out) {
  const size_t size = ggml_row_size(stored.type, stored.cols());
  row_to_floats(stored, row, scratch.data());
  if (std::equal(scratch.begin(), scratch.end(), values)) {
    std::copy_n(stored.data + static_cast<size_t>(row) * size, size, out);
  } else {
    ggml_quantize_chunk(stored.type, values, out, 0, 1, stored.cols(), nullptr);
  }
}

}  // namespace

int64_t trained_numbers(const ModelConfig& base, const AdapterConfig& config) {
  int64_t layer = 0;
  for (int t = 0; t < kLoraTargets; ++t) {
    const MatrixShape shape = lora_target_shape(base, static_cast<LoraTarget>(t));
    layer += int64_t{shape.rows} * shape.cols;
  }
  return layer * (config.layers.count());
}

Result<TrainedLayers> TrainedLayers::create(BaseModel& base, const AdapterConfig& config) {
  if (base.file->parts() > 1) {
    return Error{
        fmt::format("{}: this model is split into {} files; joint training writes one file, so join them "
                    "first (llama-gguf-split --merge)",
                    base.file->path(), base.file->parts())};
  }
  TrainedLayers out(base);
  for (int index = 0; index < config.layers.count(); ++index) {
    const int layer = config.layers.layer(index, base.config.n_layers);
    for (int t = 0; t < kLoraTargets; ++t) {
      S3D_ASSIGN(const s3d::Tensor* stored, base.file->tensor(matrix_name(layer, static_cast<LoraTarget>(t))));
      S3D_TRY(check_writable(*base.file, *stored));
      // Read again: with bf16 in memory the base's copy is not exact.
      Tensor master = floats_of(*stored).to(base.device);
      Tensor& value = base.layers[static_cast<size_t>(layer)].matrices[static_cast<size_t>(t)];
      value = master.clone().set_requires_grad(true);
      out.stored_.push_back(stored);
      out.values_.push_back(value);
      out.masters_.push_back(master.set_requires_grad(true));
    }
  }
  return out;
}

void TrainedLayers::share_gradients() {
  for (size_t i = 0; i < values_.size(); ++i) {
    S3D_CHECK(masters_[i].grad().defined(), "a master without a gradient");
    values_[i].mutable_grad() = masters_[i].grad();
  }
}

std::vector<std::byte> TrainedLayers::encoded(size_t index) const {
  const s3d::Tensor& stored = *stored_[index];
  const Tensor values = masters_[index].detach().to(torch::kCPU).contiguous();
  const size_t row_bytes = ggml_row_size(stored.type, stored.cols());
  std::vector<std::byte> out(stored.bytes);
  at::parallel_for(0, stored.rows(), kRowsPerTask, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(stored.cols()));
    for (int64_t r = begin; r < end; ++r) {
      encode_row(stored, r, values.data_ptr<float>() + r * stored.cols(), scratch,
                 out.data() + static_cast<size_t>(r) * row_bytes);
    }
  });
  return out;
}

void TrainedLayers::round() {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < values_.size(); ++i) {
    const std::vector<std::byte> bytes = encoded(i);
    s3d::Tensor rounded = *stored_[i];
    rounded.data = bytes.data();
    values_[i].copy_(floats_of(rounded));
  }
}

Status TrainedLayers::write(const std::string& path) const {
  const std::span<const std::byte> image = base_->file->image();
  std::vector<size_t> order(stored_.size());  // by place in the file
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return stored_[a]->data < stored_[b]->data; });
  S3D_ASSIGN(AtomicFile file, AtomicFile::create(path));
  const std::byte* at = image.data();
  for (const size_t i : order) {
    S3D_TRY(file.write({at, stored_[i]->data}));
    S3D_TRY(file.write(encoded(i)));
    at = stored_[i]->data + stored_[i]->bytes;
  }
  S3D_TRY(file.write({at, image.data() + image.size()}));
  return file.commit();
}

}  // namespace s3d::train
