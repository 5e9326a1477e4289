// tune, and bench spec's pages, through the program.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/test_folder.h"
#include "program_runner.h"

namespace s3d::test {
namespace {

namespace fs = std::filesystem;

Outcome tune(const TestFolder& cache, const std::vector<std::string>& more) {
  std::vector<std::string> all = {"tune", "-m", tiny_model(), "-t", "1", "-n", "6", "--raw"};
  all.insert(all.end(), more.begin(), more.end());
  return run_s3d(all, "", {{"S3D_CACHE", cache.path()}});
}

TEST(CliTuneTest, PredictsAndKeepsWhatItFound) {
  const TestFolder cache;
  EXPECT_EQ(tune(cache, {"--show"}).code, 1);
  const Outcome made = tune(cache, {"--json", "--fused-rates", "0.5,0.4"});
  ASSERT_EQ(made.code, 0) << made.err;
  const auto j = made.json();
  EXPECT_GT(j["plain_tps"], 0);
  EXPECT_FALSE(j["untrained"].empty());
  ASSERT_FALSE(j["plans"].empty());
  for (const auto& plan : j["plans"]) EXPECT_LE(plan["tps"], j["plans"][0]["tps"]);
  EXPECT_EQ(j["best_tps"][0], j["plans"][0]["tps"]);
  EXPECT_TRUE(j["train"].get<std::string>().starts_with("s3d-train adapter -m "));
  const Outcome shown = tune(cache, {"--show"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_NE(shown.out.find("best plan"), std::string::npos) << shown.out;
  for (const auto& entry : fs::directory_iterator(cache / "tune")) EXPECT_EQ(entry.path().extension(), ".json");
}

TEST(CliTuneTest, WhatNoLongerFitsIsNoticed) {
  const TestFolder cache;
  ASSERT_EQ(tune(cache, {}).code, 0);
  const fs::path file = fs::directory_iterator(cache / "tune")->path();
  auto json = nlohmann::json::parse(std::ifstream(file));
  const auto says = [&](const nlohmann::json& changed, const char* part) {
    std::ofstream(file) << changed.dump();
    const Outcome o = tune(cache, {"--show"});
    EXPECT_EQ(o.code, 1);
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  };
  auto other = json;
  other["machine"] = "another processor";
  says(other, "made for 'another processor'");
  other = json;
  other["drafter_file"] = "x 1 2";
  says(other, "the drafter file 'x 1 2'");
  other = json;
  other["version"] = 0;
  says(other, "another version");
  other = json;
  other.erase("chances");
  says(other, "a value is missing");
  other = json;
  other["chances"] = {2};
  says(other, "between 0 and 1");
  says(nlohmann::json(1), "not a tuning");
  std::ofstream(file) << json.dump();
  EXPECT_EQ(tune(cache, {"--show"}).code, 0);
}

TEST(CliTuneTest, TheTrainingOfTheWinnerIsNamed) {
  const TestFolder cache;
  const std::string csv = cache / "t.csv";
  std::ofstream(csv) << "step,acceptance_1,acceptance_2\n1,0.9,0.8\n";
  const Outcome o = tune(cache, {"--train", "--trained", "1+0=" + csv});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.out.find("s3d-train adapter -m "), std::string::npos) << o.out;
  EXPECT_NE(o.out.find("The best plan: "), std::string::npos) << o.out;
  EXPECT_EQ(tune(cache, {"--trained", "x"}).code, 2);
  EXPECT_EQ(tune(cache, {"--fused-rates", "2"}).code, 2);
  EXPECT_EQ(tune(cache, {"-n", "1"}).code, 2);
}

// A trainer that writes down what it was asked, and fails if the text says so.
TEST(CliTuneTest, TheWinnerIsTrained) {
  const TestFolder cache;
  const std::string trainer = cache / "s3d-train", asked = cache / "asked";
  std::ofstream(trainer) << "#!/bin/sh\necho \"$@\" > " << asked << "\ngrep -q good " << (cache / "text.jsonl") << "\n";
  fs::permissions(trainer, fs::perms::owner_all);
  const auto train = [&](const std::string& text, const std::vector<std::string>& more) {
    std::ofstream(cache / "text.jsonl") << text << "\n";
    std::vector<std::string> all = {"tune", "-m", tiny_model(), "-t", "1", "-n", "6", "--raw", "--train"};
    all.insert(all.end(), more.begin(), more.end());
    return run_s3d(all, "", {{"S3D_CACHE", cache.path()}, {"PATH", cache.path() + ":/usr/bin:/bin"}});
  };
  const std::vector<std::string> places = {"--train-data", cache / "text.jsonl", "--train-output", cache / "run"};
  const Outcome good = train("good", places);
  ASSERT_EQ(good.code, 0) << good.err;
  std::ifstream in(asked);
  std::string line;
  std::getline(in, line);
  EXPECT_TRUE(line.starts_with(std::string("adapter -m ") + tiny_model() + " --masks ")) << line;
  EXPECT_TRUE(line.ends_with(" --data " + (cache / "text.jsonl") + " -o " + (cache / "run"))) << line;
  const Outcome bad = train("bad", places);
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.err.find("s3d-train ended with 1"), std::string::npos) << bad.err;
  EXPECT_EQ(train("good", {"--train-output", cache / "run"}).code, 2);
  fs::remove(trainer);
  const Outcome absent = train("good", places);
  EXPECT_EQ(absent.code, 1);
  EXPECT_NE(absent.err.find("s3d-train cannot be started"), std::string::npos) << absent.err;
}

class CliSpecPageTest : public testing::Test {
 protected:
  CliSpecPageTest() {
    std::ofstream(folder_ / "a.jsonl") << R"({"turns": ["the in an the in"]})"
                                       << "\n"
                                       << R"({"turns": ["an the"]})"
                                       << "\n";
    std::ofstream(folder_ / "b.txt") << "the the\n";
  }
  Outcome bench(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"bench", "spec", "-m",        tiny_model(),        "--raw",          "-n", "12",
                                    "-s",    "1",    "--prompts", folder_ / "a.jsonl", folder_ / "b.txt"};
    all.insert(all.end(), more.begin(), more.end());
    return run_s3d(all, "", {{"S3D_CACHE", folder_.path()}});
  }
  TestFolder folder_;
};

TEST_F(CliSpecPageTest, AllDraftersThatTheModelHasGiveTheSameTokens) {
  const Outcome o = bench({"--drafters", "all", "--json", "--temperature", "0,1"});
  ASSERT_EQ(o.code, 0) << o.err;
  const auto runs = o.json()["runs"];
  ASSERT_EQ(runs.size(), 2U);
  for (const auto& run : runs) {
    EXPECT_EQ(run["same_tokens"], true);
    std::vector<std::string> names;
    for (const auto& d : run["drafters"]) {
      names.push_back(d["name"]);
      EXPECT_EQ(d["tokens"], run["drafters"][0]["tokens"]) << d["name"];
      EXPECT_EQ(d["categories"].size(), 2U);
      EXPECT_LE(d["draft_share"].get<double>() + d["verify_share"].get<double>(), 1);
      EXPECT_EQ(d["peak_bytes"].get<int64_t>() - d["extra_bytes"].get<int64_t>(), run["plain_peak_bytes"]);
    }
    EXPECT_EQ(names, (std::vector<std::string>{"auto", "s3d-untrained", "layerskip", "lookup", "suffix"}));
  }
}

TEST_F(CliSpecPageTest, EachTurnIsAPromptOfItsOwn) {
  std::ofstream(folder_ / "turns.jsonl") << R"({"turns": ["the in", "an", "the"]})"
                                         << "\n"
                                         << R"({"turns": ["an"]})"
                                         << "\n";
  const auto prompts_with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = {
        "bench",  "spec",       "-m",     tiny_model(), "--chat-template",      "chatml", "-n", "4",
        "--json", "--drafters", "lookup", "--prompts",  folder_ / "turns.jsonl"};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome o = run_s3d(all, "", {{"S3D_CACHE", folder_.path()}});
    EXPECT_EQ(o.code, 0) << o.err;
    return o.code == 0 ? o.json()["drafters"][0]["prompts"].get<int>() : 0;
  };
  EXPECT_EQ(prompts_with({}), 2);
  EXPECT_EQ(prompts_with({"--turns", "2"}), 3);
  EXPECT_EQ(prompts_with({"--turns", "9"}), 4);
  EXPECT_EQ(bench({"--turns", "2"}).code, 2);  // with --raw
  EXPECT_EQ(bench({"--turns", "0"}).code, 2);
}

TEST_F(CliSpecPageTest, FilesAreWrittenInTheFormatOfTheirEnding) {
  std::vector<std::string> more = {"--drafters", "suffix"};
  for (const char* ending : {"md", "csv", "json", "svg"}) {
    more.emplace_back("-o");
    more.push_back(folder_ / ("page." + std::string(ending)));
  }
  const Outcome o = bench(more);
  ASSERT_EQ(o.code, 0) << o.err;
  const auto content = [&](const char* name) {
    std::ifstream in(folder_ / name);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(content("page.md"), o.out);
  EXPECT_TRUE(content("page.csv").starts_with("temperature,drafter,"));
  EXPECT_EQ(nlohmann::json::parse(content("page.json"))["drafters"][0]["name"], "suffix");
  EXPECT_TRUE(content("page.svg").starts_with("<svg"));
  EXPECT_EQ(bench({"-o", "page.pdf"}).code, 2);
  EXPECT_EQ(bench({"--format", "pdf"}).code, 2);
  EXPECT_EQ(bench({"-o", "/nowhere/page.md"}).code, 1);
}

TEST_F(CliSpecPageTest, MadeUpDraftsAreRightAsOftenAsAsked) {
  const Outcome o = bench({"--drafters", "lookup", "--synthetic-rates", "0,1", "--draft-rows", "3", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const auto j = o.json();
  EXPECT_EQ(j["same_tokens"], true);
  EXPECT_EQ(j["drafters"][1]["name"], "synthetic-0");
  EXPECT_EQ(j["drafters"][1]["num_accepted_tokens"], 0);
  EXPECT_EQ(j["drafters"][2]["name"], "synthetic-1");
  EXPECT_EQ(j["drafters"][2]["num_accepted_tokens"], j["drafters"][2]["num_draft_tokens"]);
  EXPECT_GT(j["drafters"][2]["num_accepted_tokens"], 0);
  const Outcome paced = bench({"--synthetic-rates", "1", "--synthetic-cost", "s3d", "--draft-layers", "1+0", "--json"});
  ASSERT_EQ(paced.code, 0) << paced.err;
  EXPECT_EQ(paced.json()["drafters"][1]["name"], "synthetic-1-paced");
  EXPECT_EQ(bench({"--synthetic-rates", "1.5"}).code, 2);
  EXPECT_EQ(bench({"--synthetic-cost", "2"}).code, 2);
}

}  // namespace
}  // namespace s3d::test
