#include "train/ngrams.h"

#include <gtest/gtest.h>

#include "decode/ngram_table.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

// Ten times: 1 2 3, then a 4 that is followed by 5 after "9 4" and by 6 elsewhere.
Dataset habitual() {
  Dataset data;
  for (int i = 0; i < 20; ++i) {
    data.sequences.push_back({{100, 1, 2, 3, 4, 6, 20 + i, 9, 4, 5, 1, 2, 3, 4, 6}, 1});
  }
  return data;
}

TEST(Ngrams, OneTokenAndTwo) {
  const Ngrams ngrams = count_ngrams(habitual(), {});
  const NgramTable table(ngrams);
  EXPECT_EQ(table.after(50, 1).token, 2);
  EXPECT_EQ(table.after(50, 4).token, 6);
  EXPECT_EQ(table.after(9, 4).token, 5);
  EXPECT_GT(table.after(9, 4).chance, table.after(50, 4).chance);
  EXPECT_EQ(table.after(50, 30).chance, 0);  // came once
  for (const float chance : ngrams.chance) {
    EXPECT_GT(chance, 0);
    EXPECT_LE(chance, 1);
  }
}

// "2 3" says nothing that "3" alone does not say.
TEST(Ngrams, TwoTokensOnlyWhereTheySayMore) {
  const Ngrams ngrams = count_ngrams(habitual(), {});
  for (size_t i = 0; i < ngrams.size(); ++i) EXPECT_FALSE(ngrams.before[i] == 2 && ngrams.last[i] == 3);
}

TEST(Ngrams, PromptsDoNotCountAndFewEntriesAreTheMostFrequent) {
  Dataset data = habitual();
  for (Sequence& sequence : data.sequences) sequence.tokens.insert(sequence.tokens.begin(), {70, 71, 70, 71});
  for (Sequence& sequence : data.sequences) sequence.prompt_length = 5;
  EXPECT_EQ(NgramTable(count_ngrams(data, {})).after(-1, 70).chance, 0);
  const Ngrams two = count_ngrams(data, {.most = 2});
  EXPECT_EQ(two.size(), 2U);
  EXPECT_TRUE(count_ngrams(Dataset{}, {}).size() == 0);
}

// Chances are those of text that was not counted.
TEST(Ngrams, ChancesAreMeasuredOnTextApart) {
  Dataset data = random_dataset(200, 2, 60, 8);
  const Ngrams ngrams = count_ngrams(data, {.least = 1});
  ASSERT_GT(ngrams.size(), 0U);
  double sum = 0;
  for (const float chance : ngrams.chance) sum += chance;
  EXPECT_NEAR(sum / static_cast<double>(ngrams.size()), 1.0 / 8, 0.05);
  EXPECT_NEAR(hit_rate(random_dataset(50, 2, 60, 8, 99), ngrams), 1.0 / 8, 0.04);
}

}  // namespace
}  // namespace s3d::train
