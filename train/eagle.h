// EAGLE's layer (docs/drafters.md), in a form that autograd can walk back through, over all positions of a text at
// once.
#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/base_model.h"
#include "train/named_tensors.h"

namespace s3d::train {

// The trained tensors.
struct EagleParams {
  std::vector<int32_t> draft_ids;  // empty: the whole vocabulary
  NamedTensors tensors;            // all of them
  // The same tensors by use.
  Tensor fc;  // [d_model, 2 d_model]
  BaseLayer layer;
};

// A new one: the layer is the base's last, but the matrices that write into the residual are zero, and so is the
// embedding's half of `fc`. So it begins as the identity on the feature, which the LM head can read, and what it adds
// is learned; with the base's own matrices there, or the embedding in full, it learned far slower
// (docs/notes/training.md).
EagleParams new_eagle(const BaseModel& base, std::vector<int32_t> draft_ids);

// From a file, and the bytes of one with matrices of `type`. Errors: those of open_eagle(); taps, which the trainer
// does not know.
Result<EagleParams> read_eagle_params(const BaseModel& base, const std::string& path);
Result<std::vector<std::byte>> eagle_image(const BaseModel& base, const EagleParams& params, ggml_type type,
                                           const TrainingCost& cost = {});

// One text: row i is that of the token at position i + 1, with the feature of position i.
struct EagleText {
  Tensor tokens;    // [n] int64
  Tensor features;  // [n, d_model]
  int64_t first;    // chains begin at the rows first … n - 1
};

// Gets the layer's outputs y, before the output norm, at depth `step` (from 0) of the chains that begin at the rows
// first … n - 1 - step: [n - first - step, d_model]. Returns the tokens [n - first - step - 1] that all but the last of
// these chains go on with; undefined: no deeper.
using EagleStep = std::function<Tensor(int step, const Tensor& hidden)>;

// Runs the text with the base's features, and then the chains, each on the layer's own output and behind the text up to
// its first row, as an engine drafts. At most `steps` depths. Matrix products are in the type of the base's matrices.
void run_eagle(const BaseModel& base, const EagleParams& params, const EagleText& text, int steps,
               const EagleStep& on_step);

}  // namespace s3d::train
