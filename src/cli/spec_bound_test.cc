#include "cli/spec_bound.h"

#include <gtest/gtest.h>

namespace s3d::cli {
namespace {

// 100 tokens of plain decoding in 1.1 seconds, of which the passes take 1; a drafter that needs 50 rounds for them.
SpecBenchResult made_up(double verify, double draft) {
  SpecBenchResult result;
  SpecFigures& plain = result.plain.all;
  plain = {.category = "", .prompts = 1, .tokens = 100, .seconds = 1.1, .tps = 90, .speedup = 1};
  plain.stats.num_rounds = 100;
  plain.stats.verify_seconds = 1;
  DrafterResult drafter;
  drafter.name = "one";
  drafter.all = {
      .category = "", .prompts = 1, .tokens = 100, .seconds = verify + draft + 0.05, .tps = 1, .speedup = 1.5};
  drafter.all.stats.num_rounds = 50;
  drafter.all.stats.num_drafts = 50;
  drafter.all.stats.num_draft_tokens = 150;
  drafter.all.stats.verify_seconds = verify;
  drafter.all.stats.draft_seconds = draft;
  result.drafters.push_back(drafter);
  return result;
}

TEST(SpecBoundTest, PartsAreInOneRowPasses) {
  const SpecBenchResult result = made_up(0.75, 0.25);
  const RoundParts parts = round_parts(result.plain.all, result.drafters[0].all);
  EXPECT_NEAR(parts.tokens, 2, 1e-12);
  EXPECT_NEAR(parts.drafted, 3, 1e-12);
  EXPECT_NEAR(parts.verify, 1.5, 1e-12);
  EXPECT_NEAR(parts.draft, 0.5, 1e-12);
  EXPECT_NEAR(parts.rest, 0.1, 1e-12);
  EXPECT_NEAR(parts.plain, 1.1, 1e-12);
  // The speed-up of the parts is the ratio of the seconds.
  EXPECT_NEAR(parts.speedup(), 1.1 / 1.05, 1e-12);
  EXPECT_NEAR(parts.with_right_drafts(), parts.speedup() * 2, 1e-12);
  EXPECT_NEAR(parts.with_free_drafts(), 1.1 * 2 / 1.6, 1e-12);
  EXPECT_NEAR(parts.with_free_rows(), 1.1 * 2 / 1.6, 1e-12);
}

TEST(SpecBoundTest, TheLineNamesWhatBoundsMost) {
  const auto first_bound = [](const std::string& line) { return line.substr(line.find("What bounds it: ") + 16, 10); };
  SpecBenchResult wide = made_up(3, 0.1), dear = made_up(0.55, 3), wrong = made_up(0.55, 0.05);
  EXPECT_EQ(first_bound(bound_line(wide)), "the rows o");
  EXPECT_EQ(first_bound(bound_line(dear)), "the cost o");
  EXPECT_EQ(first_bound(bound_line(wrong)), "acceptance");
}

TEST(SpecBoundTest, MadeUpDraftersAndThoseThatNeverDraftedAreNotTheBest) {
  SpecBenchResult result = made_up(1, 0.1);
  result.drafters[0].name = "synthetic-1";
  EXPECT_EQ(bound_line(result), "");
  result = made_up(1, 0.1);
  result.drafters[0].all.stats.num_drafts = 0;
  EXPECT_EQ(bound_line(result), "");
  EXPECT_EQ(bound_line({}), "");
}

}  // namespace
}  // namespace s3d::cli
