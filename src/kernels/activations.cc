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
    padded_cols_ = cols;
    f_.resize(n * cols);
    return;
  }
  padded_cols_ = round_up(cols, format == ActFormat::kQ8_256 ? 256 : 64);
  q_.resize(n * padded_cols_);
  scale_.resize(n * padded_cols_ / block());
  if (format == ActFormat::kQ8_32) {
    sum32_.resize(n * padded_cols_ / 32);
    dsum_.resize(n * padded_cols_ / 32);
  } else {
    pairs16_.resize(n * padded_cols_ / 16);
    pairs32_.resize(n * padded_cols_ / 32);
  }
}

size_t Activations::tile_of(size_t row) const {
  // Tiles differ in size by one row at most, so the quotient is right or one too small.
  size_t t = row * n_tiles_ / n_;
  while (tile_begin(t + 1) <= row) ++t;
  return t;
}

size_t Activations::bytes() const {
  return q_.capacity() + (f_.capacity() + scale_.capacity() + dsum_.capacity()) * sizeof(float) +
         sum32_.capacity() * sizeof(int32_t) + (pairs16_.capacity() + pairs32_.capacity()) * sizeof(int16_t);
}

}  // namespace s3d
