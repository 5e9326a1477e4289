// The Markov head of an adapter on a device (docs/adapter.md): what a token adds to the logits of the next one.
#pragma once

#include <span>
#include <vector>

#include "backend/cuda/products.h"
#include "backend/cuda/token_chooser.h"
#include "backend/packed_adapter.h"
#include "model/weights.h"

namespace s3d::cuda {

// Thread rule: one call at a time. Adapters that are given have such a head.
class MarkovHead {
 public:
  // All must outlive it. `ones`: [d_model].
  MarkovHead(Device& device, const Model& model, const Buffer<float>& ones)
      : device_(device), model_(model), ones_(ones) {}

  // z = P rms(E) of the tokens, [tokens, rank]; sums = W2 z, [tokens, draft size]. Errors: out of memory on the device;
  // a kernel failed.
  Status terms(const DeviceAdapter& adapter, std::span<const TokenId> tokens, std::vector<float>& z,
               std::vector<float>& sums);

  // Backend::choose_draft for `rows` rows of logits on the device; no result leaves it before the last one is there.
  // The first call with an adapter computes z for all tokens that it can draft. Errors: as above.
  Status choose(DeviceAdapter& adapter, const PackedAdapter& packed, const float* logits, int rows, TokenId previous,
                const ChoiceAsk& ask, TokenChooser& chooser, Choices& out);

  // The memory that the two take with this adapter. Error: out of memory on the device.
  Status reserve(const DeviceAdapter& adapter);

  size_t bytes() const;

 private:
  Status prepare(const DeviceAdapter& adapter, int tokens, int scored);
  Status fill_table(DeviceAdapter& adapter, const PackedAdapter& packed);
  Status start_z(const DeviceAdapter& adapter, std::span<const TokenId> tokens, float* z);
  void start_step(const DeviceAdapter& adapter, const float* z, const int32_t* index, const float* logits,
                  float* z_out);
  Status out_of_memory() const;

  Device& device_;
  const Model& model_;
  const Buffer<float>& ones_;
  Buffer<float> embeddings_;  // [tokens][d_model]
  Buffer<float> z_;           // [tokens][rank]
  Buffer<float> scored_;      // [tokens whose logits are asked for][draft size]
  InputBuffers normed_, low_in_;
};

}  // namespace s3d::cuda
