#include <gtest/gtest.h>

#include <filesystem>

#include "program_runner.h"

namespace s3d::test {
namespace {

std::vector<std::string> generate(const std::vector<std::string>& more) {
  std::vector<std::string> all = {"generate", "-m", tiny_model(), "-p", "the in an"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST(CliGenerateTest, JsonHasItsStableKeys) {
  const Outcome o = run_s3d(generate({"-n", "12", "--json"}));
  ASSERT_EQ(o.code, 0) << o.err;
  const auto j = o.json();
  EXPECT_TRUE(j["text"].is_string());
  EXPECT_LE(j["tokens"].size(), 12U);
  EXPECT_GT(j["prompt_tokens"], 0);
  EXPECT_GT(j["prefill_tps"], 0.0);
  EXPECT_GE(j["decode_tps"], 0.0);
  EXPECT_GT(j["peak_rss"], 0);
  EXPECT_TRUE(j["finish_reason"] == "length" || j["finish_reason"] == "stop") << j["finish_reason"];
}

TEST(CliGenerateTest, LiveTextIsTheTextOfJson) {
  const Outcome live = run_s3d(generate({"-n", "12"}));
  ASSERT_EQ(live.code, 0) << live.err;
  std::string text = run_s3d(generate({"-n", "12", "--json"})).json()["text"];
  if (text.empty() || text.back() != '\n') text += "\n";
  EXPECT_EQ(live.out, text);
  for (const char* part : {"prompt: ", "answer: ", "tokens/s", "peak memory"}) {
    EXPECT_NE(live.err.find(part), std::string::npos) << part << "\n" << live.err;
  }
  EXPECT_EQ(live.err.find("memory bandwidth"), std::string::npos) << "measured only where it is asked for";
  EXPECT_EQ(run_s3d(generate({"-n", "12", "--quiet"})).err, "");
}

TEST(CliGenerateTest, ThePromptComesFromWhereItIsSaid) {
  const auto tokens = [](const std::vector<std::string>& arguments, const std::string& input) {
    const Outcome o = run_s3d(arguments, input);
    EXPECT_EQ(o.code, 0) << o.err;
    return o.json()["prompt_tokens"].get<int>();
  };
  const std::vector<std::string> base = {"generate", "-m", tiny_model(), "-n", "1", "--json"};
  auto with_file = base;
  with_file.insert(with_file.end(), {"-f", "-"});
  EXPECT_EQ(tokens(base, "the in an"), tokens(generate({"-n", "1", "--json"}), ""));
  EXPECT_EQ(tokens(with_file, "the in an"), tokens(base, "the in an"));
  EXPECT_EQ(tokens(base, "\xEF\xBB\xBFthe in\r\nan"), tokens(base, "the in\nan"));
}

TEST(CliGenerateTest, ASeedRepeatsAndAnotherDoesNot) {
  const auto tokens = [](const std::string& seed, const std::string& threads) {
    return run_s3d(generate({"-n", "24", "--temp", "1", "--seed", seed, "-t", threads, "--json"})).json()["tokens"];
  };
  EXPECT_EQ(tokens("1", "1"), tokens("1", "2"));
  EXPECT_NE(tokens("1", "1"), tokens("2", "1"));
}

TEST(CliGenerateTest, SettingsReachTheSampler) {
  const auto first = [](const std::vector<std::string>& more) {
    auto arguments = generate({"-n", "1", "--json"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome o = run_s3d(arguments);
    EXPECT_EQ(o.code, 0) << o.err;
    return o.json()["tokens"];
  };
  EXPECT_EQ(first({"--logit-bias", "50+1000"}), nlohmann::json({50}));
  const int best = first({})[0];
  EXPECT_NE(first({"--logit-bias", std::to_string(best) + "=-inf"})[0], best);
  EXPECT_EQ(first({"--temp", "2", "--top-k", "1"})[0], best);
}

TEST(CliGenerateTest, StopsWhereItShould) {
  const std::string text = run_s3d(generate({"-n", "30", "--json"})).json()["text"];
  ASSERT_GT(text.size(), 10U);
  const std::string stop = text.substr(4, 3);
  const auto j = run_s3d(generate({"-n", "30", "--json", "--stop", "never there", "--stop", stop})).json();
  EXPECT_EQ(j["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(j["finish_reason"], "stop");
  EXPECT_EQ(run_s3d(generate({"-n", "-1", "-c", "20", "--json", "--logit-bias", "1=-inf"})).json()["finish_reason"],
            "context");
}

// The bias makes every token the one of id 1, which the vocabulary calls <|im_start|>.
TEST(CliGenerateTest, ASpecialTokenCanBeAStop) {
  if (cached_model("smollm2-135m").empty()) GTEST_SKIP() << "smollm2-135m is not in the cache";
  const std::vector<std::string> base = {"generate", "-m",    "smollm2-135m", "-p",  "Hi",     "--logit-bias", "1=inf",
                                         "-n",       "4",     "-c",           "512", "--spec", "off",          "-t",
                                         "1",        "--json"};
  const auto with_stop = [&](const std::string& stop) {
    auto arguments = base;
    arguments.insert(arguments.end(), {"--stop", stop});
    return run_s3d(arguments).json();
  };
  const auto stopped = with_stop("<|im_start|>");
  EXPECT_EQ(stopped["tokens"], nlohmann::json({1}));
  EXPECT_EQ(stopped["finish_reason"], "stop");
  EXPECT_EQ(stopped["text"], "");
  EXPECT_EQ(with_stop("<|im_start|><|im_start|>")["tokens"], nlohmann::json({1, 1}));
  EXPECT_EQ(with_stop("im_start|>>")["finish_reason"], "length");
}

TEST(CliGenerateTest, EveryKvTypeWorks) {
  for (const char* type : {"f16", "f32", "q8_0"}) {
    EXPECT_EQ(run_s3d(generate({"-n", "4", "--kv-type", type})).code, 0) << type;
  }
}

// The tiny model is of floats, so that the two backends choose the same tokens.
TEST(CliGenerateTest, TheReferenceBackendCanBeChosen) {
  const auto answer = [](const std::string& backend) {
    const Outcome o = run_s3d(generate({"-n", "6", "--kv-type", "f32", "--backend", backend, "--json"}));
    EXPECT_EQ(o.code, 0) << o.err;
    return o.json();
  };
  const auto cpu = answer("cpu"), reference = answer("reference");
  EXPECT_EQ(cpu["backend"], "cpu");
  EXPECT_EQ(reference["backend"], "reference");
  EXPECT_EQ(reference["isa"], "reference");
  EXPECT_EQ(reference["tokens"], cpu["tokens"]);
  EXPECT_NE(run_s3d(generate({"-n", "1", "--backend", "reference", "--verbose"})).err.find("backend: reference"),
            std::string::npos);
  const Outcome unknown = run_s3d(generate({"--backend", "gpu"}));
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("expected cpu or reference"), std::string::npos) << unknown.err;
}

TEST(CliGenerateTest, ATemplateCanBeNamed) {
  const Outcome plain = run_s3d(generate({"-n", "1", "--json"}));
  const Outcome dressed =
      run_s3d(generate({"-n", "1", "--json", "--chat-template", "chatml", "--system", "Be brief."}));
  ASSERT_EQ(dressed.code, 0) << dressed.err;
  EXPECT_GT(dressed.json()["prompt_tokens"], plain.json()["prompt_tokens"]);
}

TEST(CliGenerateTest, AnEmptySystemPromptReplacesTheTemplatesOwn) {
  if (cached_model("smollm2-135m").empty()) GTEST_SKIP() << "smollm2-135m is not in the cache";
  const std::vector<std::string> base = {"generate", "-m", "smollm2-135m", "-p", "Hi", "-n", "1", "--json"};
  auto empty = base;
  empty.insert(empty.end(), {"--system", ""});
  EXPECT_LT(run_s3d(empty).json()["prompt_tokens"], run_s3d(base).json()["prompt_tokens"]);
}

TEST(CliGenerateTest, VerboseTellsTheMemoryByPurpose) {
  const Outcome o = run_s3d(generate({"-n", "2", "--verbose"}));
  for (const char* part : {"peak resident", "weights", "KV", "scratch", "kernels", "seed", "memory bandwidth"}) {
    EXPECT_NE(o.err.find(part), std::string::npos) << part << "\n" << o.err;
  }
}

// On real models: an answer, and the promise on memory (docs/cli.md). scripts/fetch-model fetches them.
class CliRealModels : public testing::TestWithParam<const char*> {};

TEST_P(CliRealModels, AnswerWithinTheirMemory) {
  const std::string name = GetParam();
  if (cached_model(name).empty()) GTEST_SKIP() << name << " is not in the cache: scripts/fetch-model " << name;
  const std::vector<std::string> command = {"generate", "-m", name, "-p",  "Say hello.",
                                            "-n",       "24", "-c", "512", "--json"};
  const Outcome o = run_s3d(command);
  ASSERT_EQ(o.code, 0) << o.err;
  const auto j = o.json();
  if (name != "gemma3-270m") {
    EXPECT_NE(j["text"].get<std::string>().find("ello"), std::string::npos) << j["text"];
  }
#if !defined(__SANITIZE_ADDRESS__)  // which needs memory of its own
  const size_t most = j["file_bytes"].get<size_t>() + j["kv_bytes"].get<size_t>() + (size_t{64} << 20U);
  EXPECT_LE(j["peak_rss"].get<size_t>(), most);
#endif
  RecordProperty("peak_beyond_file_and_kv_mib",
                 (j["peak_rss"].get<int64_t>() - j["file_bytes"].get<int64_t>() - j["kv_bytes"].get<int64_t>()) >> 20);
}

INSTANTIATE_TEST_SUITE_P(Models, CliRealModels,
                         testing::Values("smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
                           return name;
                         });

TEST(CliGenerateTest, CtrlCEndsTheAnswerWithItsFiguresAndCode130) {
  if (cached_model("smollm2-135m").empty()) GTEST_SKIP() << "smollm2-135m is not in the cache";
  Terminal s3d({"generate", "-m", "smollm2-135m", "--raw", "-p", "1 2 3 4 5 6", "-n", "4000", "-c", "8192"}, {});
  ASSERT_TRUE(s3d.wait_for("8 9 10")) << s3d.screen();
  s3d.type("\x03");
  EXPECT_TRUE(s3d.wait_for("peak memory")) << s3d.screen();
  EXPECT_EQ(s3d.finish(), 130);
}

}  // namespace
}  // namespace s3d::test
