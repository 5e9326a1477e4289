// Fused drafts: what masks guessed that rode in the pass before (docs/adapter.md has the formulas).
#include <utility>
#include <vector>

#include "backend/packed_adapter.h"
#include "base/check.h"
#include "base/index.h"
#include "decode/draft_growth.h"
#include "decode/drafters.h"

namespace s3d {
namespace {

class FusedDrafter : public Drafter {
 public:
  FusedDrafter(Backend& backend, std::shared_ptr<const PackedAdapter> adapter)
      : vocab_(usize(backend.config().vocab_size)), adapter_(std::move(adapter)), growth_(backend, adapter_) {}

  std::string_view name() const override { return "fused"; }
  int max_depth() const override { return adapter_->config().depth(); }
  bool needs_pass() const override { return false; }
  size_t extra_bytes() const override { return adapter_->bytes(); }
  const PackedAdapter* riders() const override { return adapter_.get(); }

  // Keeps the logits of the tokens that can be drafted, in the draft vocabulary's order.
  void observe_riders(const PassOutput& riders) override {
    masks_ = static_cast<int>(riders.logits.size() / vocab_);
    const size_t n = adapter_->draft_size();
    logits_.resize(usize(masks_) * n);
    for (size_t row = 0; row < usize(masks_); ++row) {
      for (size_t i = 0; i < n; ++i) {
        logits_[row * n + i] = riders.logits[row * vocab_ + usize(adapter_->draft_token(i))];
      }
    }
    hidden_.assign(riders.hidden.begin(), riders.hidden.end());
    S3D_CHECK(masks_ == 0 || !adapter_->config().confidence || !hidden_.empty(), "riders without hidden states");
  }

  Status draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) override {
    return growth_.grow({.logits = logits_, .hidden = hidden_, .rows = masks_}, input.tokens.back(), limits, tree);
  }

 private:
  size_t vocab_;
  std::shared_ptr<const PackedAdapter> adapter_;
  DraftGrowth growth_;
  int masks_ = 0;              // that rode behind the row of the last token; 0: nothing can be drafted
  std::vector<float> logits_;  // [masks, draft_size]
  std::vector<float> hidden_;  // [masks, d_model] or empty
};

}  // namespace

std::unique_ptr<Drafter> make_fused_drafter(Backend& backend, std::shared_ptr<const PackedAdapter> adapter) {
  return std::make_unique<FusedDrafter>(backend, std::move(adapter));
}

}  // namespace s3d
