// A drafter that is trained while the base stays as it is: S3D's adapter, an EAGLE layer, Medusa's heads. What they
// share (text, records, steps, checkpoints, measurements, files) is in frozen_task.h and run.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/inputs.h"
#include "train/named_tensors.h"
#include "train/task.h"

namespace s3d::train {

// `data` and `records` of its functions belong together.
class TrainedDrafter {
 public:
  virtual ~TrainedDrafter() = default;

  virtual const NamedTensors& tensors() const = 0;

  // Losses over the first `rows` rows of some anchors; their gradients are added to those of tensors().
  virtual StepLoss add_gradients(const Dataset& data, const RecordStore& records,
                                 const std::vector<AnchorGroup>& groups, int rows) = 0;

  // Tokens of the chains that it drafts.
  virtual int chain() const = 0;
  // The greedy chains at every anchor of a sequence, as evaluate() takes them: each on its own choices and states, as
  // an engine drafts.
  virtual std::vector<std::vector<int32_t>> chains(const Dataset& data, const RecordStore& records,
                                                   int sequence) const = 0;

  // The bytes of its file, with matrices of `type`.
  virtual Result<std::vector<std::byte>> image(ggml_type type, const TrainingCost& cost) const = 0;
};

// What a run starts with: a new drafter by the recipe, or one that starts from recipe.init. `recipe` and `in` must
// outlive it. Errors: those of read_drafter().
Result<std::unique_ptr<TrainedDrafter>> first_drafter(const Recipe& recipe, const Inputs& in);

// From a file of the kind that the recipe is for. Errors: those of the file's reader.
Result<std::unique_ptr<TrainedDrafter>> read_drafter(const Recipe& recipe, const BaseModel& base,
                                                     const std::string& path);

// The recipe of what `path` holds, as far as measuring it depends on that: files of recipe.adapter, .eagle and .medusa.
// Errors: no drafter's file.
Status take_kind(const std::string& path, Recipe& recipe);

// Acceptance of its chains on the sequences first, first + stride, …
Acceptance evaluate(const TrainedDrafter& drafter, const Dataset& data, const RecordStore& records, int first = 0,
                    int stride = 1);

}  // namespace s3d::train
