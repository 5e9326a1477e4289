// The engine's own backend: passes on the CPU with the kernels of src/kernels.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "base/result.h"
#include "kernels/kernels.h"
#include "model/weights.h"
#include "s3d/types.h"

namespace s3d {

class CpuBackend : public Backend {
 public:
  // `threads` >= 1 threads are kept for the backend's life, the caller of run() being one of them. `max_rows` >= 1:
  // buffers for that many rows are allocated here. Error: numbers that are not positive.
  static Result<std::unique_ptr<CpuBackend>> create(std::shared_ptr<const Model> model, int threads,
                                                    const Kernels* kernels, int max_rows = 128);
  ~CpuBackend() override;

  Result<PassOutput> run(const Block& block, KvCache& kv) override;
  Result<std::unique_ptr<Backend>> beside(std::shared_ptr<const Model> model, int max_rows) override;
  Status can_multiply() const override { return Ok(); }
  void multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out) override;
  Result<PassOutput> run_part(const Block& block, KvCache& kv, const PassPart& part) override;

  void add_markov(const PackedAdapter& adapter, std::span<const TokenId> previous, std::span<float> logits,
                  std::span<float> z) override;

  const ModelConfig& config() const override;
  int max_rows() const override;
  std::string_view name() const override;
  size_t weight_bytes() const override;
  size_t scratch_bytes() const override;

 private:
  struct Impl;
  explicit CpuBackend(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d
