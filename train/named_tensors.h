// Lists of trained tensors under their names in a drafter's file: made new, read and written.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "file/gguf.h"
#include "model/adapter.h"

namespace s3d::train {

// Rows first: a matrix is [out, in].
struct NamedTensor {
  std::string name;
  torch::Tensor value;
};

// In one fixed order. Copies share their tensors.
class NamedTensors {
 public:
  // Adds a tensor that is to be trained, on `device`; returns it.
  torch::Tensor add(std::string_view name, const torch::Tensor& value, torch::Device device);
  // All tensors of a file but token ids and n-grams.
  void add_all(const GgufFile& file, torch::Device device);

  auto begin() { return list_.begin(); }
  auto end() { return list_.end(); }
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }
  size_t size() const { return list_.size(); }

  torch::Tensor get(std::string_view name) const;  // undefined if absent
  int64_t count() const;                           // numbers in all of them

  // Copies the values of tensors of equal names and shapes that `taken` takes. Returns how many were copied.
  template <typename Taken>
  int copy_matching(const NamedTensors& from, Taken taken);
  int copy_matching(const NamedTensors& from) {
    return copy_matching(from, [](const std::string&) { return true; });
  }

  // As the writers of files take them.
  std::vector<AdapterTensor> for_file() const;

 private:
  std::vector<NamedTensor> list_;
};

template <typename Taken>
int NamedTensors::copy_matching(const NamedTensors& from, Taken taken) {
  const torch::NoGradGuard no_grad;
  int copied = 0;
  for (NamedTensor& named : list_) {
    const torch::Tensor source = from.get(named.name);
    if (!source.defined() || source.sizes() != named.value.sizes() || !taken(named.name)) continue;
    named.value.copy_(source);
    ++copied;
  }
  return copied;
}

// A matrix of independent normal values with the standard deviation 1 / sqrt(cols), keyed by `seed` and `name`.
torch::Tensor random_matrix(int64_t rows, int64_t cols, uint64_t seed, std::string_view name);

}  // namespace s3d::train
