#include "spec/text_drafters.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

namespace s3d {
namespace {

constexpr int kDeepest = 15;

class LookupDrafter : public Drafter {
 public:
  std::string_view name() const override { return "lookup"; }
  int max_depth() const override { return kDeepest; }
  bool needs_pass() const override { return false; }
  size_t extra_bytes() const override { return 0; }

  Status draft(const DraftContext& context, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    const std::span<const int32_t> tokens = context.tokens;
    for (size_t n = kLongest; n >= kShortest; --n) {
      const size_t next = find(tokens, n);
      if (next == 0) continue;
      const size_t most =
          std::min<size_t>(static_cast<size_t>(std::min(limits.nodes, limits.depth)), tokens.size() - next);
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
  static constexpr size_t kLongest = 4, kShortest = 2;

  // Position after the most recent earlier occurrence of the last n tokens; 0 if there is none. A scan: 4,000 tokens
  // take a microsecond or two, less than an index would take to be kept.
  static size_t find(std::span<const int32_t> tokens, size_t n) {
    if (tokens.size() <= n) return 0;
    const auto last = tokens.last(n);
    for (size_t begin = tokens.size() - n; begin-- > 0;) {
      if (std::equal(last.begin(), last.end(), tokens.begin() + static_cast<std::ptrdiff_t>(begin))) return begin + n;
    }
    return 0;
  }
};

// The smallest automaton of all substrings, grown token by token (Blumer et al. 1985). Each state is a set of
// substrings that occur at the same places; `count` is their number, kept up to date along the suffix links.
class SuffixAutomaton {
 public:
  SuffixAutomaton() { clear(); }

  void clear() {
    states_.assign(1, State{});
    last_ = 0;
  }

  void push(int32_t token) {
    const int now = add({.length = states_[static_cast<size_t>(last_)].length + 1});
    int p = last_;
    while (p >= 0 && !at(p).next.contains(token)) {
      at(p).next[token] = now;
      p = at(p).link;
    }
    at(now).link = p < 0 ? 0 : split(p, token);
    last_ = now;
    // Repetitions make these walks long; beyond so many links the substrings are short, and their counts need not be
    // exact.
    constexpr int kMostLinks = 64;
    int links = 0;
    for (int s = now; s > 0 && links < kMostLinks; s = at(s).link, ++links) ++at(s).count;
  }

  struct State {
    int length = 0;  // of its longest substring
    int link = -1;   // the state of its longest suffix that is in another one
    int count = 0;   // occurrences
    std::map<int32_t, int> next = {};
  };
  const State& state(int i) const { return states_[static_cast<size_t>(i)]; }
  // The longest suffix of the text that occurred before; 0: none.
  int repeated_suffix() const { return last_ == 0 ? 0 : std::max(0, state(last_).link); }
  size_t bytes() const {
    constexpr size_t kNode = 48;  // of the map, on 64-bit machines
    return states_.capacity() * sizeof(State) + 2 * states_.size() * kNode;
  }

 private:
  State& at(int i) { return states_[static_cast<size_t>(i)]; }
  int add(State state) {
    states_.push_back(std::move(state));
    return static_cast<int>(states_.size()) - 1;
  }

  // The state that `token` leads to from p, split off if it also holds longer substrings.
  int split(int p, int32_t token) {
    const int q = at(p).next[token];
    if (at(q).length == at(p).length + 1) return q;
    State copy = at(q);
    copy.length = at(p).length + 1;
    const int clone = add(std::move(copy));
    for (; p >= 0; p = at(p).link) {
      const auto found = at(p).next.find(token);
      if (found == at(p).next.end() || found->second != q) break;
      found->second = clone;
    }
    at(q).link = clone;
    return clone;
  }

  std::vector<State> states_;
  int last_ = 0;
};

class SuffixDrafter : public Drafter {
 public:
  explicit SuffixDrafter(std::shared_ptr<const NgramTable> habits) : habits_(std::move(habits)) {}

  std::string_view name() const override { return "suffix"; }
  int max_depth() const override { return kDeepest; }
  bool needs_pass() const override { return false; }
  size_t extra_bytes() const override {
    return automaton_.bytes() + seen_.capacity() * sizeof(int32_t) + (habits_ != nullptr ? habits_->bytes() : 0);
  }

  // Token by token, each time the likelier of what the text and what the habits say.
  Status draft(const DraftContext& context, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    catch_up(context.tokens);
    Match match = {automaton_.repeated_suffix(), 0};
    match.length = automaton_.state(match.state).length;
    int32_t before = context.tokens.size() > 1 ? context.tokens[context.tokens.size() - 2] : -1;
    int32_t last = context.tokens.back();
    for (int i = 0; i < std::min(limits.nodes, limits.depth); ++i) {
      Guess best = from_text(match);
      if (habits_ != nullptr) {
        const NgramTable::Guess habit = habits_->after(before, last);
        if (habit.chance > best.chance) best = {habit.token, habit.chance};
      }
      if (best.chance < kLeast) return Ok();
      tree.push_back({best.token, i - 1, best.chance});
      match = follow(match, best.token);
      before = last;
      last = best.token;
    }
    return Ok();
  }

 private:
  static constexpr float kLeast = 0.05F;  // of a chance: a row costs at least as much of a pass

  struct Guess {
    int32_t token = 0;
    float chance = 0;
  };
  // The longest suffix of text and draft that occurs in the text; state 0 with length 0 when none does.
  struct Match {
    int state, length;
  };

  // In a text that repeats itself the match runs up to the end, where nothing follows: a shorter one goes on.
  void shorten(Match& match) const {
    match.state = automaton_.state(match.state).link;
    match.length = automaton_.state(match.state).length;
  }

  Guess from_text(Match match) const {
    while (match.state > 0 && automaton_.state(match.state).next.empty()) shorten(match);
    if (match.length == 0) return {};
    int32_t token = 0;
    int most = 0, all = 0;
    for (const auto& [follower, next] : automaton_.state(match.state).next) {
      const int count = automaton_.state(next).count;
      all += count;
      if (count > most) {
        most = count;
        token = follower;
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

  Match follow(Match match, int32_t token) const {
    while (match.state > 0 && !automaton_.state(match.state).next.contains(token)) shorten(match);
    const auto found = automaton_.state(match.state).next.find(token);
    if (found == automaton_.state(match.state).next.end()) return {0, 0};
    return {found->second, match.length + 1};
  }

  void catch_up(std::span<const int32_t> tokens) {
    const bool grown = tokens.size() >= seen_.size() && std::equal(seen_.begin(), seen_.end(), tokens.begin());
    if (!grown) {
      automaton_.clear();
      seen_.clear();
    }
    for (size_t i = seen_.size(); i < tokens.size(); ++i) automaton_.push(tokens[i]);
    seen_.assign(tokens.begin(), tokens.end());
  }

  std::shared_ptr<const NgramTable> habits_;  // or null
  SuffixAutomaton automaton_;
  std::vector<int32_t> seen_;
};

}  // namespace

std::unique_ptr<Drafter> make_lookup_drafter() {
  return std::make_unique<LookupDrafter>();
}

std::unique_ptr<Drafter> make_suffix_drafter(std::shared_ptr<const NgramTable> habits) {
  return std::make_unique<SuffixDrafter>(std::move(habits));
}

}  // namespace s3d
