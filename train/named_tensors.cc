#include "train/named_tensors.h"

#include <cmath>

#include "model/tensor_floats.h"
#include "train/keyed_random.h"

namespace s3d::train {

using torch::Tensor;

Tensor NamedTensors::add(std::string_view name, const Tensor& value, torch::Device device) {
  list_.push_back({std::string(name), value.to(device).set_requires_grad(true)});
  return list_.back().value;
}

void NamedTensors::add_all(const GgufFile& file, torch::Device device) {
  for (const s3d::Tensor& stored : file.tensors()) {
    if (!is_trained(stored.name)) continue;
    Tensor value = torch::empty({stored.rows(), stored.cols()});
    tensor_to_floats(stored, value.data_ptr<float>());
    add(stored.name, stored.shape.size() == 1 ? value.view({stored.cols()}) : value, device);
  }
}

Tensor NamedTensors::get(std::string_view name) const {
  for (const NamedTensor& named : list_) {
    if (named.name == name) return named.value;
  }
  return {};
}

int64_t NamedTensors::count() const {
  int64_t total = 0;
  for (const NamedTensor& named : list_) total += named.value.numel();
  return total;
}

std::vector<AdapterTensor> NamedTensors::for_file() const {
  std::vector<AdapterTensor> out;
  for (const NamedTensor& named : list_) {
    const Tensor value = named.value.detach().to(torch::kCPU, torch::kFloat32).contiguous();
    AdapterTensor tensor;
    tensor.name = named.name;
    tensor.shape.assign(value.sizes().rbegin(), value.sizes().rend());
    tensor.values.assign(value.data_ptr<float>(), value.data_ptr<float>() + value.numel());
    out.push_back(std::move(tensor));
  }
  return out;
}

Tensor random_matrix(int64_t rows, int64_t cols, uint64_t seed, std::string_view name) {
  Tensor out = torch::empty({rows, cols});
  auto* values = out.data_ptr<float>();
  const uint64_t key = key_of(name);
  const float scale = 1 / std::sqrt(static_cast<float>(cols));
  for (int64_t i = 0; i < rows * cols; ++i) values[i] = scale * normal(keyed(seed, key, i));
  return out;
}

}  // namespace s3d::train
