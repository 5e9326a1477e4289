// Memory on a device for rows that products read, in every format that a matrix may want.
#pragma once

#include "backend/cuda/buffer.h"
#include "backend/cuda/tasks.h"
#include "kernels/packed_matrix.h"

namespace s3d::cuda {

class InputBuffers {
 public:
  // Room for `n` rows of `cols` columns in this format too. False: out of memory.
  [[nodiscard]] bool ensure(Device& device, ActFormat format, int n, int cols);

  // The formats of `wanted` (bits 1 << ActFormat), as a kernel stores or reads them.
  StoredInput input(unsigned wanted) const;
  static unsigned bit(ActFormat format) { return 1U << static_cast<unsigned>(format); }

  size_t bytes() const;

 private:
  Buffer<int8_t> q32_, q256_;
  Buffer<std::byte> scale32_;
  Buffer<float> scale256_, f_;
  Buffer<int16_t> sums16_, sums32_;
};

}  // namespace s3d::cuda
