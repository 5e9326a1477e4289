// Planners over several drafters that cost a pass: the better one is found, and found again when the text changes.
#include "decode/pass_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "base/index.h"
#include "decode/planner.h"
#include "decode/row_allocator.h"
#include "decode/sampler.h"

namespace s3d {
namespace {

// The chance that the guess of that depth is right in that round, those before it being so.
using Chance = std::function<double(int round, int depth)>;

// In one-row passes: a processor's curve.
const PassCosts& costs() {
  static const PassCosts kCosts =
      PassCosts::through(std::vector<PassCosts::Point>{{1, 1}, {2, 1.08}, {4, 1.59}, {8, 2.8}, {16, 5.09}});
  return kCosts;
}

struct Script {
  Chance chance;
  double cost;  // of a draft: of its first token, and a third of it for each further one
  bool needs_pass = true;

  double draft_seconds(int depth) const { return needs_pass ? cost * (1 + (depth - 1) / 3.0) : 0; }
};

// Its guesses are right as the script says; of itself it says that they are always as sure.
class ScriptedDrafter : public Drafter {
 public:
  explicit ScriptedDrafter(Script script) : script(std::move(script)) {}
  std::string_view name() const override { return "scripted"; }
  int max_depth() const override { return 4; }
  bool needs_pass() const override { return script.needs_pass; }
  size_t extra_bytes() const override { return 0; }
  Status draft(const DraftInput&, const DraftLimits& limits, DraftTree& tree) override {
    tree.clear();
    for (int i = 0; i < std::min(limits.nodes, limits.depth); ++i) tree.push_back({number, i - 1, 0.7F});
    asked_depth = limits.depth;
    ++drafts;
    return Ok();
  }

  Script script;
  TokenId number = 0;  // its tokens
  int drafts = 0, asked_depth = 0;
};

struct Played {
  double rate = 0;            // tokens for each one-row pass
  std::vector<int> verified;  // [rounds] whose draft; -1: nobody's
};

// Sequences alone with a planner over these drafters, those that are free first.
class Play {
 public:
  explicit Play(const std::vector<Script>& scripts) {
    std::vector<std::unique_ptr<Drafter>> free, passes;
    auto experience = std::make_shared<Experience>();
    for (const Script& script : scripts) {
      auto drafter = std::make_unique<ScriptedDrafter>(script);
      drafter->number = isize(drafters_);
      drafters_.push_back(drafter.get());
      (script.needs_pass ? passes : free).push_back(std::move(drafter));
      if (!script.needs_pass) continue;
      PassExperience& known = experience->pass.emplace_back();
      for (int d = 1; d <= 4; ++d) known.costs.seconds[usize(d)] = script.draft_seconds(d);
    }
    planner_ = std::make_unique<Planner>(std::move(free), std::move(passes), std::move(experience));
  }

  Played run(int rounds) {
    Played played;
    double tokens = 0, time = 0;
    for (int i = 0; i < rounds; ++i, ++round_) {
      const auto [made, took, whose] = one_round();
      tokens += made;
      time += took;
      played.verified.push_back(whose);
    }
    played.rate = tokens / time;
    return played;
  }

 private:
  std::tuple<int, double, int> one_round() {
    std::vector<int> before;
    for (const ScriptedDrafter* drafter : drafters_) before.push_back(drafter->drafts);
    Proposal proposal;
    EXPECT_TRUE(planner_->propose({.tokens = text_}, {.nodes = 15, .depth = 15}, {.costs = &costs()}, proposal).ok());
    RoundResult result;
    int asked = 0;
    for (size_t i = 0; i < drafters_.size(); ++i) {
      if (!drafters_[i]->script.needs_pass || drafters_[i]->drafts == before[i]) continue;
      result.draft_seconds = drafters_[i]->script.draft_seconds(drafters_[i]->asked_depth);
      ++asked;
    }
    EXPECT_LE(asked, 1) << "more than one pass in a round";
    const DraftTree tree = granted(proposal, result.draft_seconds);
    result.verify_rows = 1 + isize(tree);
    result.verify_seconds = costs().of(result.verify_rows);
    const int whose = tree.empty() ? -1 : tree[0].token;
    for (int d = 0; d < isize(tree); ++d) {
      const double luck = keyed_uniform(1, static_cast<uint64_t>(round_), d);
      if (luck >= drafters_[usize(whose)]->script.chance(round_, d)) break;
      result.path.push_back(d);
    }
    planner_->learn(tree, result);
    return {1 + isize(result.path), result.draft_seconds + result.verify_seconds, whose};
  }

  static DraftTree granted(const Proposal& proposal, double spent_seconds) {
    if (proposal.chances.empty()) return proposal.tree;
    const std::vector<double> paths = path_chances(proposal.tree, proposal.chances);
    const RowWish wish = {.paths = paths};
    Proposal kept = proposal;
    keep_nodes(kept, allocate_rows({&wish, 1}, costs(), {.rows = 16, .spent_seconds = spent_seconds})[0].nodes);
    return kept.tree;
  }

  std::vector<TokenId> text_ = std::vector<TokenId>(10);
  std::vector<ScriptedDrafter*> drafters_;
  std::unique_ptr<Planner> planner_;
  int round_ = 0;
};

Chance always(double chance) {
  return [chance](int, int) { return chance; };
}

double share_of(const Played& played, int whose, int from = 0) {
  const auto begin = played.verified.begin() + from;
  return static_cast<double>(std::count(begin, played.verified.end(), whose)) /
         static_cast<double>(played.verified.end() - begin);
}

TEST(SeveralPasses, TheBetterOneIsFound) {
  for (const auto& [first, second] : {std::pair(0.5, 0.8), std::pair(0.8, 0.5), std::pair(0.65, 0.85)}) {
    Play play({{always(first), 0.4}, {always(second), 0.4}});
    const Played played = play.run(1000);
    EXPECT_GT(share_of(played, first > second ? 0 : 1, 200), 0.9) << first << " " << second;
  }
}

TEST(SeveralPasses, WhatADraftCostsCountsToo) {
  // The dear one is right a little more often.
  Play play({{always(0.85), 1.2}, {always(0.75), 0.2}});
  EXPECT_GT(share_of(play.run(1000), 1, 200), 0.9);
}

TEST(SeveralPasses, AChangeOfTextFlipsTheChoice) {
  const auto until = [](int flip, double before, double after) {
    return [=](int round, int) { return round < flip ? before : after; };
  };
  Play play({{until(1000, 0.85, 0.4), 0.4}, {until(1000, 0.4, 0.85), 0.4}});
  EXPECT_GT(share_of(play.run(1000), 0, 200), 0.9);
  const Played after = play.run(1000);
  EXPECT_GT(share_of(after, 1, 300), 0.9) << "found within 300 rounds";
}

TEST(SeveralPasses, ARivalThatBecomesGoodIsNoticedWhileTheUsualOneStaysTheSame) {
  const auto late = [](int round, int) { return round < 2000 ? 0.2 : 0.9; };
  Play play({{always(0.7), 0.4}, {late, 0.4}});
  EXPECT_GT(share_of(play.run(2000), 0, 200), 0.95);
  EXPECT_GT(share_of(play.run(1000), 1, 500), 0.8);
}

TEST(SeveralPasses, ThoseThatLoseCostNextToNothing) {
  Play alone({{always(0.8), 0.4}}),
      crowd({{always(0.8), 0.4}, {always(0.1), 0.4}, {always(0.05), 0.3}, {always(0.3), 0.5}});
  alone.run(300);
  crowd.run(300);
  EXPECT_GT(crowd.run(3000).rate, 0.985 * alone.run(3000).rate);
}

TEST(SeveralPasses, WhereAllFailPlainDecodingIsHardlySlower) {
  Play play({{always(0.02), 0.4}, {always(0.02), 0.4}, {always(0.02), 0.4}});
  EXPECT_GT(play.run(3000).rate, 0.975);
}

TEST(SeveralPasses, NoneIsProbedWhereAFreeDraftDoesMuchBetter) {
  Play play({{always(0.95), 0, /*needs_pass=*/false}, {always(0.5), 0.4}, {always(0.6), 0.4}});
  EXPECT_GT(share_of(play.run(1000), 0, 200), 0.98);
}

// One drafter alone is chosen as by its gate.
TEST(PassChoice, OfOneIsItsGate) {
  PassChoice choice(1);
  DraftGate gate;
  for (int round = 0; round < 500; ++round) {
    const double promised = round / 100 % 2 == 0 ? 0.9 : 1.2;
    const bool worth = gate.is_worth(promised, 1);
    const bool asked = worth || gate.wants_probe(1, 1, 1);
    EXPECT_EQ(choice.choose({&promised, 1}, {.free = 1, .plain = 1}), asked ? 0 : -1) << round;
    if (!asked || worth) continue;
    EXPECT_TRUE(choice.probing());
    gate.learn_probe(round % 3 == 0);
    choice.learn_probe(round % 3 == 0, 0);
  }
}

TEST(PassChoice, TheUsualOneStaysUntilAnotherIsClearlyBetter) {
  PassChoice choice(2);
  const auto choose = [&](double a, double b) {
    const std::vector<double> promised = {a, b};
    return choice.choose(promised, {.free = 1, .plain = 1});
  };
  EXPECT_EQ(choose(1.5, 1.4), 0);
  EXPECT_EQ(choose(1.5, 1.55), 0);
  EXPECT_EQ(choose(1.5, 1.6), 1);
  EXPECT_EQ(choose(1.65, 1.6), 1);
  EXPECT_EQ(choose(0.5, 1.01), -1) << "it must be worth its pass";
}

}  // namespace
}  // namespace s3d
