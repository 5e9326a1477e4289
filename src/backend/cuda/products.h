// Products of matrices on a device with rows that lie there.
#pragma once

#include <span>

#include "backend/cuda/device_matrix.h"
#include "backend/cuda/input_buffers.h"
#include "backend/cuda/tasks.h"

namespace s3d::cuda {

// One matrix of a group that reads the same rows; `task.weights`, and its rows if they are 0, are filled in.
struct Product {
  const DeviceMatrix& matrix;
  MatrixProduct task;
};

// Formats that the matrices read, as bits of InputBuffers; empty ones read none.
unsigned formats_of(std::span<const DeviceMatrix* const> readers);

// Room for `n` rows of `cols` columns in those formats. False: out of memory.
[[nodiscard]] bool ensure_input(Device& device, InputBuffers& buffers, std::span<const DeviceMatrix* const> readers,
                                int n, int cols);

// Starts the products of `n` rows; those of one type share a launch.
void multiply(Device& device, const InputBuffers& in, std::span<Product> products, int n);

}  // namespace s3d::cuda
