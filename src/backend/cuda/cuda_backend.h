// Passes on an NVIDIA card, or on the emulated device of the tests, to the bits of the CPU backend (docs/gpu.md).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "backend/cuda/device.h"
#include "backend/cuda/device_matrix.h"
#include "backend/cuda/pass_limits.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/weights.h"

namespace s3d {

class CudaBackend : public Backend {
 public:
  // Uploads the weights of layers [first, end of `layers`), or of all; `pool`, if given, shares the work of packing
  // them and must be idle. A backend with some of the layers does run_part() with those alone. Weights that `model` has
  // not packed come from `reader`, one layer after the other, and are dropped by the host once they are uploaded.
  // Errors: the device has not so much memory; those of the reader.
  static Result<std::unique_ptr<CudaBackend>> create(std::shared_ptr<const Model> model,
                                                     std::shared_ptr<cuda::Device> device, ThreadPool* pool = nullptr,
                                                     int max_rows = 128, std::optional<cuda::LayerRange> layers = {},
                                                     WeightReader* reader = nullptr);
  ~CudaBackend() override;

  // Takes all memory that passes within these limits, choices, and adapters that are used later will need, as the plan
  // counts it (memory_plan.h). Without it, buffers grow with what is asked for. Error: the device has not so much.
  Status reserve(const cuda::PassLimits& limits);

  // `kv` must be of make_kv_cache(). Further errors: no memory on the device; a kernel failed.
  Result<PassOutput> run(const Block& block, KvCache& kv) override;
  Result<PassOutput> run_part(const Block& block, KvCache& kv, const PassPart& part) override;

  void add_markov(const PackedAdapter& adapter, std::span<const TokenId> previous, std::span<float> logits,
                  std::span<float> z) override;

  bool keeps_logits() const override { return true; }
  Status choose(const LogitRows& rows, const ChoiceAsk& ask, Choices& out) override;
  Status choose_draft(const PackedAdapter& adapter, const LogitRows& rows, TokenId previous, const ChoiceAsk& ask,
                      Choices& out) override;

  // Drafters' own layers and matrices lie on the same device. The model's LM head is not uploaded again.
  Result<std::unique_ptr<Backend>> beside(std::shared_ptr<const Model> model, int max_rows) override;
  Status can_multiply() const override { return Ok(); }
  Status take(const SideMatrix& w) override;
  void multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out) override;

  KvStorageMaker kv_storage() override;

  const ModelConfig& config() const override;
  int max_rows() const override;
  std::string_view name() const override;  // "cuda", "cuda-emulated"
  size_t weight_bytes() const override;
  size_t scratch_bytes() const override;

 private:
  struct Impl;
  explicit CudaBackend(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d
