#include "cli/bench_spec_report.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace s3d::cli {
namespace {

SpecBenchPage page() {
  SpecBenchResult result;
  result.plain = {.name = "off", .peak_bytes = 100U << 20U};
  result.plain.all = {.category = "", .prompts = 4, .tokens = 100, .seconds = 1, .tps = 100, .speedup = 1};
  result.plain.categories = {{.category = "a", .prompts = 2, .tps = 90},
                             {.category = "b \"c\"", .prompts = 2, .tps = 110}};
  DrafterResult drafter = {.name = "x<y", .extra_bytes = 2U << 20U, .peak_bytes = 102U << 20U};
  drafter.training = {.core_seconds = 7200, .anchors = 5000, .device = std::nullopt};
  drafter.all = {.category = "", .prompts = 4, .tokens = 100, .seconds = 0.5, .tps = 200, .speedup = 2};
  drafter.all.stats.num_rounds = 40;
  drafter.all.stats.num_drafts = 30;
  drafter.all.stats.reached_by_depth = {30, 20};
  drafter.all.stats.accepted_by_depth = {20, 10};
  drafter.all.stats.draft_seconds = 0.1;
  drafter.all.stats.verify_seconds = 0.35;
  drafter.categories = {{.category = "a", .prompts = 2, .speedup = 1.5},
                        {.category = "b \"c\"", .prompts = 2, .speedup = 3}};
  result.drafters.push_back(drafter);
  return {.model = "dir/m.gguf",
          .threads = 2,
          .backend = "cpu",
          .isa = "avx2",
          .devices = {{.device = "avx2", .on_card = false, .first_layer = 0, .end_layer = 2, .weight_bytes = 9},
                      {.device = "card, new", .on_card = true, .first_layer = 2, .end_layer = 5, .weight_bytes = 7}},
          .prompts = "p",
          .max_tokens = 8,
          .runs = {{.temperature = 0, .result = result}}};
}

TEST(BenchSpecReportTest, TheJsonHasEveryFigure) {
  const Json json = spec_page_json(page());
  const Json& drafter = json["drafters"][0];
  EXPECT_EQ(drafter["speedup"], 2);
  EXPECT_EQ(drafter["gain_per_mib"], 0.5);  // (2 - 1) / 2 MiB
  EXPECT_EQ(drafter["tokens_per_round"], 2.5);
  EXPECT_DOUBLE_EQ(drafter["draft_share"], 0.2);
  EXPECT_DOUBLE_EQ(drafter["verify_share"], 0.7);
  EXPECT_EQ(drafter["training"]["anchors"], 5000);
  EXPECT_TRUE(drafter["training"]["device"].is_null());
  EXPECT_EQ(drafter["categories"]["a"]["speedup"], 1.5);
  EXPECT_EQ(json["plain_categories"]["a"], 90);
  EXPECT_EQ(json["devices"][0]["layers"], 2);
  EXPECT_FALSE(json["devices"][0]["lm_head"]);
  EXPECT_EQ(json["devices"][1]["device"], "card, new");
  EXPECT_EQ(json["devices"][1]["first_layer"], 2);
  EXPECT_TRUE(json["devices"][1]["lm_head"]);
}

TEST(BenchSpecReportTest, SeveralTemperaturesAreSeveralRuns) {
  SpecBenchPage two = page();
  two.runs.push_back(two.runs[0]);
  two.runs[1].temperature = 1;
  two.runs[1].result.same_tokens = false;
  EXPECT_FALSE(two.same_tokens());
  EXPECT_EQ(spec_page_json(two)["runs"].size(), 2U);
  EXPECT_EQ(spec_page_json(two)["runs"][1]["temperature"], 1);
  EXPECT_NE(spec_markdown(two).find("TOKENS DIFFER"), std::string::npos);
}

TEST(BenchSpecReportTest, TheTableOfTheCsvIsWhole) {
  const std::string csv = spec_csv(page());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 2 * 3);  // head; two drafters, all and two tasks each
  const std::string head = csv.substr(0, csv.find('\n'));
  for (size_t from = 0, to = 0; (to = csv.find('\n', from)) != std::string::npos; from = to + 1) {
    const std::string line = csv.substr(from, to - from);
    const auto in_a_name = line == head ? 0 : 1;  // of the last column
    EXPECT_EQ(std::count(line.begin(), line.end(), ','), std::count(head.begin(), head.end(), ',') + in_a_name) << line;
  }
  EXPECT_NE(csv.find("\"b \"\"c\"\"\""), std::string::npos);
}

TEST(BenchSpecReportTest, ThePageSaysWhatTheJsonSays) {
  const std::string text = spec_markdown(page());
  EXPECT_NE(text.find("| x<y | 200.0 | 2.000 (0.00 to 0.00) | 2.50 | 0.67 0.50 | 20 %, 70 % | 2.0 MiB | 102.0 MiB | "
                      "0.5000 | 2.0 core hours, 5000 anchors |"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("| a | 2 | 90.0 | 1.500 |"), std::string::npos) << text;
  EXPECT_NE(text.find("layers 0 to 1 on avx2 (0.0 MiB); 2 to 4 and the LM head on card, new"), std::string::npos)
      << text;
  EXPECT_NE(text.find("same tokens as plain decoding"), std::string::npos);
}

TEST(BenchSpecReportTest, WhatTakesNoMemoryHasNoGainForIt) {
  EXPECT_FALSE((DrafterResult{.name = "lookup", .extra_bytes = 40}.gain_per_mib()));
}

TEST(BenchSpecReportTest, ThePictureIsADocumentWithBothPanels) {
  const std::string svg = spec_svg(page());
  EXPECT_TRUE(svg.starts_with("<svg"));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  EXPECT_NE(svg.find("extra memory, MiB"), std::string::npos);
  EXPECT_NE(svg.find("x&lt;y"), std::string::npos);
  EXPECT_EQ(svg.find("x<y"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  size_t dots = 0;
  for (size_t at = 0; (at = svg.find("<circle", at)) != std::string::npos; ++at) ++dots;
  EXPECT_EQ(dots, 2U);
}

}  // namespace
}  // namespace s3d::cli
