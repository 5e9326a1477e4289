#include "backend/cuda/products.h"

namespace s3d::cuda {

unsigned formats_of(std::span<const DeviceMatrix* const> readers) {
  unsigned formats = 0;
  for (const DeviceMatrix* reader : readers) {
    if (!reader->empty()) formats |= InputBuffers::bit(reader->format());
  }
  return formats;
}

bool ensure_input(Device& device, InputBuffers& buffers, std::span<const DeviceMatrix* const> readers, int n,
                  int cols) {
  for (const ActFormat format : {ActFormat::kF32, ActFormat::kQ8_32, ActFormat::kQ8_256}) {
    if ((formats_of(readers) & InputBuffers::bit(format)) == 0) continue;
    if (!buffers.ensure(device, format, n, cols)) return false;
  }
  return true;
}

void multiply(Device& device, const InputBuffers& in, std::span<Product> products, int n) {
  for (size_t i = 0; i < products.size();) {
    const DeviceMatrix& first = products[i].matrix;
    MatmulTask task{.type = first.type, .cols = first.cols, .n = n, .x = in.input(InputBuffers::bit(first.format()))};
    for (; i < products.size() && products[i].matrix.type == first.type; ++i) {
      MatrixProduct& out = task.products[task.n_products++];
      out = products[i].task;
      out.weights = products[i].matrix.weights.data();
      if (out.rows == 0) out.rows = products[i].matrix.rows;
    }
    device.kernels().matmul(device.stream(), task);
  }
}

}  // namespace s3d::cuda
