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

double Adam::step(int64_t step, double learning_rate, double scale) {
  const torch::NoGradGuard no_grad;
  double square = 0;
  for (const Tensor& param : params_) {
    const double norm = param.grad().norm().item<double>();
    square += norm * norm;
  }
  const double norm = std::sqrt(square) * scale;
  if (!std::isfinite(norm)) return norm;
  const double factor = options_.clip > 0 && norm > options_.clip ? scale * options_.clip / norm : scale;
  const auto t = static_cast<double>(step + 1);
  const double correct1 = 1 - std::pow(options_.beta1, t), correct2 = 1 - std::pow(options_.beta2, t);
  for (size_t i = 0; i < params_.size(); ++i) {
    Tensor& param = params_[i];
    const double rate = learning_rate * rates_[i];
    const Tensor gradient = param.grad().mul_(factor);
    m_[i].mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
    v_[i].mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
    if (options_.weight_decay > 0) param.mul_(1 - rate * options_.weight_decay);
    const Tensor divisor = (v_[i] / correct2).sqrt_().add_(options_.epsilon);
    param.addcdiv_(m_[i], divisor, -rate / correct1);
    param.grad().zero_();
  }
  return norm;
}

double cosine_rate(int64_t step, int64_t total, int64_t warmup, double peak, double last) {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double done = static_cast<double>(step - warmup) / static_cast<double>(std::max<int64_t>(1, total - warmup));
  const double fall = (1 + std::cos(std::numbers::pi * std::min(1.0, done))) / 2;
  return peak * (last + (1 - last) * fall);
}

}  // namespace s3d::train
