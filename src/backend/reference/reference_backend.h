// The double-precision reference as a Backend, so that everything above a pass (generation, perplexity, drafters) can
// be run with numbers that nothing but the KV cache rounds. About a hundred times slower than the kernels.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/block_placement.h"
#include "backend/reference/reference_model.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "s3d/types.h"

namespace s3d {

// Keeps keys and values in the KV cache, in its layout and type, as CpuBackend does: committing, rolling back and
// copying sequences are the cache's. The promises of backend.h hold: a row's logits are those of a pass of its own, to
// the bit.
class ReferenceBackend : public Backend {
 public:
  // `threads` >= 1, the caller of run() being one of them; `max_rows` >= 1. Errors: those of ReferenceModel::load, and
  // numbers that are not positive.
  static Result<std::unique_ptr<ReferenceBackend>> create(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                                          int threads, int max_rows = 128);

  Result<std::unique_ptr<Backend>> beside(std::shared_ptr<const Model> model, int max_rows) override;
  Status can_multiply() const override { return Ok(); }
  void multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out) override;
  Result<PassOutput> run(const Block& block, KvCache& kv) override;
  void add_markov(const PackedAdapter& adapter, std::span<const TokenId> previous, std::span<float> logits,
                  std::span<float> z) override;

  const ModelConfig& config() const override { return model_.config(); }
  int max_rows() const override { return max_rows_; }
  std::string_view name() const override { return "reference"; }
  size_t weight_bytes() const override { return model_.weight_bytes(); }
  size_t scratch_bytes() const override;  // between passes

 private:
  ReferenceBackend(ReferenceModel model, std::shared_ptr<ThreadPool> pool, int max_rows);
  Result<ReferenceOutput> compute(const Block& block, const KvCache& kv);

  ReferenceModel model_;
  std::shared_ptr<ThreadPool> pool_;
  int max_rows_;
  BlockPlacement placement_;
  std::vector<float> logits_, hidden_, tapped_;
};

}  // namespace s3d
