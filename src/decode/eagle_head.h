// What all sequences of one EAGLE drafter share: its layer, its products, the keys and values of its sequences
// (docs/drafters.md has the formulas).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/kv_cache.h"
#include "backend/side_matrix.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "decode/drafter.h"
#include "model/drafter_file.h"
#include "model/weights.h"

namespace s3d {

// Thread rule: one call at a time, and none while the base's backend runs.
class EagleHead {
 public:
  // Packs the parts of `file`, which must have been opened for `base` (open_eagle), and makes a backend beside that of
  // the base, with a cache for as many positions as `base_kv`. `backend` and `base` must outlive it. `pool` packs.
  // Errors: a backend that runs nothing beside its model; out of memory.
  static Result<std::shared_ptr<EagleHead>> create(EagleFile file, std::shared_ptr<const Model> base, Backend& backend,
                                                   const KvCache& base_kv, ThreadPool& pool);

  std::span<const int> taps() const { return taps_; }
  TokenId token(int index) const { return head_.ids.empty() ? index : head_.ids[static_cast<size_t>(index)]; }
  size_t bytes() const;  // of memory held, the whole pool of keys and values too
  // What one sequence of so many tokens takes of it: everything but the pool, and its pages there.
  size_t bytes_for(int tokens) const;

  // g of rows whose hidden states behind taps() are `states`: [n, taps, d_model] -> [n, d_model].
  std::vector<float> features(std::span<const float> states) const;
  // rms(v) of every row.
  std::vector<float> rms(std::span<const float> rows) const;
  // The inputs of rows: `tokens` [n], `features` [n, d_model] -> [n, d_model].
  std::vector<float> inputs(std::span<const TokenId> tokens, std::span<const float> features) const;

  // A pass of the layer, still without rows: they have inputs(), Row::token is not looked at, and the hidden states of
  // those that give logits are the outputs of the layer.
  DraftPass pass(KvUse use);

  KvCache& kv() { return kv_; }
  const ModelConfig& config() const { return layer_->config(); }  // of the layer
  int max_rows() const { return layer_->max_rows(); }

 private:
  EagleHead(EagleFile file, std::shared_ptr<const Model> base, KvCache kv)
      : file_(std::move(file)), base_(std::move(base)), kv_(std::move(kv)) {}

  EagleFile file_;
  std::shared_ptr<const Model> base_;
  std::shared_ptr<const Model> model_;  // the layer
  std::unique_ptr<Backend> layer_;
  KvCache kv_;
  std::vector<int> taps_;
  SideMatrix fc_, tap_, head_;
};

}  // namespace s3d
