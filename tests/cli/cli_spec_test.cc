// --spec and bench spec, through the program.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/test_folder.h"
#include "program_runner.h"

namespace s3d::test {
namespace {

std::vector<std::string> generate(const std::vector<std::string>& more) {
  std::vector<std::string> all = {"generate", "-m", tiny_model(), "-p", "the in an", "-n", "24", "--json"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST(CliSpecTest, EveryDrafterGivesThePlainTokens) {
  const auto plain = run_s3d(generate({"--spec", "off"})).json();
  EXPECT_EQ(plain["speculative_decoding"]["num_drafts"], 0);
  for (const char* name : {"auto", "s3d-untrained", "layerskip", "lookup", "suffix"}) {
    const Outcome o = run_s3d(generate({"--spec", name, "--draft-rows", "3", "--draft-layers", "1+0"}));
    ASSERT_EQ(o.code, 0) << name << ": " << o.err;
    EXPECT_EQ(o.json()["tokens"], plain["tokens"]) << name;
  }
  const Outcome model = run_s3d(generate({"--spec", "model", "--draft-model", tiny_model(), "--draft-rows", "2"}));
  ASSERT_EQ(model.code, 0) << model.err;
  EXPECT_EQ(model.json()["tokens"], plain["tokens"]);
  EXPECT_GT(model.json()["speculative_decoding"]["num_accepted_tokens"], 0);
}

TEST(CliSpecTest, BenchSpecHasItsStableKeys) {
  const TestFolder folder;
  const std::string prompts = folder / "prompts.jsonl";
  std::ofstream(prompts) << R"({"category": "a", "turns": ["the in an the in"]})"
                         << "\n"
                         << R"({"category": "b", "prompt": "an the"})"
                         << "\n\nthe the\n";
  const Outcome o = run_s3d({"bench", "spec", "-m", tiny_model(), "--prompts", prompts, "--drafters",
                             "layerskip,suffix", "--raw", "-n", "12", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const auto j = o.json();
  EXPECT_EQ(j["same_tokens"], true);
  ASSERT_EQ(j["drafters"].size(), 2U);
  for (const auto& d : j["drafters"]) {
    for (const char* key :
         {"name", "tps", "speedup", "mean_acceptance_length", "acceptance_by_depth", "extra_bytes", "categories"}) {
      EXPECT_TRUE(d.contains(key)) << key;
    }
    EXPECT_EQ(d["categories"].size(), 2U);
  }
}

TEST(CliSpecTest, TheFirstThreeRunsMeasureCostsAndDamagedOnesAreMeasuredAgain) {
  namespace fs = std::filesystem;
  const TestFolder cache;
  const auto runs = [&] {
    const Outcome o = run_s3d({"generate", "-m", tiny_model(), "--raw", "-p", "hello", "-n", "4", "--spec", "lookup"},
                              "", {{"S3D_CACHE", cache.path()}});
    EXPECT_EQ(o.code, 0) << o.err;
    const fs::path file = fs::directory_iterator(cache / "costs")->path();
    return nlohmann::json::parse(std::ifstream(file))["runs"].get<int>();
  };
  for (const int expected : {1, 2, 3, 3}) EXPECT_EQ(runs(), expected);
  std::ofstream(fs::directory_iterator(cache / "costs")->path()) << R"({"key": 1})";
  EXPECT_EQ(runs(), 1);
}

TEST(CliSpecTest, WrongOptionsAreNamed) {
  const auto expect = [](const std::vector<std::string>& more, int code, const char* part) {
    const Outcome o = run_s3d(generate(more));
    EXPECT_EQ(o.code, code) << o.err;
    EXPECT_NE(o.err.find(part), std::string::npos) << o.err;
  };
  expect({"--spec", "magic"}, 2, "'magic'");
  expect({"--draft-rows", "99"}, 2, "--draft-rows");
  expect({"--draft-width", "0"}, 2, "--draft-width");
  expect({"--draft-layers", "3"}, 2, "A+Z");
  expect({"--spec", "layerskip", "--draft-layers", "9+9"}, 1, "layers");
  expect({"--spec", "s3d"}, 1, "no adapter");
  expect({"--spec", "s3d=other.gguf"}, 1, "no adapter");
  expect({"--spec", "suffix=other.gguf"}, 2, "'suffix=other.gguf'");
  expect({"--spec", "model"}, 1, "--draft-model");
  expect({"--adapter", tiny_model()}, 1, "adapter");
  expect({"--spec", "eagle"}, 1, "--draft-file");
  expect({"--draft-file", tiny_model()}, 1, "not the file of a drafter");
  const Outcome none = run_s3d({"bench", "spec", "-m", tiny_model(), "--prompts", "/nowhere"});
  EXPECT_EQ(none.code, 2) << none.err;
  EXPECT_EQ(run_s3d({"bench"}).code, 2);
}

}  // namespace
}  // namespace s3d::test
