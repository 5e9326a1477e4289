// Everything a training run needs to go on as if it had not stopped.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace s3d::train {

struct Checkpoint {
  std::string settings;  // describes the run; a run of other settings does not take this checkpoint
  int64_t step = 0;      // steps done
  std::string progress;  // measurements so far and what decides about stopping, as JSON
  std::vector<torch::Tensor> params, first_moments, second_moments;
};

// Written whole or not at all (base/atomic_file.h): a failed write leaves the checkpoint before it.
Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint);

// Errors: not readable, damaged, of other settings than `settings` (says both), other shapes than `like`.
Result<Checkpoint> read_checkpoint(const std::string& path, const std::string& settings,
                                   const std::vector<torch::Tensor>& like);

}  // namespace s3d::train
