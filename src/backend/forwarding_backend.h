// For tests: a backend that hands everything on to a real one. What a test counts or makes wrong, it overrides.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "backend/backend.h"

namespace s3d {

class ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(Backend& real) : real_(real) {}  // must outlive it

  Result<PassOutput> run(const Block& block, KvCache& kv) override { return real_.run(block, kv); }
  void add_markov(const PackedAdapter& adapter, std::span<const TokenId> previous, std::span<float> logits,
                  std::span<float> z) override {
    real_.add_markov(adapter, previous, logits, z);
  }
  bool keeps_logits() const override { return real_.keeps_logits(); }
  Status choose(const LogitRows& rows, const ChoiceAsk& ask, Choices& out) override {
    return real_.choose(rows, ask, out);
  }
  Status choose_draft(const PackedAdapter& adapter, const LogitRows& rows, TokenId previous, const ChoiceAsk& ask,
                      Choices& out) override {
    return real_.choose_draft(adapter, rows, previous, ask, out);
  }
  Result<std::unique_ptr<Backend>> beside(std::shared_ptr<const Model> model, int max_rows) override {
    return real_.beside(std::move(model), max_rows);
  }
  Status can_multiply() const override { return real_.can_multiply(); }
  Status take(const SideMatrix& w) override { return real_.take(w); }
  void multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out) override {
    real_.multiply(w, in, out);
  }
  Result<PassOutput> run_part(const Block& block, KvCache& kv, const PassPart& part) override {
    return real_.run_part(block, kv, part);
  }
  KvStorageMaker kv_storage() override { return real_.kv_storage(); }
  Result<KvCache> make_kv_cache(KvType type, int64_t tokens) override { return real_.make_kv_cache(type, tokens); }
  const ModelConfig& config() const override { return real_.config(); }
  int max_rows() const override { return real_.max_rows(); }
  std::string_view name() const override { return real_.name(); }
  size_t weight_bytes() const override { return real_.weight_bytes(); }
  size_t scratch_bytes() const override { return real_.scratch_bytes(); }

 private:
  Backend& real_;
};

}  // namespace s3d
