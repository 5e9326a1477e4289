// Medusa's heads (docs/drafters.md), in a form that autograd can walk back through.
#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "train/base_model.h"
#include "train/draft_head.h"
#include "train/named_tensors.h"

namespace s3d::train {

// The trained tensors.
struct MedusaParams {
  struct Head {
    Tensor weight, bias;  // [d_model, d_model], [d_model]
    Tensor down, up;      // the low-rank term: [rank, d_model], [drafted, rank], or undefined
  };
  std::vector<int32_t> draft_ids;  // empty: the whole vocabulary
  NamedTensors tensors;            // all of them
  std::vector<Head> heads;         // the same tensors by use
};

// New heads: zeros, so that each says what the base's LM head says; of a low-rank pair the input side is random.
// `rank` 0: no such term.
MedusaParams new_medusa(const BaseModel& base, int heads, int rank, std::vector<int32_t> draft_ids, uint64_t seed);

// From a file, and the bytes of one with matrices of `type`. Errors: those of open_medusa().
Result<MedusaParams> read_medusa_params(const BaseModel& base, const std::string& path);
Result<std::vector<std::byte>> medusa_image(const BaseModel& base, const MedusaParams& params, ggml_type type,
                                            const TrainingCost& cost = {});

// Logits of the first `heads` heads over the draft vocabulary. states: rms(h) [n, d_model]: [n, heads, drafted].
Tensor medusa_logits(const BaseModel& base, const MedusaParams& params, const DraftHead& head, const Tensor& states,
                     int heads);

}  // namespace s3d::train
