// What a run trains and how well it does: the part in which the two forms of training differ (docs/training.md).
#pragma once

#include <vector>

#include "base/result.h"
#include "train/adam.h"
#include "train/anchors.h"
#include "train/evaluate.h"
#include "train/named_tensors.h"

namespace s3d::train {

// The tensors of a drafter, all at the run's learning rate.
std::vector<Trained> trained_params(const NamedTensors& tensors);

// Sums over some anchors of a step.
struct StepLoss {
  double loss = 0;            // divided by `weight`: the mean that is trained
  double weight = 0;          // of all rows
  double autoregressive = 0;  // the part of `loss` that is not the draft's
};

class Task {
 public:
  virtual ~Task() = default;

  // In one fixed order; the run changes their values and gradients in place.
  virtual std::vector<Trained> trained() const = 0;
  // After the run changed values: a step, or a checkpoint that was read.
  virtual void values_changed() {}
  // Losses over the first `rows` rows of some anchors; their gradients are added to those of the trained tensors.
  virtual StepLoss add_gradients(const std::vector<AnchorGroup>& groups, int rows) = 0;
  // On this rank's share of the held-out text.
  virtual Result<HeldOut> measure() = 0;
  // Replaces the files that hold what has been trained, at that cost.
  virtual Status store(const TrainingCost& cost) = 0;
};

}  // namespace s3d::train
