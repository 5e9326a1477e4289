// What CpuBackend is inside: the pieces of a pass and the walk through them. The steps of a full pass are in
// cpu_backend.cc, what an adapter adds in cpu_adapter.cc.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "backend/block_placement.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/cpu_pass.h"
#include "backend/cpu/feed_forward.h"
#include "backend/cpu/lm_head.h"
#include "backend/cpu/self_attention.h"
#include "backend/packed_adapter.h"

namespace s3d {

struct CpuBackend::Impl {
  using Floats = AlignedFloats;

  Impl(std::shared_ptr<const Model> m, std::shared_ptr<ThreadPool> threads, const Kernels& k, int most);

  // In cpu_backend.cc. By one thread:
  Result<PassOutput> run(const Block& block, KvCache& kv, const PassPart& share);
  void prepare(const Block& block, KvCache& kv);
  size_t scratch_bytes() const;

  // By every thread of the team, in step:
  void walk(int thread, Team& team, const Block& block);
  void take_taps(Team& team, const Block& block, int layers_run);
  void run_layer(int thread, Team& team, int layer, const PackedAdapter::Layer& lora, const SublayerInput& next);

  // By any thread, for the row `r`:
  void begin_row(size_t r);

  // In cpu_adapter.cc. By one thread:
  FormatSet prepare_adapter(const Block& block);
  void prepare_lora(const Block& block);
  void inject_states(const Block& block);
  void small_product(const PackedMatrix& w, const float* x, float* y);
  void add_markov(const PackedAdapter& markov, std::span<const int32_t> previous, std::span<float> to,
                  std::span<float> z);
  void multiply(const PackedMatrix& w, std::span<const float> in, std::span<float> out);

  // By every thread of the team, in step:
  void bridge(Team& team, const SublayerInput& next);

  std::shared_ptr<const Model> model;
  const ModelConfig& config;
  const Kernels& kernels;
  const FloatKernels& floats;
  const size_t max_rows;
  std::shared_ptr<ThreadPool> pool;  // perhaps another backend's too
  CpuPass pass;
  SelfAttention attention;
  FeedForward feed_forward;
  LmHead lm_head;
  std::atomic<unsigned> embedded{0};  // rows of the embedding that were read from the file

  // Of the pass in progress.
  BlockPlacement placement;
  PassPart part;
  const PackedAdapter* adapter = nullptr;  // of a draft pass
  const PackedAdapter* riders = nullptr;   // of a full pass with masks
  std::vector<const float*> injected;      // [n] what is added to each row's input, or null
  std::span<const float* const> inputs;    // Block::input
  Floats tapped;                           // [n tapped][taps][d_model]

  // Of draft passes; they stay empty without one.
  Floats low;            // [n][rank] of the bridge, or [markov rank]
  StoredRows bridge_in;  // [n][bridge rank]
  StoredRows side_in;    // rows of multiply()
  Floats states;         // [distinct states][d_model] what is injected
  Floats markov_sums;    // [rows][draft vocabulary]
  Floats ones;           // [d_model] weights of a norm that has none
  Activations small_in;  // one row, for small_product()
};

}  // namespace s3d
