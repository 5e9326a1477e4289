// Rounds with drafts against plain decoding, on a scripted model: every accepted length, trees, ends inside a draft.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>

#include "base/index.h"
#include "decode/drafters.h"
#include "decode/generate.h"
#include "decode/scripted_backend.h"
#include "decode/scripted_speculator.h"

namespace s3d {
namespace {

// A chain of `length` tokens of which the first `right` are the model's own.
DraftTree chain(const DraftInput& input, int length, int right) {
  const auto truth = ScriptedBackend::expected({input.tokens.begin(), input.tokens.end()}, std::max(0, length));
  DraftTree tree;
  for (int i = 0; i < length; ++i) {
    const TokenId token = truth[i];
    tree.push_back({i < right ? token : (token + 1) % kScriptedVocab, i - 1, 0.5F});
  }
  return tree;
}

class SpeculationTest : public testing::Test {
 protected:
  SpeculationTest() : kv_(KvCache::create(scripted_config(), KvType::kF32, 256).value()) { backend_.most_rows = 16; }

  Generation run(const std::vector<TokenId>& prompt, DecodeOptions options, Speculator* speculator,
                 const OnToken& on_token = {}) {
    const KvSequence seq = kv_.add_sequence();
    options.speculator = speculator;
    Generation g = generate(backend_, kv_, seq, prompt, options, on_token).value();
    length_ = kv_.length(seq);
    return g;
  }
  // The same tokens, reason and committed length with and without drafts.
  Generation expect_same(const std::vector<TokenId>& prompt, const DecodeOptions& options, Speculator& speculator) {
    const Generation plain = run(prompt, options, nullptr);
    const int length = length_;
    Generation drafted = run(prompt, options, &speculator);
    EXPECT_EQ(drafted.tokens, plain.tokens);
    EXPECT_EQ(drafted.reason, plain.reason);
    EXPECT_EQ(length_, length);
    EXPECT_EQ(drafted.timings.decoded_tokens, plain.timings.decoded_tokens);
    return drafted;
  }

  ScriptedBackend backend_;
  KvCache kv_;
  int length_ = 0;
};

TEST_F(SpeculationTest, EveryAcceptedLengthOfEveryDraft) {
  const std::vector<TokenId> prompt = ScriptedBackend::prompt(7);
  for (int length = 0; length <= 9; ++length) {
    for (int right = 0; right <= length; ++right) {
      ScriptedSpeculator speculator([&](const DraftInput& input, const DraftLimits& limits) {
        const int n = std::min({length, limits.nodes, limits.depth});
        return chain(input, n, std::min(n, right));
      });
      const Generation g = expect_same(prompt, {.max_tokens = 40}, speculator);
      // The first round is never cut by a limit here.
      EXPECT_EQ(speculator.accepted.front(), usize(right)) << length;
      EXPECT_EQ(g.spec.num_drafts == 0, length == 0);
      EXPECT_EQ(g.spec.num_accepted_tokens + g.spec.num_rounds + 1, 40);
    }
  }
}

TEST_F(SpeculationTest, ATreeKeepsThePathOfTheTarget) {
  const std::vector<TokenId> prompt = ScriptedBackend::prompt(5);
  // At each depth a wrong sibling first, then the right one; the wrong one has a child of its own.
  ScriptedSpeculator speculator([](const DraftInput& input, const DraftLimits& limits) {
    const DraftTree right = chain(input, std::min({3, limits.nodes / 3, limits.depth}), 3);
    DraftTree tree;
    int parent = -1;
    for (const DraftNode& node : right) {
      const int wrong = isize(tree);
      tree.push_back({(node.token + 9) % kScriptedVocab, parent, 0.5F});
      tree.push_back({node.token, parent, 0.4F});
      tree.push_back({1, wrong, 0.1F});
      parent = wrong + 1;
    }
    return tree;
  });
  const Generation g = expect_same(prompt, {.max_tokens = 60}, speculator);
  EXPECT_EQ(speculator.accepted.front(), 3U);
  EXPECT_DOUBLE_EQ(g.spec.acceptance_by_depth().front(), 1.0);
}

TEST_F(SpeculationTest, EndsInsideADraftAreExact) {
  const std::vector<TokenId> prompt = ScriptedBackend::prompt(6);
  const std::vector<int32_t> all = ScriptedBackend::expected(prompt, 60);
  const auto full = [](const DraftInput& input, const DraftLimits& limits) {
    const int n = std::min({5, limits.nodes, limits.depth});
    return chain(input, n, n);
  };
  for (int n = 1; n <= 25; ++n) {
    ScriptedSpeculator speculator(full);
    expect_same(prompt, {.max_tokens = n}, speculator);
    expect_same(prompt, {.max_tokens = -1, .context = 6 + n}, speculator);
    // The end token at answer position n, which may lie anywhere in a draft.
    int seen = 0;
    DecodeOptions options{.max_tokens = 50, .is_end = [&seen, n](int32_t) { return ++seen == n; }};
    const Generation plain = run(prompt, options, nullptr);
    const int length = length_;
    seen = 0;
    const Generation drafted = run(prompt, options, &speculator);
    EXPECT_EQ(drafted.tokens, plain.tokens);
    EXPECT_EQ(drafted.reason, FinishReason::kStop);
    EXPECT_EQ(length_, length);
    // The same for a callback that stops (a stop string).
    int shown = 0;
    const auto stop = [&shown, n](NewToken) { return ++shown == n ? Next::kStop : Next::kContinue; };
    const Generation stopped = run(prompt, {.max_tokens = 50}, &speculator, stop);
    EXPECT_EQ(stopped.tokens, std::vector<int32_t>(all.begin(), all.begin() + n));
  }
}

// All drafts are right, so no figure may be less than perfect because the answer ends within one.
TEST_F(SpeculationTest, WhatWasDraftedBehindTheEndIsNotCounted) {
  const std::vector<TokenId> prompt = ScriptedBackend::prompt(6);
  ScriptedSpeculator speculator([](const DraftInput& input, const DraftLimits& limits) {
    const int n = std::min({5, limits.nodes, limits.depth});
    return chain(input, n, n);
  });
  for (int n = 2; n <= 25; ++n) {
    int shown = 0;
    const auto stop = [&shown, n](NewToken) { return ++shown == n ? Next::kStop : Next::kContinue; };
    const Generation g = run(prompt, {.max_tokens = 50}, &speculator, stop);
    EXPECT_EQ(g.spec.num_draft_tokens, g.spec.num_accepted_tokens) << n;
    EXPECT_DOUBLE_EQ(g.spec.mean_acceptance_length() * static_cast<double>(g.spec.num_drafts), g.timings.decoded_tokens)
        << n;
  }
}

TEST_F(SpeculationTest, DraftedTokensAreMarked) {
  ScriptedSpeculator speculator([](const DraftInput& input, const DraftLimits&) { return chain(input, 3, 2); });
  std::vector<bool> drafted;
  const auto mark = [&drafted](NewToken token) {
    drafted.push_back(token.drafted);
    return Next::kContinue;
  };
  run(ScriptedBackend::prompt(6), {.max_tokens = 7}, &speculator, mark);
  EXPECT_EQ(drafted, (std::vector<bool>{false, true, true, false, true, true, false}));
}

TEST_F(SpeculationTest, ACacheWithoutRoomForDraftsStillDecodes) {
  KvCache small = KvCache::create(scripted_config(), KvType::kF32, 64).value();
  ScriptedSpeculator speculator([](const DraftInput& input, const DraftLimits& limits) {
    const int n = std::min({8, limits.nodes, limits.depth});
    return chain(input, n, n / 2);
  });
  const std::vector<TokenId> prompt = ScriptedBackend::prompt(10);
  const DecodeOptions options{.max_tokens = -1, .speculator = &speculator};
  const Generation g = generate(backend_, small, small.add_sequence().id(), prompt, options).value();
  EXPECT_EQ(g.tokens, ScriptedBackend::expected(prompt, 54));
  EXPECT_EQ(g.reason, FinishReason::kContext);
}

TEST_F(SpeculationTest, SequencesThatSharePassesGetTheirOwnText) {
  const auto script = [](const DraftInput& input, const DraftLimits& limits) {
    const int n = std::min({4, limits.nodes, limits.depth});
    return chain(input, n, static_cast<int>(input.tokens.size() + usize(input.seq)) % (n + 1));
  };
  std::vector<BatchItem> items;
  std::vector<std::unique_ptr<ScriptedSpeculator>> speculators;
  for (int i = 0; i < 3; ++i) {
    speculators.push_back(std::make_unique<ScriptedSpeculator>(script));
    items.push_back({.seq = kv_.add_sequence(),
                     .prompt = ScriptedBackend::prompt(4 + 3 * i),
                     .options = {.max_tokens = 20 + 5 * i, .speculator = i == 2 ? nullptr : speculators.back().get()}});
  }
  const std::vector<Result<Generation>> all = generate_batch(backend_, kv_, items);
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(all[i].value().tokens, ScriptedBackend::expected(items[i].prompt, items[i].options.max_tokens)) << i;
  }
}

TEST_F(SpeculationTest, MoreSequencesThanAPassHasRowsTakeTurns) {
  backend_.most_rows = 2;
  std::vector<BatchItem> items;
  for (int i = 0; i < 3; ++i) {
    items.push_back(
        {.seq = kv_.add_sequence(), .prompt = ScriptedBackend::prompt(4 + i), .options = {.max_tokens = 3}});
  }
  const std::vector<Result<Generation>> all = generate_batch(backend_, kv_, items);
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(all[i].value().tokens, ScriptedBackend::expected(items[i].prompt, 3)) << i;
  }
}

// The draft model's vocabulary has padding that the target's lacks, or the other way round.
TEST(ModelDrafter, OnlyCommonTokensAreDrafted) {
  auto backend = std::make_shared<ScriptedBackend>();
  auto kv = std::make_shared<KvCache>(KvCache::create(scripted_config(), KvType::kF32, 256).value());
  const DraftLimits limits{.nodes = 8, .depth = 8};
  for (const int target_vocab : {40, kScriptedVocab, kScriptedVocab + 14}) {
    const auto drafter = make_model_drafter(backend, kv, /*depth=*/6, target_vocab, /*bytes=*/0);
    DraftTree tree;
    ASSERT_TRUE(drafter->draft({.tokens = std::vector<int32_t>{3, 7, 29}}, limits, tree).ok());
    ASSERT_EQ(tree.size(), 6U);
    for (const DraftNode& node : tree) EXPECT_LT(node.token, std::min(target_vocab, kScriptedVocab));
    const std::vector<int32_t> padded = {3, target_vocab == 40 ? 45 : kScriptedVocab + 5, 29};
    ASSERT_TRUE(drafter->draft({.tokens = padded}, limits, tree).ok());
    EXPECT_TRUE(tree.empty());
  }
}

}  // namespace
}  // namespace s3d
