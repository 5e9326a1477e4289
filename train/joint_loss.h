// The loss of joint training: what the draft is trained towards, and what the base is.
#pragma once

#include "train/anchors.h"
#include "train/draft_block.h"
#include "train/loss.h"
#include "train/recipe.h"

namespace s3d::train {

struct JointLoss {
  LossSums draft;         // as in training an adapter
  Tensor autoregressive;  // mean cross entropy of the answer's tokens in a full pass
  // The sum of draft.loss and, as much as the draft's weights are together, ar_weight * autoregressive. Divided by
  // draft.weight it is the sum of two means.
  Tensor total;
};

// Of the first `rows` rows of some anchors of one sequence. The full pass that gives the autoregressive loss also gives
// the draft rows their context, and soft targets; gradients flow from the draft's loss through that context too, but
// not through the targets. `recipe` must have a joint part.
JointLoss joint_loss(const BaseModel& base, const DraftBlock& block, const DraftParams& params, const Dataset& data,
                     const AnchorGroup& group, int rows, const Recipe& recipe);

}  // namespace s3d::train
