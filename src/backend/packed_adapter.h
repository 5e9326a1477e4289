// The weights of an adapter, packed for the kernels (docs/adapter.md has the formulas). Const after loading.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "base/index.h"
#include "base/result.h"
#include "kernels/packed_matrix.h"
#include "model/adapter.h"
#include "model/weights.h"

namespace s3d {

// LoRA of matrices that read one input: y_i += b_i (a_i x). Their a's are stacked in one matrix, so that one small
// product gives all low-rank inputs. Pairs that are absent have an empty b and no rows in `a`.
struct PackedLora {
  static constexpr size_t kMax = 3;
  PackedMatrix a;                    // [present pairs * rank, in]; empty: no pairs
  std::array<PackedMatrix, kMax> b;  // [out, rank] each
  std::array<size_t, kMax> first{};  // first row of each pair in `a`
};

class PackedAdapter {
 public:
  struct Layer {
    PackedLora qkv, output, gate_up, down;  // in the order of LoraTarget
  };

  // Packs the tensors of `adapter`, which must have been opened for `model`'s base (open_adapter). Where its draft
  // vocabulary is not the beginning of the one that the model was loaded with (load_model's lm_head_first), it has a
  // copy of these rows of the LM head of its own. Error: out of memory.
  static Result<std::shared_ptr<const PackedAdapter>> create(const Adapter& adapter, const Model& model,
                                                             ThreadPool* pool);

  // The floor: no trained part; every mask is the mean of a sample of the embedding table. Drafts over all of the head,
  // or over the draft vocabulary that the model was loaded with, `draft_vocab` tokens. Error: a plan that is not one of
  // the model's.
  static Result<std::shared_ptr<const PackedAdapter>> untrained(const Model& model, LayerSet layers, int masks,
                                                                int draft_vocab = 0);

  const AdapterConfig& config() const { return source_.config; }
  // What was packed; of untrained(), an adapter without tensors. For the reference.
  const Adapter& source() const { return source_; }
  size_t draft_size() const { return draft_size_; }  // tokens that can be drafted: logits of a row of a draft pass
  int32_t draft_token(size_t i) const {
    return source_.draft_ids.empty() ? static_cast<int32_t>(i) : source_.draft_ids[i];
  }
  // The LM head of its draft passes where it is not the beginning of the model's; else null.
  const PackedMatrix* own_head() const { return own_head_.empty() ? nullptr : &own_head_; }
  size_t bytes() const;  // of memory held

  // Estimate of the chance that the draft of a row is accepted when those before it were, by the confidence head;
  // `hidden` [d_model] after the output norm, `z` [markov_rank]. Needs config().confidence.
  float confidence(std::span<const float> hidden, std::span<const float> z) const;

  const std::vector<Layer>& layers() const { return layers_; }  // [head + tail], in the order in which they run
  const float* mask(int j) const { return &masks_[usize(j) * d_model_]; }
  const PackedMatrix& state_down() const { return state_down_; }
  const PackedMatrix& state_up() const { return state_up_; }
  const PackedMatrix& bridge_down() const { return bridge_down_; }
  const PackedMatrix& bridge_up() const { return bridge_up_; }
  const PackedMatrix& markov_p() const { return markov_p_; }
  const PackedMatrix& markov_w2() const { return markov_w2_; }

 private:
  PackedAdapter() = default;

  Adapter source_;
  size_t d_model_ = 0, draft_size_ = 0;
  std::vector<float> masks_;
  std::vector<Layer> layers_;
  PackedMatrix state_down_, state_up_, bridge_down_, bridge_up_, markov_p_, markov_w2_, own_head_;
};

}  // namespace s3d
