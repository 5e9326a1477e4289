#include <algorithm>
#include <cmath>
#include <vector>

#include "base/index.h"
#include "decode/drafters.h"

namespace s3d {
namespace {

class LookupDrafter : public Drafter {
 public:
  std::string_view name() const override { return "lookup"; }
  int max_depth() const override { return kMaxTextDraft; }
  bool needs_pass() const override { return false; }
  size_t extra_bytes() const override { return 0; }

  Status draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    const std::span<const TokenId> tokens = input.tokens;
    for (size_t n = kMax; n >= kShortest; --n) {
      const size_t next = find(tokens, n);
      if (next == 0) continue;
      const size_t most = std::min<size_t>(usize(std::min(limits.nodes, limits.depth)), tokens.size() - next);
      // Longer matches were right more often; what it is here exactly, the planner learns.
      const float probability = 0.3F + 0.15F * static_cast<float>(n);
      for (size_t i = 0; i < most; ++i) {
        tree.push_back({tokens[next + i], static_cast<int>(i) - 1, i == 0 ? std::min(probability, 0.9F) : 0.9F});
      }
      return Ok();
    }
    return Ok();
  }

 private:
  static constexpr size_t kMax = 4, kShortest = 2;

  // Position after the most recent earlier occurrence of the last n tokens; 0 if there is none. A scan: 4,000 tokens
  // take a microsecond or two, less than an index would take to be kept.
  static size_t find(std::span<const TokenId> tokens, size_t n) {
    if (tokens.size() <= n) return 0;
    const auto last = tokens.last(n);
    for (size_t begin = tokens.size() - n; begin-- > 0;) {
      if (std::equal(last.begin(), last.end(), tokens.begin() + begin)) return begin + n;
    }
    return 0;
  }
};

// The smallest automaton of all substrings, grown token by token (Blumer et al. 1985). Each state is a set of
// substrings that occur at the same places; `count` is their number, kept up to date along the suffix links. The steps
// that leave a state are a linked list: nearly all states have one, and a map in each took 100 to 300 bytes a token.
class SuffixAutomaton {
 public:
  struct State {
    int32_t length = 0;       // of its longest substring
    int32_t link = -1;        // the state of its longest suffix that is in another one
    int32_t count = 0;        // occurrences
    int32_t first_step = -1;  // of those that leave it
  };
  struct Step {
    TokenId token;
    int32_t to;
    TokenId next;  // the next one that leaves the same state; -1: none
  };

  SuffixAutomaton() { clear(); }

  void clear() {
    states_.assign(1, State{});
    steps_.clear();
    last_ = 0;
  }

  void push(TokenId token) {
    const int32_t now = add({.length = state(last_).length + 1});
    int32_t p = last_;
    while (p >= 0 && add_step(p, token, now)) p = state(p).link;
    states_[index(now)].link = p < 0 ? 0 : split(p, token);
    last_ = now;
    // Repetitions make these walks long; beyond so many links the substrings are short, and their counts need not be
    // exact.
    constexpr int kMaxLinks = 64;
    int links = 0;
    for (int32_t s = now; s > 0 && links < kMaxLinks; s = state(s).link, ++links) ++states_[index(s)].count;
  }

  const State& state(int32_t i) const { return states_[index(i)]; }
  const Step& step(int32_t i) const { return steps_[index(i)]; }

  // Where `token` leads from state i; -1: nowhere.
  int32_t after(int32_t i, TokenId token) const {
    const int32_t found = find_step(i, token);
    return found < 0 ? -1 : step(found).to;
  }

  // The longest suffix of the text that occurred before; 0: none.
  int32_t repeated_suffix() const { return std::max(0, state(last_).link); }
  size_t bytes() const { return states_.capacity() * sizeof(State) + steps_.capacity() * sizeof(Step); }

 private:
  static size_t index(int32_t i) { return usize(i); }

  // Growing by an eighth instead of twice wastes less memory, and copying stays cheap beside the passes.
  template <typename T>
  static int32_t append(std::vector<T>& all, T one) {
    if (all.size() == all.capacity()) all.reserve(all.size() + all.size() / 8 + 64);
    all.push_back(one);
    return static_cast<int32_t>(all.size()) - 1;
  }
  int32_t add(State state) { return append(states_, state); }

  // Index of the step; -1: none. Frequent tokens come early in the lists, because they came early in the text.
  int32_t find_step(int32_t i, TokenId token) const {
    int32_t s = state(i).first_step;
    while (s >= 0 && step(s).token != token) s = step(s).next;
    return s;
  }

  // False if the state has a step with that token already.
  bool add_step(int32_t i, TokenId token, int32_t to) {
    int32_t* end = &states_[index(i)].first_step;
    while (*end >= 0 && step(*end).token != token) end = &steps_[index(*end)].next;
    if (*end >= 0) return false;
    *end = static_cast<int32_t>(steps_.size());  // before append() moves the steps
    append(steps_, {token, to, -1});
    return true;
  }

  // A copy of the steps from `s` on, one after the other; returns the first.
  int32_t copy_steps(int32_t s) {
    const int32_t first = s < 0 ? -1 : static_cast<int32_t>(steps_.size());
    for (; s >= 0; s = step(s).next) {
      const Step from = step(s);
      append(steps_, {from.token, from.to, from.next < 0 ? -1 : static_cast<int32_t>(steps_.size()) + 1});
    }
    return first;
  }

  // The state that `token` leads to from p, split off if it also holds longer substrings.
  int32_t split(int32_t p, TokenId token) {
    const int32_t q = after(p, token);
    if (state(q).length == state(p).length + 1) return q;
    State copy = state(q);
    copy.length = state(p).length + 1;
    copy.first_step = copy_steps(copy.first_step);
    const int32_t clone = add(copy);
    for (; p >= 0; p = state(p).link) {
      const int32_t found = find_step(p, token);
      if (found < 0 || step(found).to != q) break;
      steps_[index(found)].to = clone;
    }
    states_[index(q)].link = clone;
    return clone;
  }

  std::vector<State> states_;
  std::vector<Step> steps_;
  int32_t last_ = 0;
};

class SuffixDrafter : public Drafter {
 public:
  explicit SuffixDrafter(std::shared_ptr<const NgramTable> habits) : habits_(std::move(habits)) {}

  std::string_view name() const override { return "suffix"; }
  int max_depth() const override { return kMaxTextDraft; }
  bool needs_pass() const override { return false; }
  size_t extra_bytes() const override {
    return automaton_.bytes() + seen_.capacity() * sizeof(int32_t) + (habits_ != nullptr ? habits_->bytes() : 0);
  }

  void expect(std::span<const TokenId> text) override {
    expected_.assign(text.begin(), text.end());
    started_ = false;
  }

  // Token by token, each time the likelier of what the text and what the habits say.
  Status draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    catch_up(input.tokens);
    Match match = {automaton_.repeated_suffix(), 0};
    match.length = automaton_.state(match.state).length;
    TokenId before = input.tokens.size() > 1 ? input.tokens[input.tokens.size() - 2] : -1;
    TokenId last = input.tokens.back();
    float path = 1;
    for (int i = 0; i < std::min(limits.nodes, limits.depth); ++i) {
      Guess best = from_text(match);
      if (habits_ != nullptr) {
        const NgramTable::Guess habit = habits_->after(before, last);
        if (habit.chance > best.chance) best = {habit.token, habit.chance};
      }
      path *= best.chance;
      if (best.chance < kLeast || path < kLeastPath) return Ok();
      tree.push_back({best.token, i - 1, best.chance});
      match = follow(match, best.token);
      before = last;
      last = best.token;
    }
    return Ok();
  }

 private:
  static constexpr float kLeast = 0.05F;  // of a chance: a row costs at least as much of a pass
  // Of a whole path. Where a text repeats itself the guesses are too modest, so a path may be far less likely by them.
  static constexpr float kLeastPath = 0.001F;
  static constexpr TokenId kBorder = -1;  // no token: nothing is copied across it

  struct Guess {
    TokenId token = 0;
    float chance = 0;
  };
  // The longest suffix of text and draft that occurs in the text; state 0 with length 0 when none does.
  struct Match {
    int32_t state;
    int length;
  };

  // In a text that repeats itself the match runs up to the end, where nothing follows: a shorter one goes on.
  void shorten(Match& match) const {
    match.state = automaton_.state(match.state).link;
    match.length = automaton_.state(match.state).length;
  }

  Guess from_text(Match match) const {
    while (match.state > 0 && automaton_.state(match.state).first_step < 0) shorten(match);
    if (match.length == 0) return {};
    TokenId token = 0;
    int most = 0, all = 0;
    for (int32_t s = automaton_.state(match.state).first_step; s >= 0; s = automaton_.step(s).next) {
      const int count = automaton_.state(automaton_.step(s).to).count;
      all += count;
      if (count > most && automaton_.step(s).token != kBorder) {
        most = count;
        token = automaton_.step(s).token;
      }
    }
    return {token, chance_of(match.length, most, all)};
  }

  // How often the most frequent follower was right: `most` of the `all` earlier places of a match of that length were
  // followed by it. Fitted to greedy answers of smollm2-135m and qwen2.5-coder-0.5b (docs/speculation.md).
  static float chance_of(int length, int most, int all) {
    const float share = static_cast<float>(most) / static_cast<float>(std::max(1, all));
    const float doubt = 2.4F / std::pow(static_cast<float>(length), 1.4F);
    return share * share * static_cast<float>(all) / (static_cast<float>(all) + doubt);
  }

  Match follow(Match match, TokenId token) const {
    while (match.state > 0 && automaton_.after(match.state, token) < 0) shorten(match);
    const TokenId next = automaton_.after(match.state, token);
    return next < 0 ? Match{0, 0} : Match{next, match.length + 1};
  }

  void catch_up(std::span<const TokenId> tokens) {
    const bool grown =
        started_ && tokens.size() >= seen_.size() && std::equal(seen_.begin(), seen_.end(), tokens.begin());
    if (!grown) {
      automaton_.clear();
      seen_.clear();
      for (const TokenId token : expected_) automaton_.push(token);
      if (!expected_.empty()) automaton_.push(kBorder);
    }
    for (size_t i = seen_.size(); i < tokens.size(); ++i) automaton_.push(tokens[i]);
    seen_.assign(tokens.begin(), tokens.end());
    started_ = true;
  }

  std::shared_ptr<const NgramTable> habits_;  // or null
  std::vector<TokenId> expected_;             // text that stands before all others
  SuffixAutomaton automaton_;
  std::vector<TokenId> seen_;
  bool started_ = false;  // the automaton holds expected_ and seen_
};

}  // namespace

std::unique_ptr<Drafter> make_lookup_drafter() {
  return std::make_unique<LookupDrafter>();
}

std::unique_ptr<Drafter> make_suffix_drafter(std::shared_ptr<const NgramTable> habits) {
  return std::make_unique<SuffixDrafter>(std::move(habits));
}

}  // namespace s3d
