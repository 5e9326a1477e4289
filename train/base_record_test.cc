#include "train/base_record.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <random>

#include "base/test_folder.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

RecordFormat small_format() {
  return {.fingerprint = 7, .n_layers = 4, .n_kv_heads = 1, .head_dim = 2, .layers = {1, 1}, .soft = 2};
}

BaseRecord small_record(int length, uint16_t first) {
  const RecordFormat format = small_format();
  BaseRecord record;
  record.kv.resize(static_cast<size_t>(format.kv_halfs(length)));
  std::iota(record.kv.begin(), record.kv.end(), first);
  record.soft_tokens.assign(static_cast<size_t>(format.soft_numbers(length)), 5);
  record.soft_probabilities.assign(record.soft_tokens.size(), 6);
  return record;
}

TEST(BaseRecord, ComesBack) {
  const TestFolder folder;
  const std::string path = folder / "text.jsonl.records";
  std::vector<int64_t> at;
  for (int run = 0; run < 2; ++run) {  // the second run appends
    RecordWriter writer;
    ASSERT_TRUE(writer.open(path, small_format()).ok());
    const auto place = writer.append(small_record(3 + run, static_cast<uint16_t>(100 * run)));
    ASSERT_TRUE(place.ok()) << place.error().message;
    at.push_back(*place);
  }
  auto reader = RecordReader::open(path, small_format());
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  for (int run : {1, 0}) {
    const auto record = reader->read(at[static_cast<size_t>(run)], 3 + run);
    ASSERT_TRUE(record.ok()) << record.error().message;
    EXPECT_EQ(record->kv, small_record(3 + run, static_cast<uint16_t>(100 * run)).kv);
    EXPECT_EQ(record->soft_tokens.size(), static_cast<size_t>(2 * (3 + run)));
  }
  EXPECT_FALSE(reader->read(at[1], 5).ok());  // longer than the file
  RecordFormat other = small_format();
  other.layers.last = 2;
  EXPECT_FALSE(RecordReader::open(path, other).ok());
  RecordWriter writer;
  EXPECT_FALSE(writer.open(path, other).ok());
  std::filesystem::remove(path);
  const auto missing = RecordReader::open(path, small_format());
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message.find("is missing"), std::string::npos) << missing.error().message;
}

TEST(TopTokens, AreTheMostProbable) {
  const std::vector<float> logits = {0, 3, -50, 2, 1};
  std::vector<int32_t> tokens(5);
  std::vector<float> probabilities(5);
  const float log_sum = torch::logsumexp(torch::tensor(logits), 0).item<float>();
  top_tokens(logits, log_sum, tokens, probabilities);
  EXPECT_THAT(tokens, testing::ElementsAre(1, 3, 4, 0, 0));  // the fifth is too improbable
  EXPECT_NEAR(probabilities[0], std::exp(3 - log_sum), 1e-6);
  EXPECT_EQ(probabilities[4], 0);
}

TEST(TopTokens, AreThoseOfASort) {
  constexpr size_t kCount = 16;
  std::mt19937 rng(1);
  for (const size_t count : {1, 15, 63, 64, 65, 1000, 4096}) {
    std::vector<float> logits(count);
    for (float& logit : logits) logit = static_cast<float>(rng() % 200) / 10;  // many are equal
    std::vector<int32_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    order.resize(kCount);
    std::vector<int32_t> tokens(kCount);
    std::vector<float> probabilities(kCount);
    top_tokens(logits, 0, tokens, probabilities);
    EXPECT_EQ(tokens, order) << count;
  }
}

}  // namespace
}  // namespace s3d::train
