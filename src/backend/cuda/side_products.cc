#include "backend/cuda/side_products.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "backend/cuda/products.h"
#include "base/check.h"
#include "base/index.h"

namespace s3d::cuda {

Result<const DeviceMatrix*> SideProducts::on_device(const SideMatrix& w) {
  if (begins_head(w, model_)) return weights_.lm_head.get();
  S3D_CHECK(!w.packed.empty(), "a matrix beside the model that was packed");
  const auto found = taken_.find(w.packed.unit(0));
  if (found != taken_.end()) return &found->second.matrix;
  S3D_ASSIGN(DeviceMatrix uploaded, upload(device_, w.packed, nullptr));
  return &(taken_[w.packed.unit(0)] = {w.packed, std::move(uploaded)}).matrix;
}

Status SideProducts::take(const SideMatrix& w) {
  if (w.empty()) return Ok();
  S3D_TRY(on_device(w));
  return Ok();
}

Status SideProducts::multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out) {
  const size_t cols = w.cols(), rows = w.rows(), n = in.size() / cols;
  S3D_CHECK(in.size() == n * cols && out.size() == n * rows);
  if (n == 0) return Ok();
  S3D_ASSIGN(const DeviceMatrix* matrix, on_device(w));
  const int count = static_cast<int>(n);
  if (!x_.assign(device_, in) || !y_.ensure(device_, out.size()) ||
      !ensure_input(device_, in_, {{matrix}}, count, matrix->cols)) {
    return Error{fmt::format("device {}: no memory left for {} products of a drafter ({} bytes free)", device_.name(),
                             n, device_.free_bytes())};
  }
  device_.kernels().rows(
      device_.stream(),
      {.x = x_.data(), .n = count, .cols = matrix->cols, .stored = in_.input(InputBuffers::bit(matrix->format()))});
  Product product[] = {{*matrix, {.rows = static_cast<int>(rows), .y = y_.data(), .ld = static_cast<int>(rows)}}};
  cuda::multiply(device_, in_, product, count);
  S3D_TRY(device_.synchronize());
  const std::vector<float> sums = y_.download(out.size());
  std::copy(sums.begin(), sums.end(), out.begin());
  return Ok();
}

size_t SideProducts::bytes() const {
  size_t bytes = x_.bytes() + y_.bytes() + in_.bytes();
  for (const auto& [address, taken] : taken_) bytes += taken.matrix.bytes();
  return bytes;
}

}  // namespace s3d::cuda
