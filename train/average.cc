#include "train/average.h"

#include <fmt/format.h>

#include "train/named_tensors.h"

namespace s3d::train {
namespace {

Status check_alike(const Adapter& first, const Adapter& second) {
  const std::string& path = second.file->path();
  if (first.config.layers != second.config.layers || first.config.fused != second.config.fused) {
    return Error{fmt::format("{}: draft layers {}+{}{}, expected {}+{}{} as in {}; average runs of one plan", path,
                             second.config.layers.first, second.config.layers.last, second.config.fused ? " fused" : "",
                             first.config.layers.first, first.config.layers.last, first.config.fused ? " fused" : "",
                             first.file->path())};
  }
  if (first.draft_ids != second.draft_ids) {
    return Error{
        fmt::format("{}: another draft vocabulary than {}; start the run with --init", path, first.file->path())};
  }
  return Ok();
}

// The type that the writer was given. Where rows do not fill its blocks it falls back on F16, and vectors are F32.
ggml_type matrix_type(const GgufFile& file) {
  ggml_type type = GGML_TYPE_F32;
  for (const s3d::Tensor& tensor : file.tensors()) {
    if (tensor.type == GGML_TYPE_Q8_0) return tensor.type;
    if (tensor.type == GGML_TYPE_F16) type = tensor.type;
  }
  return type;
}

TrainingCost cost_of_both(const GgufFile& first, const GgufFile& second) {
  const TrainingCost one = training_of(first), two = training_of(second);
  if (one.anchors == 0 || two.anchors == 0) return {};
  return {.core_seconds = one.core_seconds + two.core_seconds,
          .anchors = one.anchors + two.anchors,
          .tokens = one.tokens + two.tokens,
          .device = two.device};
}

}  // namespace

Result<std::vector<std::byte>> average_adapters(const Adapter& first, const Adapter& second, double share) {
  if (!(share >= 0 && share <= 1)) return Error{fmt::format("share {}: expected a number from 0 to 1", share)};
  S3D_TRY(check_alike(first, second));
  NamedTensors mean, other;
  mean.add_all(*first.file, torch::kCPU);
  other.add_all(*second.file, torch::kCPU);
  if (mean.size() != other.size()) {
    return Error{fmt::format("{}: {} trained tensors, expected {} as in {}; average runs with the same parts",
                             second.file->path(), other.size(), mean.size(), first.file->path())};
  }
  const torch::NoGradGuard no_grad;
  for (NamedTensor& named : mean) {
    const torch::Tensor value = other.get(named.name);
    if (!value.defined() || value.sizes() != named.value.sizes()) {
      return Error{fmt::format("{}: no tensor {} of the shape that {} has; average runs with the same parts",
                               second.file->path(), named.name, first.file->path())};
    }
    named.value.lerp_(value, share);
  }
  return adapter_image(first.config, mean.for_file(), first.draft_ids, matrix_type(*first.file), first.ngrams,
                       cost_of_both(*first.file, *second.file));
}

}  // namespace s3d::train
