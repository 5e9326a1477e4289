// EAGLE: one layer beside the base guesses token after token (docs/drafters.md has the formulas).
#include <algorithm>
#include <numeric>
#include <optional>
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
    if (const Result<bool> ran = run(rows.text, isize(waiting_) - 1); !ran.ok() || !*ran) forget();
  }

  // Whether it can be known what follows `text`, of which all but the last token are committed: then it is once no rows
  // are waiting.
  bool look_ahead(std::span<const TokenId> text) {
    head_.kv().use_rope_set(seq_, head_.config().rope_set(isize(text)));
    drop_changed(text);
    const int last = isize(text) - 2;  // its row's next token is the last one that is decided
    if (waiting_.empty()) return has_ahead_ && !run_.empty() && run_.back().position == last;
    return waiting_.back() == last;
  }
  int waiting() const { return isize(waiting_); }

  // A pass over the first waiting rows, whose next tokens must be known: at most `most` of them, and at most what a
  // pass may have.
  DraftPass ask(std::span<const TokenId> text, int most) {
    const size_t d = usize(head_.config().d_model);
    const int n = std::min(head_.max_rows(), most);
    DraftPass pass = head_.pass(KvUse::kPending);
    std::vector<TokenId> next;
    for (int i = 0; i < n; ++i) {
      next.push_back(next_of(text, i));
      pass.rows.push_back({.token = 0, .position = length() + i, .parent = i - 1, .seq = seq_});
    }
    pass.inputs = head_.inputs(next, std::span(waiting_features_).first(usize(n) * d));
    pass.want.assign(usize(n), Want::kNothing);
    if (n == isize(waiting_)) pass.want.back() = Want::kLogits;
    return pass;
  }

  // Those rows were run, and no others since.
  void take(std::span<const TokenId> text, int rows, const PassOutput& out) {
    const auto n = static_cast<std::ptrdiff_t>(rows);
    head_.kv().commit(seq_, rows);
    for (int i = 0; i < rows; ++i) run_.push_back({waiting_[usize(i)], next_of(text, i)});
    most_rows_ = std::max(most_rows_, isize(run_));
    waiting_.erase(waiting_.begin(), waiting_.begin() + n);
    const auto d = static_cast<std::ptrdiff_t>(head_.config().d_model);
    waiting_features_.erase(waiting_features_.begin(), waiting_features_.begin() + n * d);
    has_ahead_ = waiting_.empty();
    if (!has_ahead_) return;
    logits_.assign(out.logits.begin(), out.logits.end());
    hidden_.assign(out.hidden.begin(), out.hidden.end());
  }

  // What follows the text, if it can be known and no rows are waiting.
  const std::vector<float>& logits() const { return logits_; }  // [draft vocabulary]
  const std::vector<float>& hidden() const { return hidden_; }  // [d_model] the layer's output behind the last row
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

  TokenId next_of(std::span<const TokenId> text, int waiting) const {
    return text[usize(waiting_[usize(waiting)]) + 1];
  }

  // Runs the first `count` waiting rows, whose next tokens must be known. False: there is no memory for them.
  Result<bool> run(std::span<const TokenId> text, int count) {
    while (count > 0) {
      const DraftPass pass = ask(text, count);
      if (pages_to_reserve(pass) > free_pages(pass)) return false;
      const DraftPass* const alone = &pass;
      S3D_ASSIGN(const PassOutput out, run_together({&alone, 1}));
      take(text, isize(pass.rows), out);
      count -= isize(pass.rows);
    }
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
  // `text` knows what follows it. At most `depth` tokens follow each other.
  EagleTree(EagleHead& head, const EagleText& text, int width, int depth)
      : head_(head), text_(text), width_(width), more_depths_(depth) {
    add_children(-1, text_.logits());
    next_depth(0);
  }

  // The nodes that are run next, behind those that were; without rows: the tree is as deep as it gets.
  DraftPass ask() {
    DraftPass pass = head_.pass(KvUse::kScratch);
    if (frontier_.empty() || isize(rows_) + isize(frontier_) > head_.max_rows()) return pass;
    const size_t before = rows_.size();
    add_rows();
    pass.rows = rows_;
    pass.inputs = inputs_;
    pass.want.assign(rows_.size(), Want::kNothing);
    std::fill(pass.want.begin() + static_cast<std::ptrdiff_t>(before), pass.want.end(), Want::kLogits);
    return pass;
  }

  // Those nodes were run: adds their continuations.
  void take(const PassOutput& out) {
    hidden_.insert(hidden_.end(), out.hidden.begin(), out.hidden.end());
    const int first = isize(nodes_);
    const size_t vocab = out.logits.size() / frontier_.size();
    for (size_t i = 0; i < frontier_.size(); ++i) add_children(frontier_[i], out.logits.subspan(i * vocab, vocab));
    next_depth(first);
  }

  // The `count` most probable paths.
  void best(int count, DraftTree& tree) const {
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

  // The nodes from `first` on are the deepest: the most probable of them, at most `width_`, are run next.
  void next_depth(int first) {
    frontier_.clear();
    if (--more_depths_ < 1) return;
    frontier_.resize(nodes_.size() - usize(first));
    std::iota(frontier_.begin(), frontier_.end(), first);
    std::stable_sort(frontier_.begin(), frontier_.end(),
                     [this](int a, int b) { return nodes_[usize(a)].path > nodes_[usize(b)].path; });
    if (isize(frontier_) > width_) frontier_.resize(usize(width_));
  }

  // Rows and inputs of the frontier, behind those of the nodes that were run.
  void add_rows() {
    const size_t d = usize(head_.config().d_model);
    std::vector<TokenId> tokens;
    std::vector<float> behind;  // the outputs of the rows that drafted them
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
    const std::vector<float> inputs = head_.inputs(tokens, head_.rms(behind));
    inputs_.insert(inputs_.end(), inputs.begin(), inputs.end());
  }

  EagleHead& head_;
  const EagleText& text_;
  int width_;
  int more_depths_;
  std::vector<Node> nodes_;
  std::vector<int> frontier_;           // nodes that are run next
  std::vector<Row> rows_;               // nodes that were run, or are asked for
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

  // First passes over the rows of the text that are new, then one for each depth of the tree but the first.
  Sharing sharing() const override { return Sharing::kSteps; }

  void ask(const DraftInput& input, const DraftLimits& limits, DraftPass& pass, DraftTree& tree) override {
    tree.clear();
    pass.rows.clear();
    growing_.reset();
    if (text_.look_ahead(input.tokens)) go_on(input, limits, pass, tree);
  }

  void take(const DraftInput& input, const DraftLimits& limits, const PassOutput* mine, DraftPass& pass,
            DraftTree& tree) override {
    if (mine == nullptr) return finish(limits, pass, tree);
    if (growing_) {
      growing_->take(*mine);
    } else {
      text_.take(input.tokens, isize(pass.rows), *mine);
    }
    go_on(input, limits, pass, tree);
  }

 private:
  void go_on(const DraftInput& input, const DraftLimits& limits, DraftPass& pass, DraftTree& tree) {
    if (text_.waiting() > 0) {
      pass = text_.ask(input.tokens, text_.waiting());
      return;
    }
    if (!growing_) {
      growing_.emplace(*head_, text_, std::min(limits.width, limits.nodes),
                       std::min({kDepth, limits.depth, limits.nodes}));
    }
    pass = growing_->ask();
    if (pass.rows.empty()) finish(limits, pass, tree);
  }

  // The draft is as far as it has come.
  void finish(const DraftLimits& limits, DraftPass& pass, DraftTree& tree) {
    pass.rows.clear();
    if (growing_) growing_->best(limits.nodes, tree);
    growing_.reset();
  }

  std::shared_ptr<EagleHead> head_;
  EagleText text_;
  std::optional<EagleTree> growing_;  // the draft in progress
};

}  // namespace

std::unique_ptr<Drafter> make_eagle_drafter(std::shared_ptr<EagleHead> head) {
  return std::make_unique<EagleDrafter>(std::move(head));
}

}  // namespace s3d
