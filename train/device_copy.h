// Copies from the host that a step of training does not wait for.
#pragma once

#include <torch/torch.h>

namespace s3d::train {

// A tensor of the host on `device`. On a GPU the copy stands in its queue like a kernel: a plain copy would first wait
// until all kernels before it are done, with nothing queued behind them.
inline torch::Tensor to_device(const torch::Tensor& host, torch::Device device) {
  return device.is_cpu() ? host : host.pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace s3d::train
