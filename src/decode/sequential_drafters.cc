// Drafters that run one row after another: layers of the model itself, or a second model.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/index.h"
#include "decode/drafters.h"

namespace s3d {
namespace {

// A sequence whose last rows may be run and dropped again: greedy continuation, token by token.
class GreedyChain {
 public:
  // Only the first `vocab` tokens of the backend's vocabulary are looked at.
  GreedyChain(Backend& backend, KvCache& kv, SeqId seq, LayerSet layers, int vocab)
      : backend_(backend), kv_(kv), seq_(seq), layers_(layers), vocab_(usize(vocab)) {}

  // Appends to `tree` what follows `token` (not committed yet), a chain within `limits`. The rows that it ran are
  // committed on the way; the caller truncates.
  Status extend(TokenId token, const DraftLimits& limits, DraftTree& tree) {
    const int most = std::min(limits.nodes, limits.depth);
    for (int j = 0; j < most; ++j) {
      const Row row{.token = token, .position = kv_.length(seq_), .parent = -1, .seq = seq_};
      const bool whole = vocab_ == usize(backend_.config().vocab_size);
      S3D_ASSIGN(const PassOutput out, backend_.run({.rows = {&row, 1}, .layers = layers_, .keep_logits = whole}, kv_));
      kv_.commit(seq_, 1);
      const std::span<const float> logits = out.kept > 0 ? std::span<const float>{} : out.logits.first(vocab_);
      S3D_TRY(backend_.choose({.logits = logits, .rows = 1}, {.best = 1, .sums = true}, choices_));
      const RankedToken best = choices_.tokens[0];
      if (best.token < 0 || !std::isfinite(best.logit)) return Ok();
      token = best.token;
      tree.push_back({token, j - 1, 1 / choices_.sums[0]});
    }
    return Ok();
  }

 private:
  Backend& backend_;
  KvCache& kv_;
  SeqId seq_;
  LayerSet layers_;
  size_t vocab_;
  Choices choices_;
};

class LayerSkipDrafter : public Drafter {
 public:
  LayerSkipDrafter(Backend& backend, KvCache& kv, LayerSet layers, int depth)
      : backend_(backend), kv_(kv), layers_(layers), depth_(depth) {}

  std::string_view name() const override { return "layerskip"; }
  int max_depth() const override { return depth_; }
  bool needs_pass() const override { return true; }
  size_t extra_bytes() const override { return 0; }

  // Keys and values of the kept layers are those of full passes; its own rows' are written after them and dropped. The
  // pages of the drafted rows hold other layers' leftovers, which the verify pass overwrites.
  Status draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    const int length = kv_.length(input.seq);
    GreedyChain chain(backend_, kv_, input.seq, layers_, backend_.config().vocab_size);
    Status status = chain.extend(input.tokens.back(), limits, tree);
    kv_.truncate(input.seq, length);
    return status;
  }

 private:
  Backend& backend_;
  KvCache& kv_;
  LayerSet layers_;
  int depth_;
};

class ModelDrafter : public Drafter {
 public:
  ModelDrafter(std::shared_ptr<Backend> backend, std::shared_ptr<KvCache> kv, int depth, int vocab, size_t bytes)
      : backend_(std::move(backend)),
        kv_(std::move(kv)),
        depth_(depth),
        vocab_(std::min(vocab, backend_->config().vocab_size)),
        bytes_(bytes),
        seq_(kv_->add_sequence()) {}

  std::string_view name() const override { return "model"; }
  int max_depth() const override { return depth_; }
  bool needs_pass() const override { return true; }
  size_t extra_bytes() const override { return bytes_ + kv_->bytes(); }

  Status draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    // Its own context may be shorter than the target's; beyond it nothing is drafted.
    const int64_t most = std::min<int64_t>(kv_->capacity(), backend_->config().context_length);
    const int64_t left = most - static_cast<int64_t>(input.tokens.size());
    DraftLimits mine = limits;
    mine.depth = static_cast<int>(std::min<int64_t>({limits.depth, depth_, left}));
    if (mine.depth < 1) return Ok();
    // The padding of a larger vocabulary than its own; nothing follows it.
    if (std::any_of(input.tokens.begin(), input.tokens.end(), [this](TokenId token) { return token >= vocab_; })) {
      return Ok();
    }
    S3D_TRY(catch_up(input.tokens));
    GreedyChain chain(*backend_, *kv_, seq_, LayerSet::all(backend_->config().n_layers), vocab_);
    S3D_TRY(chain.extend(input.tokens.back(), mine, tree));
    seen_.push_back(input.tokens.back());
    for (size_t i = 0; i + 1 < tree.size(); ++i) seen_.push_back(tree[i].token);
    return Ok();
  }

 private:
  // Commits all tokens but the last; what is there already and equal stays.
  Status catch_up(std::span<const TokenId> tokens) {
    const size_t wanted = tokens.size() - 1;
    size_t common = 0;
    while (common < std::min(wanted, seen_.size()) && seen_[common] == tokens[common]) ++common;
    kv_->truncate(seq_, static_cast<int>(common));
    kv_->use_rope_set(seq_, backend_->config().rope_set(static_cast<int64_t>(tokens.size())));
    seen_.resize(usize(kv_->length(seq_)));
    while (seen_.size() < wanted) {
      const int begin = isize(seen_);
      const int end = std::min(static_cast<int>(wanted), begin + backend_->max_rows());
      std::vector<Row> rows;
      for (int i = begin; i < end; ++i) rows.push_back({tokens[i], i, i - begin - 1, seq_});
      const std::vector<Want> none(rows.size(), Want::kNothing);
      S3D_TRY(backend_->run({.rows = rows, .layers = LayerSet::all(backend_->config().n_layers), .want = none}, *kv_));
      kv_->commit(seq_, end - begin);
      seen_.insert(seen_.end(), tokens.begin() + begin, tokens.begin() + end);
    }
    return Ok();
  }

  std::shared_ptr<Backend> backend_;
  std::shared_ptr<KvCache> kv_;
  int depth_;
  int vocab_;  // tokens that both vocabularies have
  size_t bytes_;
  KvSequence seq_;
  std::vector<TokenId> seen_;  // committed in `kv_`
};

}  // namespace

std::unique_ptr<Drafter> make_layer_skip_drafter(Backend& backend, KvCache& kv, LayerSet layers, int depth) {
  return std::make_unique<LayerSkipDrafter>(backend, kv, layers, depth);
}

std::unique_ptr<Drafter> make_model_drafter(std::shared_ptr<Backend> backend, std::shared_ptr<KvCache> kv, int depth,
                                            int vocab, size_t bytes) {
  return std::make_unique<ModelDrafter>(std::move(backend), std::move(kv), depth, vocab, bytes);
}

}  // namespace s3d
