#include "train/adam.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace s3d::train {

using torch::Tensor;

Adam::Adam(const std::vector<Trained>& params, AdamOptions options) : options_(options) {
  for (const Trained& trained : params) {
    params_.push_back(trained.value);
    rates_.push_back(trained.rate);
    m_.push_back(torch::zeros_like(trained.value));
    v_.push_back(torch::zeros_like(trained.value));
    params_.back().mutable_grad() = torch::zeros_like(trained.value);
  }
}

// The norm of all gradients together. One number comes from a GPU, not one for each tensor.
double Adam::gradient_norm(const std::vector<Tensor>& gradients) {
  const Tensor norms = torch::stack(at::_foreach_norm(gradients, 2)).to(torch::kDouble);
  return norms.norm().item<double>();
}

// All tensors at once: on a GPU a handful of kernels instead of ten for each of hundreds of tensors. On the CPU the
// same functions go tensor by tensor.
double Adam::step(int64_t step, double learning_rate, double scale) {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> gradients;
  for (const Tensor& param : params_) gradients.push_back(param.grad());
  const double norm = gradient_norm(gradients) * scale;
  if (!std::isfinite(norm)) return norm;
  const double factor = options_.clip > 0 && norm > options_.clip ? scale * options_.clip / norm : scale;
  const auto t = static_cast<double>(step + 1);
  const double correct1 = 1 - std::pow(options_.beta1, t), correct2 = 1 - std::pow(options_.beta2, t);
  std::vector<at::Scalar> decays, steps;
  for (const double rate : rates_) {
    decays.emplace_back(1 - learning_rate * rate * options_.weight_decay);
    steps.emplace_back(-learning_rate * rate / correct1);
  }
  at::_foreach_mul_(gradients, factor);
  at::_foreach_mul_(m_, options_.beta1);
  at::_foreach_add_(m_, gradients, 1 - options_.beta1);
  at::_foreach_mul_(v_, options_.beta2);
  at::_foreach_addcmul_(v_, gradients, gradients, 1 - options_.beta2);
  if (options_.weight_decay > 0) at::_foreach_mul_(params_, decays);
  std::vector<Tensor> divisors = at::_foreach_div(v_, correct2);
  at::_foreach_sqrt_(divisors);
  at::_foreach_add_(divisors, options_.epsilon);
  at::_foreach_addcdiv_(params_, m_, divisors, steps);
  at::_foreach_zero_(gradients);
  return norm;
}

double cosine_rate(int64_t step, int64_t warmup, double done, double peak, double last) {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double fall = (1 + std::cos(std::numbers::pi * std::min(1.0, done))) / 2;
  return peak * (last + (1 - last) * fall);
}

}  // namespace s3d::train
