#include "base/check.h"
#include "kernels/kernels.h"

namespace s3d {
namespace {

size_t round_up(size_t x, size_t to) {
  return (x + to - 1) / to * to;
}

}  // namespace

void Activations::resize(ActFormat format, size_t n, size_t cols, int tile) {
  S3D_CHECK(n > 0 && cols > 0 && tile > 0 && tile <= kMaxTile);
  format_ = format;
  n_ = n;
  cols_ = cols;
  n_tiles_ = (n + static_cast<size_t>(tile) - 1) / static_cast<size_t>(tile);
  if (format == ActFormat::kF32) {
    lines_ = 0;
    f_.resize(n * cols);
    return;
  }
  lines_ = round_up(cols, format == ActFormat::kQ8_256 ? 256 : 64) / 64;
  q_.resize(n * lines_);
  if (format == ActFormat::kQ8_32) {
    scales32_.resize(n * segments());
  } else {
    scales256_.resize(n * segments());
  }
}

size_t Activations::tile_of(size_t row) const {
  // Tiles differ in size by one row at most, so the quotient is right or one too small.
  size_t t = row * n_tiles_ / n_;
  while (tile_begin(t + 1) <= row) ++t;
  return t;
}

size_t Activations::bytes() const {
  return q_.capacity() * sizeof(ActLine) + f_.capacity() * sizeof(float) + scales32_.capacity() * sizeof(ActScales32) +
         scales256_.capacity() * sizeof(ActScales256);
}

}  // namespace s3d
