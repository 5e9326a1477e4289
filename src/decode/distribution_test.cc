// Sampled tokens follow the target's distribution, whoever drafts: a chi-square test at fixed seeds.
//
// The scripted target's logits depend on the token before. The draws are grouped by that token's class and by how many
// drafted tokens were accepted before in the round: both are known before the draw, so each group's tokens must have
// exactly the target's distribution, at every place of a draft. Level: each check below fails for right draws with a
// probability of 0.1 %, were its seed drawn anew; the seeds are fixed and were not chosen.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>

#include "base/index.h"
#include "decode/drafters.h"
#include "decode/generate.h"
#include "decode/sampler_reference.h"
#include "decode/scripted_backend.h"
#include "decode/scripted_speculator.h"

namespace s3d {
namespace {

constexpr size_t kClasses = 5, kPlaces = 5;
constexpr int kAnswer = 90, kAnswers = 270;  // 24,300 tokens a check

size_t class_of(TokenId token) {
  return usize(token) % kClasses;
}

const std::vector<float>& logits_after(TokenId token) {
  static const auto kLogits = [] {
    std::array<std::vector<float>, kClasses> all;
    std::mt19937 rng(17);
    std::normal_distribution<float> normal(0, 1.5F);
    for (std::vector<float>& logits : all) {
      logits.resize(kScriptedVocab);
      for (float& logit : logits) logit = normal(rng);
    }
    return all;
  }();
  return kLogits[class_of(token)];
}

int32_t likeliest_after(TokenId token, size_t rank = 0) {
  static const auto kOrders = [] {
    std::array<std::vector<int32_t>, kClasses> all;
    for (size_t c = 0; c < kClasses; ++c) {
      const std::vector<float>& logits = logits_after(static_cast<int32_t>(c));
      all[c].resize(logits.size());
      std::iota(all[c].begin(), all[c].end(), 0);
      std::sort(all[c].begin(), all[c].end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    }
    return all;
  }();
  return kOrders[class_of(token)][rank];
}

// ---- Drafters ------------------------------------------------------------------------------------------------------

// A chain of four: next(token before, its successor's position).
template <class Next>
DraftTree chain(const DraftInput& input, const DraftLimits& limits, const Next& next) {
  DraftTree tree;
  TokenId token = input.tokens.back();
  for (int i = 0; i < std::min({4, limits.nodes, limits.depth}); ++i) {
    token = next(token, isize(input.tokens) + i);
    tree.push_back({token, i - 1, 0.5F});
  }
  return tree;
}

using MakeSpeculator = std::function<std::unique_ptr<Speculator>(const Sampler&, uint64_t stream)>;

template <class Script>
std::unique_ptr<Speculator> scripted(Script script) {
  return std::make_unique<ScriptedSpeculator>(std::move(script));
}

// Right about one time in three: the target's own favourites.
std::unique_ptr<Speculator> likely(const Sampler&, uint64_t) {
  return scripted([](const DraftInput& input, const DraftLimits& limits) {
    return chain(input, limits, [](TokenId token, int) { return likeliest_after(token); });
  });
}

// Any token: nearly always wrong.
std::unique_ptr<Speculator> random(const Sampler&, uint64_t stream) {
  return scripted([stream](const DraftInput& input, const DraftLimits& limits) {
    return chain(input, limits, [stream](int32_t, int position) {
      return static_cast<int32_t>(keyed_uniform(/*seed=*/99, stream, position) * kScriptedVocab);
    });
  });
}

// Always right, because it makes the target's draws itself.
std::unique_ptr<Speculator> right(const Sampler& sampler, uint64_t stream) {
  return scripted([&sampler, stream](const DraftInput& input, const DraftLimits& limits) {
    return chain(input, limits, [&](TokenId token, int position) {
      return sampler.sample(logits_after(token), {}, stream, position);
    });
  });
}

// Looks at the target's draws too, and drafts even tokens only: a rule that accepts by chance would favour them.
std::unique_ptr<Speculator> partial(const Sampler& sampler, uint64_t stream) {
  return scripted([&sampler, stream](const DraftInput& input, const DraftLimits& limits) {
    return chain(input, limits, [&](TokenId token, int position) {
      return sampler.sample(logits_after(token), {}, stream, position) / 2 * 2;
    });
  });
}

// A tree: after each likeliest token, and the root, the two likeliest ones.
std::unique_ptr<Speculator> tree_of_likely(const Sampler&, uint64_t) {
  return scripted([](const DraftInput& input, const DraftLimits& limits) {
    DraftTree tree;
    TokenId token = input.tokens.back();
    int parent = -1;
    for (int depth = 0; depth < std::min({4, limits.nodes / 2, limits.depth}); ++depth) {
      tree.push_back({likeliest_after(token, 1), parent, 0.2F});
      tree.push_back({likeliest_after(token), parent, 0.3F});
      parent = isize(tree) - 1;
      token = tree.back().token;
    }
    return tree;
  });
}

std::unique_ptr<Speculator> suffix(const Sampler&, uint64_t) {
  return make_fixed_speculator(make_suffix_drafter(), /*nodes=*/4);
}

std::unique_ptr<Speculator> nobody(const Sampler&, uint64_t) {
  return nullptr;
}

// ---- Draws ---------------------------------------------------------------------------------------------------------

// A pass that is wrong as a wrong mask would make it: a row's logits know what is drafted after it. `leak` is added to
// the logit of every drafted token; a large one amounts to a sampler that accepts every draft.
class LeakyBackend : public ScriptedBackend {
 public:
  explicit LeakyBackend(float leak) : leak_(leak) {
    logits_after = s3d::logits_after;
    most_rows = 16;
  }
  Result<PassOutput> run(const Block& block, KvCache& kv) override {
    S3D_ASSIGN(PassOutput out, ScriptedBackend::run(block, kv));
    if (out.logits.size() != block.rows.size() * kScriptedVocab) return out;  // a prompt
    leaked_.assign(out.logits.begin(), out.logits.end());
    for (const Row& row : block.rows) {
      if (row.parent < 0) continue;
      leaked_[usize(row.parent) * kScriptedVocab + usize(row.token)] += leak_;
    }
    out.logits = leaked_;
    return out;
  }

 private:
  float leak_;
  std::vector<float> leaked_;
};

// Tokens by the class of the one before and by the number of drafted ones just before it.
struct Tally {
  std::array<std::array<std::array<int, kScriptedVocab>, kPlaces>, kClasses> seen{};
  SpecStats stats;

  OnToken counter(TokenId before) {
    return [this, before, place = size_t{0}](NewToken token) mutable {
      ++seen[class_of(before)][std::min(place, kPlaces - 1)][token.id];
      before = token.id;
      place = token.drafted ? place + 1 : 0;
      return Next::kContinue;
    };
  }
  ChiSquare against(const SamplerOptions& settings) const {
    ChiSquare test;
    for (size_t c = 0; c < kClasses; ++c) {
      const std::vector<double> wanted = slow_probabilities(settings, logits_after(static_cast<int32_t>(c)));
      for (const auto& of_place : seen[c]) test.add(wanted, of_place);
    }
    return test;
  }
};

// Answers of many sequences that share passes by threes.
Tally draw(const SamplerOptions& settings, const MakeSpeculator& make, float leak = 0) {
  constexpr int kTogether = 3;
  LeakyBackend backend(leak);
  KvCache kv = KvCache::create(scripted_config(), KvType::kF32, kTogether * 128).value();
  const Sampler sampler(settings);
  Tally tally;
  for (int first = 0; first < kAnswers; first += kTogether) {
    std::vector<std::unique_ptr<Speculator>> speculators;
    std::vector<BatchItem> items;
    for (int i = first; i < first + kTogether; ++i) {
      const auto stream = static_cast<uint64_t>(i);
      const std::vector<TokenId> prompt = {0, i % kScriptedVocab};
      speculators.push_back(make(sampler, stream));
      BatchItem& item = items.emplace_back();
      item.seq = kv.add_sequence();
      item.prompt = prompt;
      item.options.sampler = settings;
      item.options.max_tokens = kAnswer;
      item.options.stream = stream;
      item.options.speculator = speculators.back().get();
      item.on_token = tally.counter(prompt.back());
    }
    for (const Result<Generation>& answer : generate_batch(backend, kv, items)) tally.stats.add(answer.value().spec);
  }
  return tally;
}

const std::vector<SamplerOptions> kSettings = {{.temperature = 0.8F, .top_p = 0.9F, .seed = 1},
                                               {.temperature = 1.3F, .top_k = 30, .min_p = 0.02F, .seed = 2}};

// ---- Tests ---------------------------------------------------------------------------------------------------------

struct Drafting {
  const char* name;
  MakeSpeculator make;
  double least, most;  // share of rounds with a draft whose first token is right
};

TEST(SampledDistribution, IsTheTargetsWhoeverDrafts) {
  const Drafting all[] = {
      {"nobody", nobody, 0, 0},      {"likely", likely, 0.2, 0.5},    {"random", random, 0, 0.05},
      {"right", right, 1, 1},        {"partial", partial, 0.25, 0.5}, {"tree", tree_of_likely, 0.4, 0.75},
      {"suffix", suffix, 0.15, 0.5},
  };
  for (const SamplerOptions& settings : kSettings) {
    for (const Drafting& drafting : all) {
      const Tally tally = draw(settings, drafting.make);
      const ChiSquare test = tally.against(settings);
      EXPECT_LT(test.statistic(), test.most()) << drafting.name << ", seed " << settings.seed;
      EXPECT_GT(test.statistic(), test.least()) << drafting.name << ", seed " << settings.seed << ": too regular";
      EXPECT_GT(test.freedom(), 80) << drafting.name;
      const double rate = tally.stats.num_drafts == 0 ? 0 : tally.stats.acceptance_by_depth().front();
      EXPECT_GE(rate, drafting.least) << drafting.name;
      EXPECT_LE(rate, drafting.most) << drafting.name;
    }
  }
}

// The test above can fail: a rule that accepts every draft is seen, and so is a slight preference for drafted tokens.
TEST(SampledDistribution, AWrongPassIsSeen) {
  for (const auto make : {likely, tree_of_likely}) {
    for (const float leak : {100.0F, 0.2F}) {
      const ChiSquare test = draw(kSettings[0], make, leak).against(kSettings[0]);
      EXPECT_GT(test.statistic(), test.most()) << leak;
    }
  }
}

// … and so is a temperature that is a little off, without any draft.
TEST(SampledDistribution, AWrongTemperatureIsSeen) {
  SamplerOptions wrong = kSettings[0];
  wrong.temperature *= 1.1F;
  const ChiSquare test = draw(wrong, nobody).against(kSettings[0]);
  EXPECT_GT(test.statistic(), test.most());
}

}  // namespace
}  // namespace s3d
