// Several backends that share the layers of one model. As they all compute the same bits, the division changes speed
// alone.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "model/weights.h"

namespace s3d {

class SplitBackend : public Backend {
 public:
  struct Part {
    std::unique_ptr<Backend> backend;  // does run_part() with its layers
    int layers;                        // of the model, in order; the last part has the output norm and the LM head too
  };

  // Parts run one after the other, and hand the residual stream on. Error: their layers are not the model's.
  static Result<std::unique_ptr<SplitBackend>> create(std::shared_ptr<const Model> model, std::vector<Part> parts);

  // `kv` must be of make_kv_cache(). Errors: those of the parts.
  Result<PassOutput> run(const Block& block, KvCache& kv) override;

  void add_markov(const PackedAdapter& adapter, std::span<const TokenId> previous, std::span<float> logits,
                  std::span<float> z) override;
  bool keeps_logits() const override { return last().keeps_logits(); }
  Status choose(const LogitRows& rows, const ChoiceAsk& ask, Choices& out) override;
  Status choose_draft(const PackedAdapter& adapter, const LogitRows& rows, TokenId previous, const ChoiceAsk& ask,
                      Choices& out) override;

  // What drafters compute, the part with the LM head does.
  Result<std::unique_ptr<Backend>> beside(std::shared_ptr<const Model> model, int max_rows) override {
    return last().beside(std::move(model), max_rows);
  }
  Status can_multiply() const override { return last().can_multiply(); }
  Status take(const SideMatrix& w) override { return last().take(w); }
  void multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out) override {
    last().multiply(w, in, out);
  }

  Result<KvCache> make_kv_cache(KvType type, int64_t tokens) override;

  const ModelConfig& config() const override { return model_->config; }
  int max_rows() const override;
  std::string_view name() const override { return name_; }  // "avx512+cuda"
  size_t weight_bytes() const override;                     // of the parts, which hold their own layers alone
  size_t scratch_bytes() const override;

 private:
  SplitBackend(std::shared_ptr<const Model> model, std::vector<Part> parts);
  Backend& last() const { return *parts_.back().backend; }
  void take_taps(const Block& block, const PassPart& part, std::span<const float> from);

  std::shared_ptr<const Model> model_;
  std::vector<Part> parts_;
  std::string name_;
  std::vector<float> stream_[2];  // [rows][d_model] what comes in and what goes out, by turns
  std::vector<float> tapped_;     // [rows tapped][taps][d_model] of all parts
};

}  // namespace s3d
