#include "train/record_store.h"

#include <numeric>

#include "base/test_folder.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

std::vector<int> all_of(const Dataset& data) {
  std::vector<int> all(data.sequences.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Half floats of sums in another order.
void expect_same(const RecordStore& a, const RecordStore& b, const Dataset& data, double tolerance) {
  const std::vector<int> all = all_of(data);
  const int64_t length = data.sequences.back().length();
  for (int layer = 0; layer < 2; ++layer) {
    const LayerKv x = a.context(all, length)(layer), y = b.context(all, length)(layer);
    EXPECT_LE(relative_error(x.keys, y.keys), tolerance) << layer;
    EXPECT_LE(relative_error(x.values, y.values), tolerance) << layer;
  }
  const Tensor positions = torch::arange(length).expand({static_cast<int64_t>(all.size()), length});
  EXPECT_LE(relative_error(a.state(all, positions), b.state(all, positions)), tolerance);
  const auto x = a.soft_targets(all, positions.unsqueeze(2)), y = b.soft_targets(all, positions.unsqueeze(2));
  EXPECT_TRUE(x.tokens.select(-1, 0).equal(y.tokens.select(-1, 0)));
  EXPECT_LE(relative_error(x.probabilities, y.probabilities), tolerance);
}

constexpr double kHalfTolerance = 2e-3;

class RecordStoreTest : public testing::TestWithParam<const char*> {
 protected:
  BaseModel base_ = tiny_base(GetParam());
  Dataset data_ = random_dataset(5, 4, 12, base_.config.vocab_size);  // 16, 17, 18, 16 and 17 tokens
  RecordStoreOptions options_ = {.layers = {1, 1}, .states = RecordStates::kAll, .soft_targets = 4};
};

TEST_P(RecordStoreTest, SequencesThatAreRunTogetherGiveWhatEachAloneGives) {
  const RecordStore alone = RecordStore::build(base_, data_, options_).value();
  std::vector<int> lengths;
  int64_t told = 0;
  options_.tokens_at_once = 34;  // two and two of about the same length, and the longest
  options_.progress = [&](int64_t done, int64_t) { told = done; };
  options_.on_hidden = [&](const Sequence& sequence, const Tensor& hidden) {
    EXPECT_EQ(sequence.length(), hidden.size(0));
    lengths.push_back(sequence.length());
  };
  const RecordStore together = RecordStore::build(base_, data_, options_).value();
  EXPECT_EQ(lengths, (std::vector<int>{16, 16, 17, 17, 18}));
  EXPECT_EQ(told, data_.tokens());
  expect_same(together, alone, data_, kHalfTolerance);
}

TEST_P(RecordStoreTest, AFileHoldsWhatTheMemoryHolds) {
  const TestFolder folder;
  const RecordStore memory = RecordStore::build(base_, data_, options_).value();
  options_.folder = folder / "records";
  bool computed = false;
  options_.progress = [&](int64_t, int64_t) { computed = true; };
  for (const bool first : {true, false}) {
    computed = false;
    expect_same(RecordStore::build(base_, data_, options_).value(), memory, data_, 0);
    EXPECT_EQ(computed, first) << "the second time it only has to be read";
  }
}

TEST_P(RecordStoreTest, BehindTheEndStandsTheLastPosition) {
  const RecordStore store = RecordStore::build(base_, data_, options_).value();
  const LayerKv kv = store.context(std::vector<int>{2, 0}, 18)(1);
  EXPECT_TRUE(kv.keys[1][17].equal(kv.keys[1][15]));
  EXPECT_FALSE(kv.keys[0][17].equal(kv.keys[0][15]));
  const auto soft = store.soft_targets(std::vector<int>{0}, torch::tensor({{{15, 20}}}));
  EXPECT_TRUE(soft.tokens[0][0][0].equal(soft.tokens[0][0][1]));
}

INSTANTIATE_TEST_SUITE_P(Families, RecordStoreTest, testing::Values("llama", "qwen2"));

}  // namespace
}  // namespace s3d::train
