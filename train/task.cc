#include "train/task.h"

namespace s3d::train {

std::vector<Trained> trained_params(const DraftParams& params) {
  std::vector<Trained> out;
  for (const NamedTensor& named : params.tensors) out.push_back({named.value});
  return out;
}

}  // namespace s3d::train
