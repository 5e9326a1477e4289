// EAGLE: one layer beside the base guesses token after token (docs/drafters.md has the formulas).
#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/index.h"
#include "decode/drafters.h"
#include "decode/eagle_head.h"
#include "decode/top_choices.h"

namespace s3d {
namespace {

// Deeper drafts are hardly ever right to their end, and each token costs a pass.
constexpr int kDepth = 6;
// Rows of the text that wait until a draft needs them: a prompt's are run along with it, so that their features need
// not be kept.
constexpr int kMostWaiting = 64;

// The text so far as the layer knows it: a row for each position whose features were shown. Rows that were not shown
// are left out, and those behind them close up.
class EagleText {
 public:
  explicit EagleText(EagleHead& head) : head_(head), seq_(head.kv().add_sequence()) {}

  void observe(const CommittedRows& rows) {
    head_.kv().use_rope_set(seq_, head_.config().rope_set(isize(rows.text)));
    drop_from(rows.first);
    drop_changed(rows.text);
    const std::vector<float> features = head_.features(rows.features);
    const size_t d = usize(head_.config().d_model);
    for (int i = 0; i < rows.count; ++i) waiting_.push_back(rows.first + i);
    waiting_features_.insert(waiting_features_.end(), features.begin(), features.end());
    S3D_CHECK(waiting_features_.size() == waiting_.size() * d);
    if (isize(waiting_) <= kMostWaiting) return;
    // The last one's next token may still be open.
    if (const Result<bool> ran = run(rows.text, isize(waiting_) - 1, nullptr); !ran.ok() || !*ran) forget();
  }

  // What follows `text`, of which all but the last token are committed: logits of the next token and the layer's output
  // behind the last row. False: not known here. Valid until the next call.
  Result<bool> look_ahead(std::span<const TokenId> text) {
    head_.kv().use_rope_set(seq_, head_.config().rope_set(isize(text)));
    drop_changed(text);
    const int last = isize(text) - 2;  // its row's next token is the last one that is decided
    if (waiting_.empty()) return has_ahead_ && !run_.empty() && run_.back().position == last;
    if (waiting_.back() != last) return false;
    PassOutput out;
    S3D_ASSIGN(const bool ran, run(text, isize(waiting_), &out));
    if (!ran) return false;
    logits_.assign(out.logits.begin(), out.logits.end());
    hidden_.assign(out.hidden.begin(), out.hidden.end());
    has_ahead_ = true;
    return true;
  }

  const std::vector<float>& logits() const { return logits_; }  // [draft vocabulary]
  const std::vector<float>& hidden() const { return hidden_; }  // [d_model]
  SeqId seq() const { return seq_; }
  int length() const { return isize(run_); }
  int most_rows() const { return most_rows_; }  // that were ever in the cache

 private:
  // A row in the cache: it read the features of a position and the token behind it.
  struct Run {
    int position;
    TokenId next;
  };

  void forget() {
    drop_to(0);
    waiting_.clear();
    waiting_features_.clear();
  }

  void drop_to(int rows) {
    has_ahead_ = has_ahead_ && rows == isize(run_);
    run_.resize(usize(rows));
    head_.kv().truncate(seq_, rows);
  }

  // Rows from that position on are about to be shown again.
  void drop_from(int position) {
    const auto before = [position](int other) { return other < position; };
    const auto waiting = std::find_if_not(waiting_.begin(), waiting_.end(), before) - waiting_.begin();
    waiting_.resize(usize(waiting));
    waiting_features_.resize(usize(waiting) * usize(head_.config().d_model));
    const auto kept =
        std::find_if_not(run_.begin(), run_.end(), [&](const Run& row) { return before(row.position); }) - run_.begin();
    if (kept < isize(run_)) drop_to(static_cast<int>(kept));
  }

  // The text is no longer what the rows read, or the cache has been emptied.
  void drop_changed(std::span<const TokenId> text) {
    if (head_.kv().length(seq_) < isize(run_)) drop_to(head_.kv().length(seq_));
    size_t same = 0;
    while (same < run_.size() && usize(run_[same].position) + 1 < text.size() &&
           text[usize(run_[same].position) + 1] == run_[same].next) {
      ++same;
    }
    if (same == run_.size()) return;
    drop_from(run_[same].position);
  }

  // Runs the first `count` waiting rows, whose next tokens must be known. `last`: takes the outputs of the last one.
  // False: there is no memory for them.
  Result<bool> run(std::span<const TokenId> text, int count, PassOutput* last) {
    const size_t d = usize(head_.config().d_model);
    for (int done = 0; done < count;) {
      const int n = std::min(head_.max_rows(), count - done);
      if (head_.kv().available(seq_, 1) < n) return false;
      std::vector<TokenId> tokens;
      std::vector<Row> rows;
      for (int i = 0; i < n; ++i) {
        tokens.push_back(text[usize(waiting_[usize(done + i)]) + 1]);
        rows.push_back({.token = 0, .position = length() + i, .parent = i - 1, .seq = seq_});
      }
      const std::vector<float> inputs =
          head_.inputs(tokens, std::span(waiting_features_).subspan(usize(done) * d, usize(n) * d));
      std::vector<Want> want(rows.size(), Want::kNothing);
      if (last != nullptr && done + n == count) want.back() = Want::kLogits;
      S3D_ASSIGN(const PassOutput out, head_.run(rows, inputs, want, KvUse::kPending));
      if (last != nullptr) *last = out;
      head_.kv().commit(seq_, n);
      for (int i = 0; i < n; ++i) run_.push_back({waiting_[usize(done + i)], tokens[usize(i)]});
      most_rows_ = std::max(most_rows_, isize(run_));
      done += n;
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + count);
    waiting_features_.erase(waiting_features_.begin(),
                            waiting_features_.begin() + static_cast<std::ptrdiff_t>(usize(count) * d));
    has_ahead_ = false;
    return true;
  }

  EagleHead& head_;
  KvSequence seq_;
  std::vector<Run> run_;  // [committed rows of seq_]
  int most_rows_ = 0;
  std::vector<int> waiting_;             // positions whose features were shown, not run yet
  std::vector<float> waiting_features_;  // [waiting, d_model]
  std::vector<float> logits_, hidden_;
  bool has_ahead_ = false;  // logits_ and hidden_ are those of the last row in the cache
};

// A tree that grows depth by depth (EAGLE-2): the most probable nodes of a depth are run, and their best continuations
// are the next one's; at the end the most probable paths of all are kept.
class EagleTree {
 public:
  EagleTree(EagleHead& head, const EagleText& text, int width) : head_(head), text_(text), width_(width) {}

  Status grow(int depth) {
    add_children(-1, text_.logits());
    frontier_ = best_of(0);
    for (int level = 1; level < depth && !frontier_.empty(); ++level) {
      const int first = isize(nodes_);
      S3D_ASSIGN(const bool ran, expand());
      if (!ran) return Ok();
      frontier_ = best_of(first);
    }
    return Ok();
  }

  // The `count` most probable paths.
  void take(int count, DraftTree& tree) const {
    std::vector<int> order(nodes_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [this](int a, int b) { return nodes_[usize(a)].path > nodes_[usize(b)].path; });
    order.resize(std::min(order.size(), usize(count)));
    std::vector<int> place(nodes_.size(), -1);
    for (const int index : order) {
      const Node& node = nodes_[usize(index)];
      place[usize(index)] = isize(tree);
      tree.push_back({node.token, node.parent < 0 ? -1 : place[usize(node.parent)], node.probability});
    }
  }

 private:
  struct Node {
    TokenId token;
    int parent;  // index of an earlier node; -1: the last decided token
    float probability;
    float path;    // product of the probabilities from the root on; never above the parent's
    int row = -1;  // of rows_, if the layer was run on it
  };

  void add_children(int parent, std::span<const float> logits) {
    const float path = parent < 0 ? 1 : nodes_[usize(parent)].path;
    for (const Choice& choice : top_choices(logits, width_)) {
      nodes_.push_back({head_.token(choice.index), parent, choice.probability, path * choice.probability});
    }
  }

  // The most probable of the nodes from `first` on, at most `width_` of them.
  std::vector<int> best_of(int first) const {
    std::vector<int> out(nodes_.size() - usize(first));
    std::iota(out.begin(), out.end(), first);
    std::stable_sort(out.begin(), out.end(),
                     [this](int a, int b) { return nodes_[usize(a)].path > nodes_[usize(b)].path; });
    if (isize(out) > width_) out.resize(usize(width_));
    return out;
  }

  // Runs the layer on the frontier and adds the continuations. False: there is no memory for it.
  Result<bool> expand() {
    const size_t d = usize(head_.config().d_model);
    std::vector<TokenId> tokens;
    std::vector<float> behind;  // rms of the outputs of the rows that drafted them
    const size_t before = rows_.size();
    for (const int index : frontier_) {
      Node& node = nodes_[usize(index)];
      const int parent_row = node.parent < 0 ? -1 : nodes_[usize(node.parent)].row;
      node.row = isize(rows_);
      tokens.push_back(node.token);
      const std::span<const float> from =
          parent_row < 0 ? std::span(text_.hidden()) : std::span(hidden_).subspan(usize(parent_row) * d, d);
      behind.insert(behind.end(), from.begin(), from.end());
      const int position = parent_row < 0 ? text_.length() : rows_[usize(parent_row)].position + 1;
      rows_.push_back({.token = 0, .position = position, .parent = parent_row, .seq = text_.seq()});
    }
    if (isize(rows_) > head_.max_rows() || head_.kv().available(text_.seq(), 1) < isize(rows_)) return false;
    const std::vector<float> inputs = head_.inputs(tokens, head_.rms(behind));
    inputs_.insert(inputs_.end(), inputs.begin(), inputs.end());
    std::vector<Want> want(rows_.size(), Want::kNothing);
    std::fill(want.begin() + static_cast<std::ptrdiff_t>(before), want.end(), Want::kLogits);
    S3D_ASSIGN(const PassOutput out, head_.run(rows_, inputs_, want, KvUse::kScratch));
    hidden_.insert(hidden_.end(), out.hidden.begin(), out.hidden.end());
    const size_t vocab = out.logits.size() / frontier_.size();
    for (size_t i = 0; i < frontier_.size(); ++i) add_children(frontier_[i], out.logits.subspan(i * vocab, vocab));
    return true;
  }

  EagleHead& head_;
  const EagleText& text_;
  int width_;
  std::vector<Node> nodes_;
  std::vector<int> frontier_;           // nodes that are run next
  std::vector<Row> rows_;               // nodes that were run
  std::vector<float> inputs_, hidden_;  // [rows, d_model] each
};

class EagleDrafter : public Drafter {
 public:
  explicit EagleDrafter(std::shared_ptr<EagleHead> head) : head_(std::move(head)), text_(*head_) {}

  std::string_view name() const override { return "eagle"; }
  int max_depth() const override { return kDepth; }
  bool needs_pass() const override { return true; }
  size_t extra_bytes() const override { return head_->bytes_for(text_.most_rows()); }
  std::span<const int> taps() const override { return head_->taps(); }
  void observe(const CommittedRows& rows) override { text_.observe(rows); }

  Status draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    S3D_ASSIGN(const bool known, text_.look_ahead(input.tokens));
    if (!known) return Ok();
    EagleTree growing(*head_, text_, std::min(limits.width, limits.nodes));
    S3D_TRY(growing.grow(std::min({kDepth, limits.depth, limits.nodes})));
    growing.take(limits.nodes, tree);
    return Ok();
  }

 private:
  std::shared_ptr<EagleHead> head_;
  EagleText text_;
};

}  // namespace

std::unique_ptr<Drafter> make_eagle_drafter(std::shared_ptr<EagleHead> head) {
  return std::make_unique<EagleDrafter>(std::move(head));
}

}  // namespace s3d
