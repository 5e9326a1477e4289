#include "train/task.h"

namespace s3d::train {

std::vector<Trained> trained_params(const NamedTensors& tensors) {
  std::vector<Trained> out;
  for (const NamedTensor& named : tensors) out.push_back({named.value});
  return out;
}

}  // namespace s3d::train
