// What a draft block is trained towards.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "train/anchors.h"
#include "train/draft_block.h"

namespace s3d::train {

struct LossOptions {
  // Row j weighs exp(-j / depth_decay): a later draft counts only when the earlier ones were right. 0: the last row's
  // number.
  double depth_decay = 0;
  // The weights decide how many rows are trained (RowSchedule), and those that are weigh the same. The default, because
  // it trains nearly twice the anchors in the same time.
  bool sample_rows = true;
  // Share of the loss that compares with the base's own distribution instead of the text's token, 0 to 1.
  double soft_share = 0;
};

struct LossSums {
  Tensor loss;    // sum over rows of weight * cross entropy, a scalar that gradients flow through
  double weight;  // sum of the weights; divide by it
};

// Weights of `rows` rows.
std::vector<double> depth_weights(const LossOptions& options, int rows);

// Weights in the loss of the first `rows` rows of an anchor that has `depth` of them: [rows].
Tensor row_weights(const LossOptions& options, int depth, int64_t rows);

// Rows whose target is -1 or outside the draft vocabulary have weight 0. `soft` is needed when soft_share > 0; its
// tokens outside the draft vocabulary are left out. With a confidence head, its cross entropy towards "the greedy token
// is the target" is added; it does not reach the rest of the adapter.
LossSums draft_loss(const DraftBlock& block, const DraftParams& params, const TrainingBatch& batch,
                    const std::optional<RecordStore::SoftTargets>& soft, const LossOptions& options);

}  // namespace s3d::train
