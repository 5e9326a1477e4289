#include "train/ngrams.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "decode/ngram_table.h"

namespace s3d::train {
namespace {

constexpr float kLeastChance = 0.08F;  // less is not worth a row of any pass
constexpr int kApart = 10;             // every tenth sequence measures the chances

// Three tokens that followed one another; before = -1 stands for any.
struct Seen {
  int32_t before, last, next;
  auto operator<=>(const Seen&) const = default;
};

struct Entry {
  Seen seen;
  int count = 0;   // times that `next` followed
  int places = 0;  // times that the tokens before it came
  float chance = 0;
};

// f(before, last, next) for each token of the answers.
void each_token(const Sequence& sequence, auto f) {
  for (int i = std::max(1, sequence.prompt_length); i < sequence.length(); ++i) {
    const auto at = [&](int back) { return sequence.tokens[static_cast<size_t>(i - back)]; };
    f(i > 1 ? at(2) : -1, at(1), at(0));
  }
}

// By the sequences that `use` takes: the most frequent follower of every one and two tokens.
std::map<std::pair<int32_t, int32_t>, Entry> followers(const Dataset& data, auto use) {
  std::vector<Seen> seen;
  for (size_t s = 0; s < data.sequences.size(); ++s) {
    if (!use(s)) continue;
    each_token(data.sequences[s], [&](int32_t before, int32_t last, int32_t next) {
      seen.push_back({-1, last, next});
      if (before >= 0) seen.push_back({before, last, next});
    });
  }
  std::sort(seen.begin(), seen.end());
  std::map<std::pair<int32_t, int32_t>, Entry> best;
  for (size_t i = 0, end = 0; i < seen.size(); i = end) {
    while (end < seen.size() && seen[end] == seen[i]) ++end;
    Entry& entry = best[{seen[i].before, seen[i].last}];
    const int count = static_cast<int>(end - i);
    entry.places += count;
    if (count <= entry.count) continue;
    entry.count = count;
    entry.seen = seen[i];
  }
  return best;
}

// A first guess of an entry's chance: its share, doubted the more the fewer places there were.
float raw_chance(const Entry& entry) {
  const float share = static_cast<float>(entry.count) / static_cast<float>(entry.places);
  const float doubt = entry.seen.before < 0 ? 2.0F : 1.4F;
  return std::pow(share, 1.3F) * static_cast<float>(entry.places) / (static_cast<float>(entry.places) + doubt);
}

std::vector<Entry> select(const std::map<std::pair<int32_t, int32_t>, Entry>& all, const NgramOptions& options) {
  std::vector<Entry> chosen;
  for (const auto& [tokens, entry] : all) {
    Entry candidate = entry;
    candidate.chance = raw_chance(entry);
    if (entry.count < options.least || candidate.chance < kLeastChance) continue;
    const auto shorter = tokens.first < 0 ? all.end() : all.find({-1, tokens.second});
    if (shorter != all.end() && shorter->second.seen.next == entry.seen.next) {
      const float known = raw_chance(shorter->second);
      if (shorter->second.count >= options.least && known >= kLeastChance && candidate.chance < 1.5F * known + 0.05F) {
        continue;
      }
    }
    chosen.push_back(candidate);
  }
  if (chosen.size() > options.most) {
    std::stable_sort(chosen.begin(), chosen.end(), [](const Entry& a, const Entry& b) { return a.count > b.count; });
    chosen.resize(options.most);
  }
  return chosen;
}

Ngrams to_ngrams(const std::vector<Entry>& entries) {
  Ngrams out;
  for (const Entry& entry : entries) {
    out.before.push_back(entry.seen.before);
    out.last.push_back(entry.seen.last);
    out.next.push_back(entry.seen.next);
    out.chance.push_back(entry.chance);
  }
  return out;
}

// How often guesses came true, by the chance that they were thought to have.
class Truth {
 public:
  void add(float chance, bool right) {
    Bin& bin = bins_[bin_of(chance)];
    ++bin.count;
    if (right) ++bin.hits;
  }
  // A bin of few guesses keeps near what was thought.
  float of(float chance) const {
    constexpr float kPrior = 10;
    const Bin& bin = bins_[bin_of(chance)];
    return (static_cast<float>(bin.hits) + kPrior * chance) / (static_cast<float>(bin.count) + kPrior);
  }

 private:
  static constexpr int kBins = 20;
  struct Bin {
    int count = 0, hits = 0;
  };
  static size_t bin_of(float chance) {
    return static_cast<size_t>(std::clamp(static_cast<int>(chance * kBins), 0, kBins - 1));
  }
  std::array<Bin, kBins> bins_{};
};

Truth measure(const Dataset& data, const NgramOptions& options) {
  const auto apart = [](size_t s) { return s % kApart == kApart - 1; };
  const NgramTable table(to_ngrams(select(followers(data, [&](size_t s) { return !apart(s); }), options)));
  Truth truth;
  for (size_t s = 0; s < data.sequences.size(); ++s) {
    if (!apart(s)) continue;
    each_token(data.sequences[s], [&](int32_t before, int32_t last, int32_t next) {
      const NgramTable::Guess guess = table.after(before, last);
      if (guess.chance > 0) truth.add(guess.chance, guess.token == next);
    });
  }
  return truth;
}

}  // namespace

Ngrams count_ngrams(const Dataset& data, const NgramOptions& options) {
  const Truth truth = measure(data, options);
  std::vector<Entry> entries = select(followers(data, [](size_t) { return true; }), options);
  for (Entry& entry : entries) entry.chance = truth.of(entry.chance);
  return to_ngrams(entries);
}

double hit_rate(const Dataset& data, const Ngrams& ngrams) {
  const NgramTable table(ngrams);
  int64_t hits = 0, all = 0;
  for (const Sequence& sequence : data.sequences) {
    each_token(sequence, [&](int32_t before, int32_t last, int32_t next) {
      const NgramTable::Guess guess = table.after(before, last);
      ++all;
      if (guess.chance > 0 && guess.token == next) ++hits;
    });
  }
  return all > 0 ? static_cast<double>(hits) / static_cast<double>(all) : 0;
}

}  // namespace s3d::train
