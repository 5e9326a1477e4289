// The scheduler on a scripted model: who is in which pass, and what happens to requests that come, go, fail and wait.
#include "decode/scheduler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>

#include "backend/forwarding_backend.h"
#include "base/index.h"
#include "decode/constraint.h"
#include "decode/cost_model.h"
#include "decode/drafters.h"
#include "decode/logprobs.h"
#include "decode/scripted_backend.h"
#include "decode/scripted_speculator.h"

namespace s3d {
namespace {

std::vector<TokenId> prompt(int n) {
  return ScriptedBackend::prompt(n);
}
std::vector<TokenId> expected(const std::vector<TokenId>& tokens, int n) {
  return ScriptedBackend::expected(tokens, n);
}

class SchedulerTest : public testing::Test {
 protected:
  explicit SchedulerTest(int positions = 1024)
      : kv_(KvCache::create(scripted_config(), KvType::kF32, positions).value()) {
    backend_.most_rows = 32;
  }

  Ticket submit(Scheduler& scheduler, Request request) {
    const auto place = std::make_shared<Ticket>(0);
    const Ticket ticket = scheduler.submit(
        std::move(request), [this, place](Result<Generation> result) { results_.emplace(*place, std::move(result)); });
    *place = ticket;
    return ticket;
  }
  Request request(int n_prompt, int max_tokens) const {
    return {.prompt = prompt(n_prompt), .options = {.max_tokens = max_tokens}};
  }
  void run(Scheduler& scheduler) {
    for (int i = 0; i < 10000 && !scheduler.idle(); ++i) ASSERT_TRUE(scheduler.step().ok());
    ASSERT_TRUE(scheduler.idle());
  }
  const std::vector<TokenId>& tokens(Ticket ticket) { return results_.at(ticket).value().tokens; }
  std::string error(Ticket ticket) { return results_.at(ticket).error().message; }

  ScriptedBackend backend_;
  KvCache kv_;
  std::map<Ticket, Result<Generation>> results_;
};

TEST_F(SchedulerTest, PromptsAndAnswersShareAPass) {
  Scheduler scheduler(backend_, kv_);
  const Ticket a = submit(scheduler, request(20, 6)), b = submit(scheduler, request(30, 6));
  EXPECT_TRUE(scheduler.step().ok());  // all of the first and the beginning of the second
  EXPECT_EQ(backend_.passes.back(), 32U);
  EXPECT_EQ(scheduler.stats().decoding, 1);
  EXPECT_EQ(scheduler.stats().prefilling, 1);
  EXPECT_TRUE(scheduler.step().ok());  // a row of the first answer, the rest of the second prompt
  EXPECT_EQ(backend_.passes.back(), 1U + 18U);
  const Ticket c = submit(scheduler, request(5, 2));
  EXPECT_TRUE(scheduler.step().ok());
  EXPECT_EQ(backend_.passes.back(), 2U + 5U) << "one that comes later joins";
  EXPECT_EQ(scheduler.stats().last_prompt_rows, 5);
  run(scheduler);
  EXPECT_EQ(tokens(a), expected(prompt(20), 6));
  EXPECT_EQ(tokens(b), expected(prompt(30), 6));
  EXPECT_EQ(tokens(c), expected(prompt(5), 2));
  EXPECT_EQ(kv_.used(), 0);
  EXPECT_EQ(scheduler.stats().finished, 3);
  EXPECT_EQ(scheduler.stats().generated_tokens, 14);
}

TEST_F(SchedulerTest, AnErrorEndsItsOwnRequestOnly) {
  Scheduler scheduler(backend_, kv_);
  const Ticket good = submit(scheduler, request(5, 20));
  const Ticket empty = submit(scheduler, request(0, 3)), too_long = submit(scheduler, request(kScriptedContext, 3));
  Request bad = request(4, 3);
  bad.options.sampler.top_p = 7;
  const Ticket setting = submit(scheduler, bad);
  bad = request(4, 3);
  bad.prompt[2] = kScriptedVocab;
  const Ticket token = submit(scheduler, bad);
  bad = request(4, 3);
  bad.top_logprobs = 21;
  const Ticket logprobs = submit(scheduler, bad);
  EXPECT_TRUE(scheduler.step().ok());
  EXPECT_NE(error(empty).find("empty"), std::string::npos);
  EXPECT_NE(error(too_long).find("100 tokens"), std::string::npos);
  EXPECT_NE(error(setting).find("top-p"), std::string::npos);
  EXPECT_NE(error(token).find("token 50"), std::string::npos);
  EXPECT_NE(error(logprobs).find("21"), std::string::npos);
  run(scheduler);
  EXPECT_EQ(tokens(good), expected(prompt(5), 20));
}

TEST_F(SchedulerTest, AFailedPassEndsTheRequestsInItAndNoOthers) {
  Scheduler scheduler(backend_, kv_, {.max_running = 2});
  const Ticket a = submit(scheduler, request(5, 20)), b = submit(scheduler, request(6, 20));
  const Ticket later = submit(scheduler, request(7, 4));
  backend_.fail_at_position = 9;
  while (results_.empty()) (void)scheduler.step();
  EXPECT_EQ(error(a), "scripted failure");
  EXPECT_EQ(error(b), "scripted failure");
  backend_.fail_at_position = -1;
  run(scheduler);
  EXPECT_EQ(tokens(later), expected(prompt(7), 4));
  EXPECT_EQ(kv_.used(), 0);
}

TEST_F(SchedulerTest, CancellingTakesEffectAtTheNextStep) {
  Scheduler scheduler(backend_, kv_, {.max_running = 1});
  const Ticket running = submit(scheduler, request(5, 50)), waiting = submit(scheduler, request(5, 50));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(scheduler.step().ok());
  scheduler.cancel(running);
  scheduler.cancel(waiting);
  scheduler.cancel(999);
  EXPECT_TRUE(results_.empty());
  EXPECT_TRUE(scheduler.step().ok());
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(tokens(running), expected(prompt(5), 4));
  EXPECT_EQ(results_.at(running)->reason, FinishReason::kCancelled);
  EXPECT_TRUE(tokens(waiting).empty());
  EXPECT_EQ(kv_.used(), 0);
  scheduler.cancel(running);
}

TEST_F(SchedulerTest, CallbacksMaySubmitAndCancel) {
  Scheduler scheduler(backend_, kv_);
  const Ticket other = submit(scheduler, request(4, 50));
  Ticket second = 0;
  Request first = request(6, 5);
  first.on_token = [&](NewToken token) {
    if (token.id == expected(prompt(6), 2).back()) scheduler.cancel(other);
    return Next::kContinue;
  };
  scheduler.submit(first, [&](const Result<Generation>&) { second = submit(scheduler, request(9, 3)); });
  run(scheduler);
  EXPECT_EQ(tokens(second), expected(prompt(9), 3));
  EXPECT_EQ(tokens(other), expected(prompt(4), 2));
}

// A prompt that comes while others decode is run in small parts, as long as a pass with more would take too long.
TEST_F(SchedulerTest, ALongPromptDoesNotStopTheOthers) {
  backend_.most_rows = 128;
  const auto costs =
      std::make_shared<PassCosts>(PassCosts::through(std::array<PassCosts::Point, 2>{{{1, 0.010}, {101, 0.110}}}));
  Scheduler scheduler(backend_, kv_, {.step_seconds = 0.05, .costs = costs});
  submit(scheduler, request(5, 40));
  EXPECT_TRUE(scheduler.step().ok());
  submit(scheduler, request(90, 2));
  EXPECT_TRUE(scheduler.step().ok());
  EXPECT_LE(backend_.passes.back(), 42U);
  EXPECT_GE(backend_.passes.back(), 17U);
  Scheduler alone(backend_, kv_, {.step_seconds = 0.05, .costs = costs});
  submit(alone, request(90, 2));
  EXPECT_TRUE(alone.step().ok());
  EXPECT_EQ(backend_.passes.back(), 90U) << "nobody waits for it";
}

TEST_F(SchedulerTest, TopLogprobsAreThoseOfTheUnmodifiedLogits) {
  Scheduler scheduler(backend_, kv_);
  Request asked = request(4, 3);
  asked.options.sampler = {.temperature = 0.3F, .top_k = 1, .logit_bias = {{7, 100.0F}}};
  asked.top_logprobs = 3;
  const TokenId best = expected(prompt(4), 1)[0];
  int shown = 0;
  asked.on_token = [&](const NewToken& token) {
    EXPECT_EQ(token.id, 7);
    EXPECT_EQ(token.top.size(), 3U);
    const double sum = std::exp(10.0) + kScriptedVocab - 1;
    EXPECT_NEAR(token.logprob, -std::log(sum), 1e-5);
    if (shown++ == 0) {
      EXPECT_EQ(token.top[0].token, best);
    }
    EXPECT_NEAR(token.top[0].logprob, 10 - std::log(sum), 1e-5);
    EXPECT_EQ(token.top[1].token, token.top[0].token == 0 ? 1 : 0) << "of equal ones the smaller id first";
    EXPECT_NEAR(token.top[1].logprob, -std::log(sum), 1e-5);
    return Next::kContinue;
  };
  const Ticket ticket = submit(scheduler, asked);
  run(scheduler);
  EXPECT_EQ(tokens(ticket), (std::vector<TokenId>{7, 7, 7}));
}

TEST(Logprobs, LargeLogitsDoNotOverflow) {
  const std::vector<float> logits = {1000, 999, -1000};
  const double log_sum = log_sum_exp(logits);
  EXPECT_NEAR(log_sum, 1000 + std::log1p(std::exp(-1.0)), 1e-9);
  const std::vector<TokenLogprob> top = top_logprobs(logits, log_sum, 5);
  ASSERT_EQ(top.size(), 3U);
  EXPECT_NEAR(top[0].logprob, -std::log1p(std::exp(-1.0)), 1e-6);
  EXPECT_EQ(top[2].token, 2);
}

TEST_F(SchedulerTest, RowsOfAPromptAreScoredInOrder) {
  Scheduler scheduler(backend_, kv_);
  Request asked = request(90, 0);
  asked.score_from = 13;
  std::vector<int> positions;
  asked.on_row = [&](const RowOutput& row) {
    positions.push_back(row.position);
    const auto best = std::max_element(row.logits.begin(), row.logits.end()) - row.logits.begin();
    EXPECT_EQ(best, ScriptedBackend::next(prompt(90)[usize(row.position)], row.position));
  };
  submit(scheduler, asked);
  run(scheduler);
  std::vector<int> all(77);
  std::iota(all.begin(), all.end(), 13);
  EXPECT_EQ(positions, all);
}

// ---- The prefix cache ----------------------------------------------------------------------------------------------

TEST_F(SchedulerTest, WhatWasRunIsNotRunAgain) {
  Scheduler scheduler(backend_, kv_, {.cache_bytes = 1 << 24});
  const auto again = [&](int n_prompt, const std::string& key, bool use) {
    Request asked = request(n_prompt, 8);
    asked.cache_key = key;
    asked.use_cache = use;
    const size_t before = backend_.seen.size();
    const Ticket ticket = submit(scheduler, asked);
    run(scheduler);
    EXPECT_EQ(tokens(ticket), expected(prompt(n_prompt), 8));
    EXPECT_EQ(results_.at(ticket)->timings.cached_tokens,
              n_prompt + 7 - static_cast<int>(backend_.seen.size() - before));
    return results_.at(ticket)->timings.cached_tokens;
  };
  EXPECT_EQ(again(30, "", true), 0);
  EXPECT_EQ(again(30, "", true), 29) << "the last token's row decides the first of the answer";
  EXPECT_EQ(again(20, "", true), 19);
  EXPECT_EQ(again(40, "", true), 30) << "the answer was not the prompt's continuation";
  EXPECT_EQ(again(30, "other", true), 0);
  EXPECT_EQ(again(30, "", false), 0);
  EXPECT_GT(scheduler.stats().cached_tokens, 0);
  EXPECT_EQ(scheduler.stats().cached_prompt_tokens, 29 + 19 + 30);
}

TEST_F(SchedulerTest, ADialogueRunsOnlyWhatIsNew) {
  Scheduler scheduler(backend_, kv_, {.cache_bytes = 1 << 24});
  const Ticket first = submit(scheduler, request(30, 8));
  run(scheduler);
  Request next = request(30, 4);
  next.prompt.insert(next.prompt.end(), tokens(first).begin(), tokens(first).end());
  next.prompt.push_back(3);
  const std::vector<TokenId> right = expected(next.prompt, 4);
  const Ticket second = submit(scheduler, next);
  run(scheduler);
  EXPECT_EQ(results_.at(second)->timings.cached_tokens, 37);
  EXPECT_EQ(tokens(second), right);
}

// ---- Memory --------------------------------------------------------------------------------------------------------

class SmallPool : public SchedulerTest {
 protected:
  SmallPool() : SchedulerTest(192) {}  // three pages
};

TEST_F(SmallPool, TheYoungestGivesUpItsMemoryAndItsTextStaysTheSame) {
  Scheduler scheduler(backend_, kv_);
  std::vector<Ticket> all;
  for (int i = 0; i < 4; ++i) {
    Request asked = request(10 + i, 80);
    asked.options.sampler = {.temperature = 5, .seed = 3};
    asked.options.stream = static_cast<uint64_t>(i);
    all.push_back(submit(scheduler, asked));
  }
  run(scheduler);
  EXPECT_GT(scheduler.stats().preemptions, 0);
  EXPECT_EQ(kv_.used(), 0);
  for (int i = 0; i < 4; ++i) {
    const KvSequence seq = kv_.add_sequence();
    const DecodeOptions options{
        .sampler = {.temperature = 5, .seed = 3}, .max_tokens = 80, .stream = static_cast<uint64_t>(i)};
    EXPECT_EQ(tokens(all[usize(i)]), generate(backend_, kv_, seq, prompt(10 + i), options).value().tokens) << i;
  }
}

TEST_F(SmallPool, OneThatCannotFitAloneHasItsOwnError) {
  const KvSequence foreign = kv_.add_sequence();
  ASSERT_TRUE(kv_.reserve(foreign, 128).ok());
  kv_.commit(foreign, 128);
  Scheduler scheduler(backend_, kv_);
  const Ticket large = submit(scheduler, request(70, 3)), grows = submit(scheduler, request(60, 30));
  const Ticket small = submit(scheduler, request(20, 3));
  run(scheduler);
  EXPECT_NE(error(large).find("KV cache is full"), std::string::npos);
  EXPECT_NE(error(grows).find("KV cache is full"), std::string::npos);
  EXPECT_EQ(tokens(small), expected(prompt(20), 3));
}

TEST_F(SmallPool, TwoLongPromptsDoNotBlockOneAnother) {
  backend_.most_rows = 16;
  Scheduler scheduler(backend_, kv_);
  std::vector<Ticket> all;
  for (int i = 0; i < 3; ++i) all.push_back(submit(scheduler, request(95 + i, 3)));
  run(scheduler);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(tokens(all[usize(i)]), expected(prompt(95 + i), 3)) << i;
}

// ---- Constraints ---------------------------------------------------------------------------------------------------

// A set of tokens at every place; from place `force_from` on a fixed text is forced, and then nothing may follow.
class TestConstraint : public Constraint {
 public:
  using Allows = std::function<bool(const std::vector<TokenId>& before, TokenId token)>;
  explicit TestConstraint(Allows allows) : allows_(std::move(allows)) {}

  bool allowed(std::span<uint32_t> mask) override {
    std::fill(mask.begin(), mask.end(), 0U);
    for (const TokenId token : next()) mask[usize(token) / 32] |= 1U << (usize(token) % 32);
    return true;
  }
  bool push(TokenId token) override {
    if (!allows_(pushed, token)) return false;
    pushed.push_back(token);
    return true;
  }
  void pop(int count) override { pushed.resize(pushed.size() - usize(count)); }
  void forced(int most, std::vector<TokenId>& out) override {
    out.clear();
    while (isize(out) < most) {
      const std::vector<TokenId> choices = next();
      if (choices.size() != 1) break;
      out.push_back(choices[0]);
      pushed.push_back(choices[0]);
    }
    pop(isize(out));
  }

  std::vector<TokenId> pushed;

 private:
  std::vector<TokenId> next() const {
    std::vector<TokenId> out;
    for (TokenId token = 0; token < kScriptedVocab; ++token) {
      if (allows_(pushed, token)) out.push_back(token);
    }
    return out;
  }
  Allows allows_;
};

bool even(const std::vector<TokenId>&, TokenId token) {
  return token % 2 == 0;
}
// Free tokens below 30, but after each that is divisible by five the text 41, 42, 43 is forced; 60 tokens at most.
bool sometimes_forced(const std::vector<TokenId>& before, TokenId token) {
  if (before.size() >= 60) return false;
  const TokenId last = before.empty() ? 1 : before.back();
  if (last >= 41 && last < 43) return token == last + 1;
  if (last % 5 == 0) return token == 41;
  return token < 30;
}

// Right as far as the unmasked model goes, which the constraint then cuts, and a sibling that may be right.
DraftTree eager(const DraftInput& input, const DraftLimits& limits) {
  DraftTree tree;
  TokenId token = input.tokens.back();
  for (int i = 0; i < std::min(5, std::min(limits.nodes / 2, limits.depth)); ++i) {
    const int parent = tree.empty() ? -1 : isize(tree) - 2;
    token = ScriptedBackend::next(token, isize(input.tokens) - 1 + i);
    tree.push_back({token, parent, 0.5F});
    tree.push_back({(token + 1) % kScriptedVocab, parent, 0.4F});
  }
  return tree;
}

class Constrained : public SchedulerTest, public testing::WithParamInterface<float> {
 protected:
  Result<Generation> answer(const TestConstraint::Allows& allows, std::shared_ptr<Speculator> speculator,
                            const OnToken& on_token = {}) {
    Scheduler scheduler(backend_, kv_);
    Request asked = request(6, 70);
    asked.options.sampler = {.temperature = GetParam(), .seed = 12};
    constraint_ = std::make_shared<TestConstraint>(allows);
    asked.options.constraint = constraint_;
    asked.speculator = std::move(speculator);
    asked.on_token = on_token;
    const Ticket ticket = submit(scheduler, asked);
    run(scheduler);
    Result<Generation> result = results_.at(ticket);
    results_.clear();
    return result;
  }
  // The rule, without a scheduler: mask, choose, go on.
  std::vector<TokenId> by_hand(const TestConstraint::Allows& allows) const {
    std::vector<TokenId> text = prompt(6), answer;
    const Sampler sampler({.temperature = GetParam(), .seed = 12});
    while (answer.size() < 70) {
      std::vector<float> logits(kScriptedVocab, 0.0F);
      logits[usize(ScriptedBackend::next(text.back(), isize(text) - 1))] = 10;
      bool any = false;
      for (TokenId token = 0; token < kScriptedVocab; ++token) {
        if (allows(answer, token))
          any = true;
        else
          logits[usize(token)] = -std::numeric_limits<float>::infinity();
      }
      if (!any) break;
      answer.push_back(sampler.sample(logits, text, 0, isize(text)));
      text.push_back(answer.back());
    }
    return answer;
  }

  std::shared_ptr<TestConstraint> constraint_;
};

TEST_P(Constrained, TheTextIsThatOfMaskedPlainDecoding) {
  for (const TestConstraint::Allows& allows :
       {TestConstraint::Allows(even), TestConstraint::Allows(sometimes_forced)}) {
    const std::vector<TokenId> right = by_hand(allows);
    EXPECT_EQ(answer(allows, nullptr)->tokens, right);
    EXPECT_EQ(constraint_->pushed, right) << "only decided tokens stay pushed";
    const Result<Generation> drafted = answer(allows, std::make_shared<ScriptedSpeculator>(eager));
    EXPECT_EQ(drafted->tokens, right);
    EXPECT_EQ(constraint_->pushed, right);
    EXPECT_GT(drafted->spec.num_accepted_tokens, 0);
    std::shared_ptr<Speculator> suffix = make_fixed_speculator(make_suffix_drafter(), 6);
    EXPECT_EQ(answer(allows, suffix)->tokens, right);
  }
}

TEST_P(Constrained, ForcedTokensAreFreeDrafts) {
  int forced = 0;
  const auto count = [&forced](NewToken token) {
    EXPECT_EQ(token.drafted, !token.source.empty());
    if (token.source == "grammar") {
      ++forced;
      EXPECT_EQ(token.probability, 1);
      EXPECT_GE(token.id, 41);
    }
    return Next::kContinue;
  };
  const Result<Generation> g = answer(sometimes_forced, nullptr, count);
  EXPECT_GT(forced, 10);
  EXPECT_EQ(g->spec.num_accepted_tokens, forced);
  EXPECT_EQ(g->spec.num_accepted_tokens, g->spec.num_draft_tokens) << "none of them was wrong";
  EXPECT_EQ(g->tokens.size(), 60U);
  EXPECT_EQ(g->reason, FinishReason::kStop) << "nothing may follow";
}

INSTANTIATE_TEST_SUITE_P(Temperature, Constrained, testing::Values(0.0F, 4.0F),
                         [](const auto& info) { return info.index == 0 ? "greedy" : "drawn"; });

// ---- Masks that ride in the full pass ------------------------------------------------------------------------------

// Two masks behind every row that is verified; checks that it sees those behind the row that chose the last token.
class RidingSpeculator : public Speculator {
 public:
  bool needs_state() const override { return false; }
  Status propose(const DraftInput& input, const DraftLimits& limits, const RoundLoad&, Proposal& proposal) override {
    if (observed_) {
      EXPECT_EQ(position_, isize(input.tokens) - 2);
    }
    observed_ = false;
    proposal.clear();
    DraftTree tree = eager(input, {.nodes = limits.nodes / 3 - 1, .depth = limits.depth});
    proposal.tree = tree;
    proposal.chances.assign(tree.size(), 0.9);
    proposal.rider_adapter = reinterpret_cast<const PackedAdapter*>(this);  // the backend never looks
    proposal.riders_want_hidden = true;
    for (int node = -1; node < isize(tree); ++node) proposal.riders.push_back({node, 2});
    return Ok();
  }
  // The scripted hidden state of a row is its token and its position.
  void observe_riders(const PassOutput& riders) override {
    ASSERT_EQ(riders.logits.size(), 2U * kScriptedVocab);
    ASSERT_EQ(riders.hidden.size(), 2U * 64);
    EXPECT_EQ(riders.hidden[0], -1);
    EXPECT_EQ(riders.hidden[64], -2);
    EXPECT_EQ(riders.hidden[65], riders.hidden[1] + 1);
    position_ = static_cast<int>(riders.hidden[1]) - 1;
    observed_ = true;
    ++seen;
  }
  void learn(const DraftTree&, const RoundResult&) override {}
  size_t extra_bytes() const override { return 0; }

  int seen = 0;

 private:
  bool observed_ = false;
  int position_ = 0;
};

// A backend far away: it keeps logits that it may keep.
class KeepingBackend : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  Result<PassOutput> run(const Block& block, KvCache& kv) override {
    auto out = ForwardingBackend::run(block, kv);
    if (!out.ok() || !block.keep_logits) return out;
    ++kept;
    logits_.assign(out->logits.begin(), out->logits.end());
    return PassOutput{.hidden = out->hidden, .kept = isize(logits_) / kScriptedVocab};
  }
  bool keeps_logits() const override { return true; }
  Status choose(const LogitRows& rows, const ChoiceAsk& ask, Choices& out) override {
    EXPECT_TRUE(rows.logits.empty());
    if (fails) return Error{"no choice today"};
    const auto kept_rows = std::span<const float>(logits_).subspan(usize(rows.first) * kScriptedVocab);
    return Backend::choose({.logits = kept_rows.first(usize(rows.rows) * kScriptedVocab), .rows = rows.rows}, ask, out);
  }

  int kept = 0;  // passes
  bool fails = false;

 private:
  std::vector<float> logits_;
};

TEST_F(SchedulerTest, TokensAreTheSameWhereLogitsAreKept) {
  backend_.logits_after = [](TokenId token) {
    std::vector<float> logits;
    for (int i = 0; i < kScriptedVocab; ++i) logits.push_back(static_cast<float>((token * 7 + i * 13) % 19) / 4);
    return logits;
  };
  KeepingBackend keeping(backend_);
  const std::vector<SamplerOptions> samplers = {
      {}, {.temperature = 1, .top_k = 8, .seed = 3}, {.temperature = 0.7F, .top_k = 5, .top_p = 0.9F, .seed = 4}};
  std::vector<Ticket> plain, kept;
  Scheduler near(backend_, kv_), far(keeping, kv_);
  for (const SamplerOptions& sampler : samplers) {
    Request asked = request(6, 20);
    asked.options.sampler = sampler;
    plain.push_back(submit(near, asked));
    run(near);
    kept.push_back(submit(far, asked));
  }
  run(far);
  EXPECT_GE(keeping.kept, 20);
  for (size_t i = 0; i < samplers.size(); ++i) EXPECT_EQ(tokens(kept[i]), tokens(plain[i])) << i;
  keeping.kept = 0;
  Request whole = request(6, 5);
  whole.options.sampler = {.temperature = 1};
  submit(far, whole);
  submit(far, request(5, 5));
  run(far);
  EXPECT_EQ(keeping.kept, 0) << "one of them needs all logits";
  keeping.fails = true;
  const Ticket failed = submit(far, request(5, 5));
  EXPECT_FALSE(far.step().ok());
  EXPECT_EQ(error(failed), "no choice today");
}

TEST_F(SchedulerTest, RidersAreSeenBehindTheRowThatChoseTheLastToken) {
  Scheduler scheduler(backend_, kv_);
  const auto one = std::make_shared<RidingSpeculator>(), two = std::make_shared<RidingSpeculator>();
  Request a = request(7, 60), b = request(9, 50);
  a.speculator = one;
  b.speculator = two;
  const Ticket first = submit(scheduler, a), second = submit(scheduler, b), third = submit(scheduler, request(5, 9));
  run(scheduler);
  EXPECT_EQ(tokens(first), expected(prompt(7), 60));
  EXPECT_EQ(tokens(second), expected(prompt(9), 50));
  EXPECT_EQ(tokens(third), expected(prompt(5), 9));
  EXPECT_EQ(one->seen + 1, results_.at(first)->spec.num_rounds) << "all but the last round";
  EXPECT_GT(results_.at(first)->spec.num_accepted_tokens, 5);
}

}  // namespace
}  // namespace s3d
