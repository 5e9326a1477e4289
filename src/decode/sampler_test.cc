#include "decode/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "decode/sampler_reference.h"

namespace s3d {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(size_t n, unsigned seed, float spread = 2) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> out(n);
  for (float& v : out) v = normal(rng);
  return out;
}

int32_t greedy(const std::vector<float>& logits) {
  return Sampler(SamplerOptions{}).sample(logits, {}, 0, 0);
}

TEST(SamplerTest, GreedyTakesTheLargestAndTheSmallerIdOfEquals) {
  EXPECT_EQ(greedy({1, 5, 3, 5, 2}), 1);
  std::vector<float> many = random_logits(1000, 3);
  many[777] = many[901] = 100;
  EXPECT_EQ(greedy(many), 777);
}

TEST(SamplerTest, NanAndInfinityAreHarmless) {
  EXPECT_EQ(greedy({kNan, -3, kNan, -2}), 3);
  EXPECT_EQ(greedy({kNan, kNan}), 0);
  EXPECT_EQ(greedy({-kInf, -kInf, -kInf}), 0);
  EXPECT_EQ(greedy({0, kInf, 5}), 1);
  SamplerOptions s{.temperature = 1.5F, .top_k = 3, .top_p = 0.9F, .min_p = 0.01F};
  EXPECT_EQ(Sampler(s).sample(std::vector<float>{kNan, kNan}, {}, 0, 0), 0);
  EXPECT_EQ(Sampler(s).sample(std::vector<float>{0, kInf, 5}, {}, 0, 0), 1);
  s.top_k = 0;
  for (int position = 0; position < 200; ++position) {
    const TokenId token = Sampler(s).sample(std::vector<float>{kNan, 1, -kInf, 1.5F}, {}, 0, position);
    EXPECT_TRUE(token == 1 || token == 3) << token;
  }
}

TEST(SamplerTest, TheBestTokensAloneDecideTheSame) {
  const std::vector<SamplerOptions> all = {{},
                                           {.temperature = 1, .top_k = 1},
                                           {.temperature = 0.8F, .top_k = 40},
                                           {.temperature = 1, .top_k = 12, .top_p = 0.8F},
                                           {.temperature = 1.3F, .top_k = 20, .top_p = 0.95F, .min_p = 0.05F}};
  for (const SamplerOptions& options : all) {
    const Sampler sampler(options);
    const int needed = sampler.needed_best();
    ASSERT_EQ(needed, options.temperature == 0 ? 1 : options.top_k);
    for (unsigned seed = 0; seed < 50; ++seed) {
      std::vector<float> logits = random_logits(300, seed);
      if (seed % 5 == 0) {
        for (float& x : logits) x = std::round(x);  // equals
      }
      if (seed % 7 == 0) std::fill(logits.begin() + 7, logits.end(), -kInf);  // fewer tokens than asked for
      for (const int best : {needed, needed + 3}) {
        Choices choices;
        choices.resize(1, {.best = best});
        choose_row(logits, {.best = best}, 0, choices);
        Sampler::Workspace workspace;
        EXPECT_EQ(sampler.sample_best(choices.row(0), 2, static_cast<int>(seed), workspace),
                  sampler.sample(logits, {}, 2, static_cast<int>(seed)));
      }
    }
  }
  EXPECT_EQ(Sampler({.temperature = 1}).needed_best(), 0);
  EXPECT_EQ(Sampler({.logit_bias = {{1, 2.0F}}}).needed_best(), 0);
  EXPECT_EQ(Sampler({.repetition_penalty = 1.1F}).needed_best(), 0);
}

TEST(SamplerTest, ProbabilitiesEqualThePlainDefinition) {
  const std::vector<SamplerOptions> all = {
      {.temperature = 1},
      {.temperature = 0.7F},
      {.temperature = 50},
      {.temperature = 1, .top_k = 1},
      {.temperature = 1.3F, .top_k = 40},
      {.temperature = 1, .top_k = 100000},
      {.temperature = 0.8F, .top_p = 0.9F},
      {.temperature = 1, .top_p = 0.999F},
      {.temperature = 1, .top_p = 0.01F},
      {.temperature = 1, .min_p = 0.05F},
      {.temperature = 0.9F, .top_k = 50, .top_p = 0.8F, .min_p = 0.02F},
  };
  for (size_t vocab : {size_t{1}, size_t{7}, size_t{700}, size_t{20000}}) {
    const std::vector<float> logits = random_logits(vocab, static_cast<unsigned>(vocab), 6);
    for (size_t i = 0; i < all.size(); ++i) {
      const std::vector<float> got = Sampler(all[i]).probabilities(logits, {});
      const std::vector<double> wanted = slow_probabilities(all[i], logits);
      for (size_t t = 0; t < vocab; ++t) {
        ASSERT_NEAR(got[t], wanted[t], 1e-6 + 1e-5 * wanted[t])
            << "settings " << i << " vocab " << vocab << " id " << t;
      }
    }
  }
}

TEST(SamplerTest, EqualLogitsKeepTheSmallerIdsInTopK) {
  const std::vector<float> logits(100, 1.0F);
  const std::vector<float> p = Sampler({.temperature = 1, .top_k = 3}).probabilities(logits, {});
  for (size_t i = 0; i < p.size(); ++i) EXPECT_FLOAT_EQ(p[i], i < 3 ? 1.0F / 3 : 0.0F) << i;
}

TEST(SamplerTest, DrawsNeverLeaveTheFilteredSet) {
  const std::vector<float> logits = random_logits(5000, 11);
  for (const SamplerOptions& s : {SamplerOptions{.temperature = 2, .top_k = 5},
                                  {.temperature = 2, .top_p = 0.3F},
                                  {.temperature = 2, .min_p = 0.2F}}) {
    const Sampler sampler(s);
    const std::vector<float> p = sampler.probabilities(logits, {});
    for (int position = 0; position < 2000; ++position) {
      const TokenId token = sampler.sample(logits, {}, 1, position);
      ASSERT_GT(p[token], 0) << token;
    }
  }
}

// 40,000 draws at each fixed seed. The seeds were not chosen, and a broken draw lands far above.
TEST(SamplerTest, DrawsFollowTheDistribution) {
  const std::vector<float> logits = random_logits(40, 5, 1);
  for (uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{123456789}, ~uint64_t{0}}) {
    const SamplerOptions settings{.temperature = 0.8F, .seed = seed};
    const Sampler sampler(settings);
    std::vector<int> seen(logits.size(), 0);
    constexpr int kStreams = 20, kPositions = 2000;
    for (uint64_t stream = 0; stream < kStreams; ++stream) {
      for (int position = 0; position < kPositions; ++position) {
        ++seen[sampler.sample(logits, {}, stream, position)];
      }
    }
    ChiSquare test;
    test.add(slow_probabilities(settings, logits), seen);
    EXPECT_EQ(test.freedom(), 39);
    EXPECT_LT(test.statistic(), test.most()) << "seed " << seed;
    EXPECT_GT(test.statistic(), test.least()) << "seed " << seed << ": too regular to be random";
  }
}

TEST(SamplerTest, ADrawDependsOnItsKeyAndNotOnOrder) {
  const std::vector<float> logits = random_logits(300, 9);
  const Sampler sampler({.temperature = 1, .seed = 7});
  std::vector<int32_t> forward, backward(100);
  for (int i = 0; i < 100; ++i) forward.push_back(sampler.sample(logits, {}, 2, i));
  for (int i = 99; i >= 0; --i) backward[i] = sampler.sample(logits, {}, 2, i);
  EXPECT_EQ(forward, backward);
  std::vector<int32_t> other_stream, other_seed;
  for (int i = 0; i < 100; ++i) other_stream.push_back(sampler.sample(logits, {}, 3, i));
  const Sampler reseeded({.temperature = 1, .seed = 8});
  for (int i = 0; i < 100; ++i) other_seed.push_back(reseeded.sample(logits, {}, 2, i));
  EXPECT_NE(forward, other_stream);
  EXPECT_NE(forward, other_seed);
}

TEST(SamplerTest, KeyedUniformIsPhilox) {
  // Known answer of the Random123 distribution for counter 0, key 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
  EXPECT_EQ(keyed_uniform(0, 0, 0), static_cast<double>(0x6627e8d5e169c58dULL >> 11U) * 0x1.0p-53);
  std::set<double> seen;
  for (int i = 0; i < 1000; ++i) {
    const double u = keyed_uniform(1, 2, i);
    EXPECT_GE(u, 0);
    EXPECT_LT(u, 1);
    seen.insert(u);
  }
  EXPECT_EQ(seen.size(), 1000U);
}

TEST(SamplerTest, PenaltiesAndBias) {
  const std::vector<float> logits = {2, 1.9F, -1, 0};
  const std::vector<TokenId> history = {0, 0, 2, -5, 99};
  SamplerOptions s;
  s.repetition_penalty = 2;
  EXPECT_EQ(Sampler(s).sample(logits, history, 0, 0), 1);
  s.penalty_last_n = 2;  // token 0 has left the window
  EXPECT_EQ(Sampler(s).sample(logits, history, 0, 0), 0);
  s.penalty_last_n = 0;
  EXPECT_EQ(Sampler(s).sample(logits, history, 0, 0), 0);
  s = {.temperature = 1,
       .repetition_penalty = 2,
       .presence_penalty = 0.25F,
       .frequency_penalty = 0.5F,
       .penalty_last_n = -1,
       .logit_bias = {{3, 1.0F}, {1, -kInf}}};
  const std::vector<float> p = Sampler(s).probabilities(logits, history);
  const std::vector<double> adjusted = {2.0 / 2 - 0.25 - 2 * 0.5, -INFINITY, -1.0 * 2 - 0.25 - 0.5, 1.0};
  double total = 0;
  for (double v : adjusted) total += std::exp(v);
  for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(p[i], std::exp(adjusted[i]) / total, 1e-6) << i;
}

TEST(SamplerTest, TheWorkspaceCarriesNothingOver) {
  const SamplerOptions s{.temperature = 1, .top_k = 20, .repetition_penalty = 1.3F};
  const Sampler sampler(s);
  Sampler::Workspace shared;
  for (int i = 0; i < 50; ++i) {
    const std::vector<float> logits = random_logits(i % 2 == 0 ? 100 : 400, static_cast<unsigned>(i));
    const std::vector<TokenId> history = {i, i + 1, i};
    EXPECT_EQ(sampler.sample(logits, history, 0, i, shared), sampler.sample(logits, history, 0, i));
  }
}

TEST(SamplerTest, CheckNamesTheSettingAndTheRange) {
  const auto message = [](const SamplerOptions& s) { return s.check(100).error().message; };
  EXPECT_TRUE(SamplerOptions{}.check(100).ok());
  EXPECT_EQ(message({.temperature = -1}), "temperature must be 0 (greedy) or more, got -1");
  EXPECT_NE(message({.temperature = kNan}).find("temperature"), std::string::npos);
  EXPECT_NE(message({.top_k = -1}).find("top-k"), std::string::npos);
  EXPECT_NE(message({.top_p = 0}).find("top-p"), std::string::npos);
  EXPECT_NE(message({.top_p = 1.5F}).find("top-p"), std::string::npos);
  EXPECT_NE(message({.min_p = 2}).find("min-p"), std::string::npos);
  EXPECT_NE(message({.repetition_penalty = 0}).find("repetition"), std::string::npos);
  EXPECT_NE(message({.frequency_penalty = kInf}).find("frequency"), std::string::npos);
  EXPECT_NE(message({.penalty_last_n = -2}).find("repeat-last-n"), std::string::npos);
  EXPECT_NE(message({.logit_bias = {{100, 1}}}).find("vocabulary of 100"), std::string::npos);
}

}  // namespace
}  // namespace s3d
