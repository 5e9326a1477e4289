#include "cli/synthetic_drafter.h"

#include <algorithm>
#include <utility>

#include "base/index.h"

namespace s3d::cli {
namespace {

// A number in [0, 1) that is a function of the round (by its first position) and of the position: splitmix64.
double draw(size_t round, size_t position) {
  uint64_t z = (uint64_t{round} << 32U) + position + 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
  z ^= z >> 31U;
  constexpr int kMantissa = 53;
  return static_cast<double>(z >> (64U - kMantissa)) / static_cast<double>(uint64_t{1} << unsigned{kMantissa});
}

class SyntheticDrafter : public Drafter {
 public:
  SyntheticDrafter(KnownText text, double rate, int vocab, std::unique_ptr<Drafter> pace)
      : text_(std::move(text)), rate_(rate), vocab_(vocab), pace_(std::move(pace)) {}

  std::string_view name() const override { return "synthetic"; }
  int max_depth() const override { return pace_ != nullptr ? pace_->max_depth() : kMaxDraft; }
  bool needs_pass() const override { return pace_ != nullptr; }
  bool needs_state() const override { return pace_ != nullptr && pace_->needs_state(); }
  size_t extra_bytes() const override { return pace_ != nullptr ? pace_->extra_bytes() : 0; }

  Status draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) override {
    if (pace_ != nullptr) S3D_TRY(pace_->draft(input, limits, tree));
    tree.clear();
    const size_t from = input.tokens.size();
    const int most = std::min({limits.nodes, limits.depth, max_depth()});
    for (int depth = 0; depth < most && from + usize(depth) < text_->size(); ++depth) {
      const size_t at = from + usize(depth);
      const TokenId right = (*text_)[at];
      const TokenId token = draw(from, at) < rate_ ? right : (right + 1) % vocab_;
      tree.push_back({token, depth - 1, static_cast<float>(rate_)});
    }
    return Ok();
  }

 private:
  KnownText text_;
  double rate_;
  int vocab_;
  std::unique_ptr<Drafter> pace_;
};

}  // namespace

std::unique_ptr<Drafter> make_synthetic_drafter(KnownText text, double rate, int vocab, std::unique_ptr<Drafter> pace) {
  return std::make_unique<SyntheticDrafter>(std::move(text), rate, vocab, std::move(pace));
}

}  // namespace s3d::cli
