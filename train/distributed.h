// Several processes that train one adapter together: each works on its share of every step, and gradients are added up.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace s3d::train {

// The processes of a run, by torchrun's environment variables RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Every
// member calls the same functions in the same order.
class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Replaces each tensor by the sum over all members, the same bits everywhere. Error: a member is gone.
  virtual Status add_up(std::vector<torch::Tensor>& tensors) = 0;
};

// A group of one, when WORLD_SIZE is not set or 1. Errors: variables that are missing or no numbers; nobody answers at
// MASTER_ADDR:MASTER_PORT; the program was built without c10d's Gloo.
Result<std::unique_ptr<Group>> join_group();

// The same, told by arguments.
Result<std::unique_ptr<Group>> join_group(int rank, int size, const std::string& address, int port);

// The sum of `values` over the group.
Result<std::vector<double>> sum(Group& group, const std::vector<double>& values);

}  // namespace s3d::train
