// The steps of a pass on a device: each starts kernels, in order. What is computed and in which order is that of the
// CPU backend (backend/cpu), so that the bits are too.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/block_placement.h"
#include "backend/cpu/rope_table.h"
#include "backend/cuda/device_matrix.h"
#include "backend/cuda/input_buffers.h"
#include "backend/cuda/pass_inputs.h"
#include "backend/cuda/pass_limits.h"
#include "backend/cuda/products.h"
#include "base/index.h"

namespace s3d::cuda {

// Thread rule: one call at a time.
class CudaPass {
 public:
  // All three must outlive the pass.
  CudaPass(Device& device, const Model& model, const DeviceModel& weights);

  // Everything of one pass, or of a part of it; `adapter` is the block's adapter or that of its riders, on the device,
  // or null. Afterwards the results are in `logits`, `hidden` and `tapped` on the host, or in `part.out`. Errors: out
  // of memory on the device; a kernel failed.
  Status run(const Block& block, const KvCache& kv, const BlockPlacement& placement, const DeviceAdapter* adapter,
             const PassPart& part);

  // Takes the memory that passes within the limits need, with this adapter or with none (null), so that they take no
  // more. Error: out of memory on the device.
  Status reserve(const PassLimits& limits, const DeviceAdapter* adapter);

  std::vector<float> logits;  // [n wanted][head rows]; none where the block keeps them
  std::vector<float> hidden;  // [n wanted][d_model]
  std::vector<float> tapped;  // [n tapped][taps][d_model]; of a part, those of its layers are filled in

  // After an adapter was replaced on the device.
  void forget_graphs() { graphs_.clear(); }

  // Row `first` of the logits of the last pass on the device, until the next one; how many logits a row has.
  const float* kept_logits(int first) const { return logits_.data() + usize(first) * usize(width_); }
  int width() const { return width_; }

  size_t scratch_bytes() const;

 private:
  using Floats = Buffer<float>;

  Status prepare(const Block& block, const KvCache& kv, const DeviceAdapter* adapter);
  bool ensure_buffers(const Block& block, const DeviceAdapter* adapter);
  bool ensure_rows(int n, int segments);
  bool ensure_inputs(const DeviceLayer& layer, int n);
  bool ensure_output(const DeviceMatrix& head, int wanted, size_t tapped);
  bool ensure_adapter(const DeviceAdapter& adapter, int n);
  size_t most_uploaded(const PassLimits& limits) const;
  void add_tables(const Block& block, const KvCache& kv);
  void add_states(const Block& block);
  void add_riders(const Block& block);
  std::vector<float> embed(const Block& block) const;

  // What tells passes apart that start the same kernels with the same tasks from others.
  using GraphKey = std::vector<int64_t>;
  GraphKey graph_key(const Block& block, const DeviceAdapter* adapter) const;
  void start(const Block& block, const DeviceAdapter* adapter);
  void start_graph(const Block& block, const DeviceAdapter* adapter);

  void begin_rows(const DeviceAdapter* adapter);
  void walk(const Block& block, const DeviceAdapter* adapter);
  void take_taps(const Block& block, int layers_run);
  void run_layer(int layer, const DeviceAdapter::Layer& lora);
  void attend(int layer, const DeviceAdapter::Layer& lora);
  void norm_in_place(const Floats& rows, const Floats& weight, int cols);
  void place(int layer);
  void feed_forward(int layer, const DeviceAdapter::Layer& lora);
  void bridge(const DeviceAdapter& adapter);
  void start_output(const Block& block, const DeviceAdapter* adapter);
  const DeviceMatrix& head_of(const Block& block, const DeviceAdapter* adapter) const;
  Status fetch(const Block& block);
  Status hand_over(const Block& block);
  void download_hidden(const Block& block);
  void download_taps(const Block& block);

  // The rows of `x`, normed by `norm` unless it is empty, as input of `readers`.
  void make_input(const float* x, const Buffer<float>& norm, int cols, InputBuffers& to,
                  std::span<const DeviceMatrix* const> readers, int stride = 0);
  // x += the product, behind `post_norm` unless it is empty.
  void end_sublayer(const DeviceMatrix& matrix, const InputBuffers& in, const DeviceLora& lora,
                    const Buffer<float>& post_norm);
  // The low-rank sums of a group of matrices; false: there are none.
  void low_rank_sums(const DeviceLora& lora, const InputBuffers& in);
  MatrixProduct product(const DeviceMatrix& matrix, float* y, const DeviceLora& lora, size_t pair,
                        const Buffer<float>* bias = nullptr) const;
  void rows_step(const RowsTask& task) { device_.kernels().rows(device_.stream(), task); }
  Status out_of_memory() const;

  Device& device_;
  const Model& model_;
  const ModelConfig& config_;
  const DeviceModel& weights_;

  // Of the pass in progress.
  const BlockPlacement* placement_ = nullptr;
  PassPart part_;
  size_t begin_ = 0, end_ = 0;  // of the placement's layers
  const KvLayout* layout_ = nullptr;
  int n_ = 0;
  int width_ = 0;
  AttentionPlan plan_;
  std::vector<int32_t> paths_;
  UploadPack pack_;
  struct Parts {
    UploadPack::Part<float> x, states, cos[2], sin[2];
    UploadPack::Part<uint8_t> takes_state, rides;
    UploadPack::Part<SeenBy> seen;
    UploadPack::Part<int32_t> paths, first_page, row_order, slots, wanted, tapped;
    UploadPack::Part<const std::byte*> pages;
    UploadPack::Part<std::byte*> page_of_row;
    UploadPack::Part<AttentionTile> tiles[2];
  } parts_;
  bool has_states_ = false;
  const uint8_t* lora_rows_ = nullptr;  // [n] which rows have LoRA, where not all have it

  std::map<GraphKey, std::unique_ptr<Graph>> graphs_;
  size_t graph_bytes_ = 0;  // of the buffers when the graphs were made: they hold addresses

  RopeTable rope_[2];  // [is local]
  Floats x_;           // [n][d_model] the residual stream
  Floats mixed_;       // [n][d_model]
  Floats q_, k_, v_;
  Floats gate_, up_;
  Floats partials_;
  Floats low_;                                          // [n][stacked ranks]
  std::array<Floats, PackedLora::kMax> low_rank_sums_;  // [n][widest output]
  Floats logits_, hidden_, hidden_normed_;
  Floats tapped_;  // [taps][n tapped][d_model]
  InputBuffers normed_, attended_in_, gated_, head_in_, low_in_;
  std::array<InputBuffers, PackedLora::kMax> pair_in_;
};

}  // namespace s3d::cuda
