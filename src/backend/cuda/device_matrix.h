// Weights on a device.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "backend/cuda/buffer.h"
#include "backend/packed_adapter.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/packed_matrix.h"
#include "model/weights.h"

namespace s3d::cuda {

// [rows, cols] in the order of fragment_layout.h.
struct DeviceMatrix {
  Buffer<std::byte> weights;
  ggml_type type = GGML_TYPE_F32;
  int rows = 0, cols = 0;

  bool empty() const { return rows == 0; }
  ActFormat format() const { return act_format(type); }
  size_t bytes() const { return weights.bytes(); }
};

// Memory that upload() fills. Error: the device has not so much memory left; names what is missing.
Result<DeviceMatrix> room_for(Device& device, const MatrixSize& size);

// Uploads; a `matrix` that is empty gives an empty one. `pool`, if given, shares the packing and must be idle. Error:
// the device has not so much memory left; names what is missing.
Result<DeviceMatrix> upload(Device& device, const PackedMatrix& matrix, ThreadPool* pool);
Result<Buffer<float>> upload(Device& device, const std::vector<float>& vector);  // empty: an empty one

struct DeviceLayer {
  Buffer<float> attn_norm, bq, bk, bv, q_norm, k_norm, attn_post_norm, ffn_norm, ffn_post_norm;  // as LayerWeights
  DeviceMatrix wq, wk, wv, wo, w_gate, w_up, w_down;
};

// Layers [first, end) of a model; who has the last one has the output norm and the LM head.
struct LayerRange {
  int first = 0, end = 0;
};

struct DeviceModel {
  std::vector<DeviceLayer> layers;  // [n_layers]; those out of the range are empty
  Buffer<float> output_norm;
  Buffer<float> ones;  // [d_model] weights of a norm that has none
  std::shared_ptr<const DeviceMatrix> lm_head = std::make_shared<DeviceMatrix>();  // perhaps of more rows, another's
  Buffer<int32_t> lm_head_ids;                                                     // as Model::lm_head_ids

  size_t bytes() const;  // of the matrices
};
// Where the weights come from: those that the model has packed, else `reader`, if it is given, packs them for the time
// that they are uploaded. `head`: an LM head that is there, whose first rows are the model's; null: its own is
// uploaded.
struct UploadFrom {
  ThreadPool* pool = nullptr;
  WeightReader* reader = nullptr;
  std::shared_ptr<const DeviceMatrix> head = nullptr;
};
Result<DeviceModel> upload(Device& device, const Model& model, const LayerRange& range, const UploadFrom& from);
// The memory that upload() takes of a model that was opened, in two parts: the layers, and what is with the last one.
Result<DeviceModel> room_for_layers(Device& device, const Model& model, const LayerRange& range);
Status add_room_for_head(Device& device, const Model& model, DeviceModel& to);

// As PackedLora.
struct DeviceLora {
  DeviceMatrix a;
  std::array<DeviceMatrix, PackedLora::kMax> b;
  std::array<int, PackedLora::kMax> first{};
};

struct DeviceAdapter {
  struct Layer {
    DeviceLora qkv, output, gate_up, down;
  };
  std::vector<Layer> layers;
  DeviceMatrix state_down, state_up, bridge_down, bridge_up, markov_p, markov_w2;
  DeviceMatrix own_head;   // of draft passes, where it is not the beginning of the model's
  Buffer<float> markov_z;  // [1 + draft tokens, Markov rank], filled when it is asked for (MarkovHead)
  bool markov_z_filled = false;
  std::vector<PackedMatrix> sources;  // what was uploaded: kept, so that no other adapter lies at its addresses
};
// What a device with those layers of the base needs of an adapter; the rest is empty: the state where the first layer
// is, LoRA of its layers, the bridge with the layer behind it, the Markov head and a head of its own with the LM head.
// Error: the device has not so much memory left.
Result<DeviceAdapter> upload(Device& device, const PackedAdapter& adapter, const ModelConfig& base,
                             const LayerRange& range);
// The memory that it takes, but for a head of its own.
Result<DeviceAdapter> room_for(Device& device, const Adapter& adapter, const ModelConfig& base,
                               const LayerRange& range);
// Whether `adapter` is what `on_device` was made of.
bool is_source(const DeviceAdapter& on_device, const PackedAdapter& adapter);

}  // namespace s3d::cuda
