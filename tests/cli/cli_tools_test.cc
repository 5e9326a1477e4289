// bench, perplexity, tokenize, inspect.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "base/test_folder.h"
#include "program_runner.h"

namespace s3d::test {
namespace {

TEST(CliBenchTest, JsonHasItsStableKeys) {
  const Outcome o = run_s3d({"bench", "-m", tiny_model(), "-t", "2", "--prompt", "64", "--samples", "3", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const auto j = o.json();
  EXPECT_EQ(j["model"], tiny_model());
  EXPECT_EQ(j["threads"], 2);
  EXPECT_TRUE(j["isa"].is_string());
  EXPECT_EQ(j["devices"][0]["device"], j["isa"]);
  EXPECT_EQ(j["devices"][0]["weight_bytes"], j["weight_bytes"]);
  for (const char* key : {"prefill_tps", "decode_tps", "read_gbps", "weight_gbps"}) EXPECT_GT(j[key], 0.0) << key;
  ASSERT_EQ(j["pass_cost"].size(), 16U);
  EXPECT_EQ(j["pass_cost"][0], 1.0);
  EXPECT_GT(j["peak_rss"], 0);
}

TEST(CliBenchTest, NamesTheReferenceBackend) {
  const Outcome o = run_s3d({"bench", "-m", tiny_model(), "--backend", "reference", "--prompt", "8", "--decode", "2",
                             "--samples", "1", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.json()["backend"], "reference");
  EXPECT_GT(o.json()["decode_tps"], 0.0);
}

TEST(CliBenchTest, TheOtherFormats) {
  const std::vector<std::string> base = {"bench", "-m", tiny_model(), "--prompt", "16", "--samples", "1", "--format"};
  auto md = base, csv = base;
  md.emplace_back("md");
  csv.emplace_back("csv");
  const std::string table = run_s3d(md).out;
  EXPECT_NE(table.find("| decode |"), std::string::npos) << table;
  EXPECT_NE(table.find("| 16 |"), std::string::npos) << table;
  const std::string rows = run_s3d(csv).out;
  const auto commas = [](std::string_view line) { return std::count(line.begin(), line.end(), ','); };
  const size_t end = rows.find('\n');
  ASSERT_NE(end, std::string::npos);
  EXPECT_EQ(commas(rows.substr(0, end)), commas(rows.substr(end + 1))) << rows;
}

TEST(CliPerplexityTest, ARandomModelIsAboutAsGoodAsChance) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "the hen in an inn on the " + std::to_string(i * i) + " ";
  const Outcome o = run_s3d({"perplexity", "-m", tiny_model(), "-", "-c", "128", "--json"}, text);
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_GT(o.json()["perplexity"], 20.0);
  EXPECT_LT(o.json()["perplexity"], 2000.0);
  EXPECT_GT(o.json()["windows"], 2);
  const Outcome lines = run_s3d({"perplexity", "-m", tiny_model(), "-", "-c", "128"}, text);
  EXPECT_EQ(lines.out.rfind("perplexity ", 0), 0U) << lines.out;
}

TEST(CliPerplexityTest, TheReferenceBackendAgrees) {
  std::string ids;
  for (int i = 0; i < 130; ++i) ids += std::to_string(i * i % 100) + " ";
  const auto perplexity = [&](const std::string& backend) {
    const Outcome o = run_s3d({"perplexity", "-m", tiny_model(), "-", "--ids", "-c", "64", "--kv-type", "f32",
                               "--backend", backend, "--json"},
                              ids);
    EXPECT_EQ(o.code, 0) << o.err;
    return o.json();
  };
  const auto cpu = perplexity("cpu"), reference = perplexity("reference");
  EXPECT_EQ(reference["backend"], "reference");
  EXPECT_NEAR(reference["perplexity"].get<double>() / cpu["perplexity"].get<double>(), 1, 1e-5);
}

TEST(CliPerplexityTest, TakesTokenIds) {
  std::string ids;
  for (int i = 0; i < 600; ++i) ids += std::to_string(i % 100) + ", ";
  EXPECT_EQ(run_s3d({"perplexity", "-m", tiny_model(), "-", "--ids"}, ids).code, 0);
  const Outcome bad = run_s3d({"perplexity", "-m", tiny_model(), "-", "--ids"}, "1 2 106");
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.err.find("106"), std::string::npos) << bad.err;
}

TEST(CliTokenizeTest, AllForms) {
  const auto j = run_s3d({"tokenize", "-m", tiny_model(), "-p", "the on", "--json"}).json();
  EXPECT_EQ(j["count"], j["tokens"].size());
  EXPECT_EQ(j["pieces"].size(), j["tokens"].size());
  std::string joined;
  for (const auto& piece : j["pieces"]) joined += piece.get<std::string>();
  EXPECT_EQ(joined, "the on");
  std::string ids;
  for (const auto& id : j["tokens"]) ids += (ids.empty() ? "" : " ") + id.dump();
  EXPECT_EQ(run_s3d({"tokenize", "-m", tiny_model(), "-p", "the on", "--ids"}).out, ids + "\n");
  EXPECT_NE(run_s3d({"tokenize", "-m", tiny_model()}, "the on").out.find("'the'"), std::string::npos);
}

TEST(CliInspectTest, TextAndJson) {
  const Outcome text = run_s3d({"inspect", tiny_model(), "--tensors"});
  ASSERT_EQ(text.code, 0) << text.err;
  for (const char* part : {"fingerprint", "general.architecture = llama", "blk.1.ffn_down.weight", "[160, 96]",
                           "backend      reference", "kv cache     ", "layers       0 to 1 and the LM head on "}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
  const auto j = run_s3d({"inspect", "-m", tiny_model(), "--json", "--checksums"}).json();
  EXPECT_EQ(j["fingerprint"].get<std::string>().size(), 16U);
  EXPECT_EQ(j["tensors"].size(), 22U);
  EXPECT_EQ(j["tensors"][0]["xxh3"].get<std::string>().size(), 16U);
  EXPECT_EQ(j["types"]["f32"]["tensors"], 22);
  EXPECT_EQ(j["backends"], nlohmann::json({"cpu", "reference"}));
  EXPECT_EQ(j["devices"].size(), 1U);
  EXPECT_EQ(j["devices"][0]["layers"], 2);
  EXPECT_TRUE(j["devices"][0]["lm_head"]);
}

TEST(CliInspectTest, TellsWhatKeepsAModelFromRunning) {
  std::stringstream bytes;
  bytes << std::ifstream(tiny_model(), std::ios::binary).rdbuf();
  std::string image = bytes.str();
  image.replace(image.find("blk.1.ffn_down"), 14, "blk.1.\x1b[2Jdown");
  const TestFolder folder;
  const std::string path = folder / "bad.gguf";
  std::ofstream(path, std::ios::binary) << image;
  const Outcome text = run_s3d({"inspect", path});
  EXPECT_NE(text.out.find("not runnable: "), std::string::npos) << text.out;
  EXPECT_EQ(text.out.find("drafter"), std::string::npos);
  EXPECT_EQ(run_s3d({"inspect", path, "--tensors"}).out.find('\x1b'), std::string::npos);
  EXPECT_TRUE(run_s3d({"inspect", path, "--json"}).json().contains("not_runnable"));
}

// The name of an adapter's base, with an escape sequence written over its beginning.
TEST(CliInspectTest, NothingInAFileSteersTheTerminal) {
  std::ifstream in(S3D_SOURCE_DIR "/adapters/smollm2-135m.gguf", std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  const size_t key = bytes.find("s3d.base.name");
  if (key == std::string::npos) GTEST_SKIP() << "the adapter is not in this checkout";
  bytes.replace(key + std::string("s3d.base.name").size() + 4 + 8, 7, "\x1b[31m\xC2\x9B");  // behind type and length
  const TestFolder folder;
  std::ofstream(folder / "esc.gguf", std::ios::binary) << bytes;
  for (const std::string format : {"", "--json"}) {
    std::vector<std::string> arguments = {"inspect", folder / "esc.gguf"};
    if (!format.empty()) arguments.push_back(format);
    const Outcome o = run_s3d(arguments);
    ASSERT_EQ(o.code, 0) << o.err;
    EXPECT_NE(o.out.find(format.empty() ? "adapter of   \\x1b[31m\\u009b" : "\\x1b[31m\\u009b"), std::string::npos)
        << o.out;
    EXPECT_EQ(o.out.find('\x1b'), std::string::npos);
    EXPECT_EQ(o.out.find("\xC2\x9B"), std::string::npos);
  }
}

// A model whose file holds escape sequences: its blank is the byte ESC, and its family ends in one that clears screens.
class HostileModel : public testing::Test {
 protected:
  static constexpr const char* kEscapeToken = "96";

  void SetUp() override {
    std::stringstream bytes;
    bytes << std::ifstream(tiny_model(), std::ios::binary).rdbuf();
    std::string image = bytes.str();
    const std::string blank = "\xC4\xA0", escape = "\xC4\x9B";  // byte-level BPE's letters for 0x20 and 0x1B
    for (size_t at = 0; (at = image.find(blank, at)) != std::string::npos; at += 2) image.replace(at, 2, escape);
    const std::string key = "general.name";
    image.replace(image.find(key) + key.size() + 4 + 8, 5, "\x1b[2J\x07");  // behind type and length
    std::ofstream(path_, std::ios::binary) << image;
  }

  // Runs on a terminal; nothing that the file holds may reach it as it stands.
  void expect_tame(std::vector<std::string> arguments, const std::string& keys, const std::string& shown) {
    arguments.insert(arguments.end(), {"-m", path_});
    Terminal terminal(arguments, {{"TERM", "dumb"}, {"S3D_CACHE", folder_.path()}});
    if (!keys.empty()) terminal.type(keys);
    EXPECT_EQ(terminal.finish(), 0);
    EXPECT_NE(terminal.screen().find(shown), std::string::npos) << terminal.screen();
    EXPECT_EQ(terminal.screen().find("\x1b[2J"), std::string::npos) << terminal.screen();
    EXPECT_EQ(terminal.screen().find("\x1b\x1b"), std::string::npos) << terminal.screen();
    EXPECT_EQ(terminal.screen().find('\x07'), std::string::npos) << terminal.screen();
  }

  TestFolder folder_;
  std::string path_ = folder_ / "esc.gguf";
};

TEST_F(HostileModel, ItsAnswersDoNotSteerTheTerminal) {
  const std::vector<std::string> sampling = {"-n",      "3",    "--logit-bias", std::string(kEscapeToken) + "=inf",
                                             "--color", "never"};
  std::vector<std::string> generate = {"generate", "--raw", "-p", "x", "-v"};
  generate.insert(generate.end(), sampling.begin(), sampling.end());
  expect_tame(generate, "", "\\x1b\\x1b\\x1b");
  std::vector<std::string> chat = {"chat", "--chat-template", "chatml", "--no-history"};
  chat.insert(chat.end(), sampling.begin(), sampling.end());
  expect_tame(chat, "x\n/quit\n", "\\x1b\\x1b\\x1b");
}

// A pipe gets the bytes of the answer as they are.
TEST_F(HostileModel, APipeGetsTheAnswerAsItIs) {
  const Outcome o = run_s3d(
      {"generate", "-m", path_, "--raw", "-p", "x", "-n", "3", "--logit-bias", std::string(kEscapeToken) + "=inf"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_NE(o.out.find("\x1b\x1b\x1b"), std::string::npos) << o.out;
  EXPECT_EQ(o.err.find('\x1b'), std::string::npos) << o.err;
}

TEST_F(HostileModel, ItsMetadataDoNotSteerTheTerminal) {
  expect_tame({"inspect", "--color", "never"}, "", "general.name = \\x1b[2J\\x07");
  expect_tame({"tokenize", "-p", "a\x1b[2J\x07"}, "", "\\x1b");
  expect_tame({"generate", "-p", "x", "-n", "1", "-v", "--color", "never"}, "", "answer");
}

TEST(CliInspectTest, ShowsWhatIsOddAboutTheTokenizer) {
  std::stringstream bytes;
  bytes << std::ifstream(tiny_model(), std::ios::binary).rdbuf();
  std::string image = bytes.str();
  const std::string key = "tokenizer.ggml.token_type";
  image[image.find(key) + key.size() + 4 + 4 + 8 + 4] = 1;  // of the second token, <|eos|>; behind types and count
  const std::string text = "<|eos|>";
  image.replace(image.find(text), text.size(), "<|end|>");
  const TestFolder folder;
  const std::string path = folder / "odd.gguf";
  std::ofstream(path, std::ios::binary) << image;
  const Outcome o = run_s3d({"inspect", path});
  EXPECT_NE(o.out.find("warning      tokenizer.ggml.token_type calls '<|end|>' ordinary text"), std::string::npos)
      << o.out;
  EXPECT_EQ(run_s3d({"inspect", path, "--json"}).json()["warnings"].size(), 1U);
  EXPECT_EQ(run_s3d({"inspect", tiny_model(), "--json"}).json()["warnings"].size(), 0U);
}

}  // namespace
}  // namespace s3d::test
