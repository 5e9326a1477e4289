#include "spec/text_drafters.h"

#include <algorithm>
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
  std::string_view name() const override { return "suffix"; }
  int max_depth() const override { return kDeepest; }
  bool needs_pass() const override { return false; }
  size_t extra_bytes() const override { return automaton_.bytes() + seen_.capacity() * sizeof(int32_t); }

  Status draft(const DraftContext& context, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    catch_up(context.tokens);
    int state = automaton_.repeated_suffix();
    const int match = automaton_.state(state).length;
    if (match < kShortest) return Ok();
    const int most = std::min(limits.nodes, limits.depth);
    for (int i = 0; i < most; ++i) {
      // In a text that repeats itself the match runs up to the end, where nothing follows: a shorter one goes on.
      while (automaton_.state(state).next.empty() && state > 0) state = automaton_.state(state).link;
      if (automaton_.state(state).length < kShortest) return Ok();
      const auto [token, next, count] = most_frequent(state);
      if (count == 0) return Ok();
      // The end of the text is an occurrence of the first state that nothing follows yet.
      const int places = std::max(1, automaton_.state(state).count - (i == 0 ? 1 : 0));
      const float share = std::min(1.0F, static_cast<float>(count) / static_cast<float>(places));
      // A short match may be chance.
      const float trust = i == 0 ? static_cast<float>(match) / static_cast<float>(match + 1) : 0.95F;
      if (share * trust < kLeast) return Ok();
      tree.push_back({token, i - 1, share * trust});
      state = next;
    }
    return Ok();
  }

 private:
  static constexpr int kShortest = 2;    // shorter matches are right too seldom to pay for a row
  static constexpr float kLeast = 0.1F;  // probability

  struct Follower {
    int32_t token;
    int state;
    int count;
  };
  Follower most_frequent(int state) const {
    Follower best{0, 0, 0};
    for (const auto& [token, next] : automaton_.state(state).next) {
      const int count = automaton_.state(next).count;
      if (count > best.count) best = {token, next, count};
    }
    return best;
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

  SuffixAutomaton automaton_;
  std::vector<int32_t> seen_;
};

}  // namespace

std::unique_ptr<Drafter> make_lookup_drafter() {
  return std::make_unique<LookupDrafter>();
}

std::unique_ptr<Drafter> make_suffix_drafter() {
  return std::make_unique<SuffixDrafter>();
}

}  // namespace s3d
