// S3D: the kept layers propose several tokens at once from mask tokens (docs/adapter.md has the formulas).
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "backend/packed_adapter.h"
#include "decode/draft_growth.h"
#include "decode/drafters.h"

namespace s3d {
namespace {

class S3dDrafter : public Drafter {
 public:
  S3dDrafter(Backend& backend, KvCache& kv, std::shared_ptr<const PackedAdapter> adapter, std::string_view name)
      : backend_(backend), kv_(kv), adapter_(std::move(adapter)), name_(name), growth_(backend, adapter_) {}

  std::string_view name() const override { return name_; }
  int max_depth() const override { return adapter_->config().depth(); }
  bool needs_pass() const override { return true; }
  bool needs_state() const override { return adapter_->config().state_rank > 0; }
  size_t extra_bytes() const override { return adapter_->bytes(); }

  Sharing sharing() const override { return Sharing::kOnePass; }

  // The last token's row and masks after it, as many as a path may be long.
  void ask(const DraftInput& input, const DraftLimits& limits, DraftPass& pass, DraftTree& tree) override {
    tree.clear();
    const int position = kv_.length(input.seq);
    pass = {.backend = &backend_, .kv = &kv_, .layers = adapter_->config().layers, .adapter = adapter_.get()};
    for (int j = 0; j < rows_of(limits); ++j) {
      pass.rows.push_back(
          {.token = j == 0 ? input.tokens.back() : -j, .position = position + j, .parent = j - 1, .seq = input.seq});
    }
    pass.state = needs_state() && !input.state.empty() ? input.state.data() : nullptr;
    pass.want_hidden = adapter_->config().confidence;
    pass.keep_logits = true;
  }

  void take(const DraftInput& input, const DraftLimits& limits, const PassOutput* mine, DraftPass& pass,
            DraftTree& tree) override {
    pass.rows.clear();
    if (mine == nullptr) return;
    const DraftRows rows = {
        .logits = mine->logits, .hidden = mine->hidden, .rows = rows_of(limits), .first_kept = mine->first_kept};
    // The device failed: the next pass tells why.
    if (!growth_.grow(rows, input.tokens.back(), limits, tree).ok()) tree.clear();
  }

 private:
  // A path is no longer than the tree has nodes.
  int rows_of(const DraftLimits& limits) const { return std::min({max_depth(), limits.depth, limits.nodes}); }

  Backend& backend_;
  KvCache& kv_;
  std::shared_ptr<const PackedAdapter> adapter_;
  std::string name_;
  DraftGrowth growth_;
};

}  // namespace

std::unique_ptr<Drafter> make_s3d_drafter(Backend& backend, KvCache& kv, std::shared_ptr<const PackedAdapter> adapter,
                                          std::string_view name) {
  return std::make_unique<S3dDrafter>(backend, kv, std::move(adapter), name);
}

}  // namespace s3d
