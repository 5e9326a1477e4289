// AdamW (Loshchilov and Hutter, 2019) and the schedule of its learning rate. Its state is plain tensors, so that a
// checkpoint holds all of it.
#pragma once

#include <torch/torch.h>

#include <vector>

namespace s3d::train {

// A tensor that is trained, with its own share of the learning rate.
struct Trained {
  torch::Tensor value;
  double rate = 1;
};

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double clip = 1;  // largest norm of the whole gradient; 0: any
};

class Adam {
 public:
  // Tensors are changed in place by step(); their gradients are read and then set to zero.
  Adam(const std::vector<Trained>& params, AdamOptions options);

  // One update, with gradients times `scale`. `step` counts from 0. Returns the norm of the scaled gradient before
  // clipping; if that is not finite, nothing is changed.
  double step(int64_t step, double learning_rate, double scale);

  std::vector<torch::Tensor>& params() { return params_; }
  std::vector<torch::Tensor>& first_moments() { return m_; }
  std::vector<torch::Tensor>& second_moments() { return v_; }

 private:
  static double gradient_norm(const std::vector<torch::Tensor>& gradients);

  std::vector<torch::Tensor> params_, m_, v_;
  std::vector<double> rates_;
  AdamOptions options_;
};

// Rises linearly over `warmup` steps to `peak`, then falls along a cosine to `last * peak` where all is `done` (0 to
// 1).
double cosine_rate(int64_t step, int64_t warmup, double done, double peak, double last);

}  // namespace s3d::train
