#include "backend/cuda/memory_plan.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace s3d::cuda {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

// With keys and values, layers of 10, 20 and 30 MiB; 5 MiB beside the last one, 1 MiB of buffers on each card.
CardNeeds some_needs(const LayerRange& range) {
  constexpr size_t kWeights[] = {8 * kMiB, 18 * kMiB, 28 * kMiB};
  CardNeeds needs = {.head = range.end == 3 ? 5 * kMiB : 0, .buffers = kMiB};
  for (int layer = range.first; layer < range.end; ++layer) {
    needs.weights += kWeights[layer];
    needs.kv += 2 * kMiB;
  }
  return needs;
}

std::vector<CardMemory> cards_of(const std::vector<size_t>& mebibytes) {
  std::vector<CardMemory> cards;
  for (const size_t size : mebibytes)
    cards.push_back({std::string(1, static_cast<char>('A' + cards.size())), size * kMiB});
  return cards;
}

std::vector<int> layers(const std::vector<size_t>& mebibytes, int wanted, const std::vector<double>& shares = {}) {
  return divide_layers(some_needs, 3, cards_of(mebibytes), wanted, shares).value().layers;
}

std::string message(const std::vector<size_t>& mebibytes, int wanted, const std::vector<double>& shares = {}) {
  const auto division = divide_layers(some_needs, 3, cards_of(mebibytes), wanted, shares);
  return division.ok() ? "no error" : division.error().message;
}

using Layers = std::vector<int>;

TEST(MemoryPlan, TakesLayersFromTheLastOneDown) {
  EXPECT_EQ(layers({66}, -1), Layers{3});
  EXPECT_EQ(layers({65}, -1), Layers{2});
  EXPECT_EQ(layers({35}, -1), Layers{0});
  EXPECT_EQ(layers({66}, 1), Layers{1});
  EXPECT_EQ(layers({66}, 99), Layers{3});
}

TEST(MemoryPlan, SeveralCards) {
  EXPECT_EQ(layers({66, 66}, -1), (Layers{3, 0})) << "one is enough";
  EXPECT_EQ(layers({20, 66}, -1), (Layers{0, 3})) << "the other is enough";
  EXPECT_EQ(layers({40, 40}, -1), (Layers{2, 1}));
  EXPECT_EQ(layers({31, 36}, -1), (Layers{2, 1})) << "to the last byte";
  EXPECT_EQ(layers({30, 36}, -1), (Layers{1, 1})) << "and the first layer stays on the CPU";
  EXPECT_EQ(layers({21, 36, 20}, -1), (Layers{1, 1, 0})) << "a card too small for the last layer has none";
  EXPECT_EQ(layers({11, 21, 36}, -1), (Layers{1, 1, 1}));
  EXPECT_EQ(divide_layers(some_needs, 3, cards_of({5, 6}), -1).value().last, 1) << "the LM head alone";
}

TEST(MemoryPlan, Shares) {
  EXPECT_EQ(layers({99, 99}, -1, {2, 1}), (Layers{2, 1}));
  EXPECT_EQ(layers({99, 99}, -1, {1, 2}), (Layers{1, 2}));
  EXPECT_EQ(layers({99, 99}, -1, {1, 0}), (Layers{3, 0}));
  EXPECT_EQ(layers({99, 99, 99}, -1, {0, 0.5, 0}), (Layers{0, 3, 0}));
  EXPECT_EQ(layers({99, 99}, 2, {1, 1}), (Layers{1, 1}));
  EXPECT_EQ(layers({99, 36}, -1, {1, 1}), (Layers{2, 1}));
  EXPECT_EQ(divide_layers(some_needs, 3, cards_of({99, 99}), -1, std::vector<double>{1, 0}).value().last, 0);
  EXPECT_EQ(message({99, 99}, -1, {1}),
            "--tensor-split 1: expected 2 shares, one for each card, 0 or more and not all 0");
  EXPECT_NE(message({99, 99}, -1, {0, 0}).find("not all 0"), std::string::npos);
  EXPECT_NE(message({99, 99}, -1, {-1, 2}).find("--tensor-split -1,2"), std::string::npos);
}

TEST(MemoryPlan, SaysHowMuchIsMissingForWhat) {
  EXPECT_EQ(message({50}, 2),
            "device A: 2 of 3 layers need 56.0 MiB (weights 46.0 MiB, keys and values 4.0 MiB, LM head 5.0 MiB, "
            "adapters 0.0 MiB, buffers 1.0 MiB), 6.0 MiB more than the 50.0 MiB that may be used; use fewer "
            "--gpu-layers, a shorter "
            "context or a smaller --kv-type");
  EXPECT_EQ(
      message({1}, -1),
      "device A: the LM head and the buffers alone need 6.0 MiB (weights 0.0 MiB, keys and values 0.0 MiB, LM "
      "head 5.0 MiB, adapters 0.0 MiB, buffers 1.0 MiB), 5.0 MiB more than the 1.0 MiB that may be used; use --backend "
      "cpu");
  EXPECT_NE(message({20, 20}, 3).find("devices A, B: 3 of 3 layers need 67.0 MiB"), std::string::npos)
      << message({20, 20}, 3);
  EXPECT_NE(message({50, 20}, 2).find("do not fit one by one into the 70.0 MiB of all"), std::string::npos)
      << message({50, 20}, 2);
  EXPECT_NE(message({99, 20}, 2, {1, 1}).find("device B (card 1): 1 of 3 layers need 36.0 MiB"), std::string::npos)
      << message({99, 20}, 2, {1, 1});
}

}  // namespace
}  // namespace s3d::cuda
