#include "backend/cuda/input_buffers.h"

#include "backend/cuda/fragment_layout.h"
#include "backend/cuda/matmul_shape.h"
#include "base/index.h"

namespace s3d::cuda {

bool InputBuffers::ensure(Device& device, ActFormat format, int n, int cols) {
  // A kernel that takes several octets reads them all, whatever the last ones hold.
  const size_t together = usize(matmul_octets(n, format != ActFormat::kF32));
  const size_t rows = (octets_of(usize(n)) + together - 1) / together * together * kOctet;
  const size_t columns = usize(cols), padded = pairs_of(columns) * 64;
  switch (format) {
    case ActFormat::kF32:
      return f_.ensure(device, rows * columns);
    case ActFormat::kQ8_32:
      return q32_.ensure(device, rows * padded) && scale32_.ensure(device, rows * padded / 32 * 8);
    default:
      return q256_.ensure(device, rows * padded) && scale256_.ensure(device, rows * padded / 256) &&
             sums16_.ensure(device, rows * padded / 16) && sums32_.ensure(device, rows * padded / 32);
  }
}

StoredInput InputBuffers::input(unsigned wanted) const {
  StoredInput in;
  if ((wanted & bit(ActFormat::kF32)) != 0) in.f = f_.data();
  if ((wanted & bit(ActFormat::kQ8_32)) != 0) {
    in.q32 = q32_.data();
    in.scale32 = scale32_.data();
  }
  if ((wanted & bit(ActFormat::kQ8_256)) != 0) {
    in.q256 = q256_.data();
    in.scale256 = scale256_.data();
    in.sums16 = sums16_.data();
    in.sums32 = sums32_.data();
  }
  return in;
}

size_t InputBuffers::bytes() const {
  return q32_.bytes() + q256_.bytes() + scale32_.bytes() + scale256_.bytes() + f_.bytes() + sums16_.bytes() +
         sums32_.bytes();
}

}  // namespace s3d::cuda
