// Wrong command lines and wrong files: exit code 2 or 1, a message that says what to do, nothing on stdout.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/test_folder.h"
#include "program_runner.h"

namespace s3d::test {
namespace {
namespace fs = std::filesystem;

void expect_error(const std::vector<std::string>& arguments, int code, const std::string& part,
                  const std::string& input = "x") {
  const Outcome o = run_s3d(arguments, input);
  std::string line = "s3d";
  for (const std::string& a : arguments) line += " " + a;
  EXPECT_EQ(o.code, code) << line << "\n" << o.err;
  // A model's first run on a machine says before it that passes are being measured.
  EXPECT_TRUE(o.err.starts_with("s3d: error: ") || o.err.find("\ns3d: error: ") != std::string::npos) << line << "\n"
                                                                                                      << o.err;
  EXPECT_NE(o.err.find(part), std::string::npos) << line << "\nwanted: " << part << "\n" << o.err;
  EXPECT_EQ(o.out, "") << line;
}

TEST(CliUsageTest, HelpAndVersion) {
  const Outcome help = run_s3d({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  for (const char* part : {"generate", "chat", "bench", "perplexity", "tokenize", "inspect", "pull", "completion",
                           "Examples:", "Exit codes:"}) {
    EXPECT_NE(help.out.find(part), std::string::npos) << part;
  }
  for (const char* command : {"generate", "chat", "bench", "perplexity", "tokenize", "inspect", "pull", "completion"}) {
    const Outcome o = run_s3d({command, "--help"});
    EXPECT_EQ(o.code, 0) << command;
    EXPECT_NE(o.out.find("Examples:"), std::string::npos) << command;
  }
  EXPECT_EQ(run_s3d({"--version"}).out.rfind("s3d ", 0), 0U);
}

TEST(CliUsageTest, TheProgramAloneShowsItsHelp) {
  const Outcome alone = run_s3d({});
  EXPECT_EQ(alone.code, 0);
  EXPECT_EQ(alone.err, "");
  EXPECT_EQ(alone.out, run_s3d({"--help"}).out);
  EXPECT_EQ(run_s3d({"bench"}).code, 2) << "a command is not alone";
}

// What a shell makes of --x=$UNSET: an empty value, never the next word.
TEST(CliUsageTest, AnEmptyValueIsAValue) {
  const std::vector<std::string> base = {"tokenize", "--ids", "-m", tiny_model()};
  const auto out = [&](const std::vector<std::string>& more) {
    auto arguments = base;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_s3d(arguments, "the").out;
  };
  EXPECT_EQ(out({"--prompt=", "--no-bos"}), out({"--prompt", "", "--no-bos"}));
  EXPECT_NE(out({"--prompt=", "--no-bos"}), out({"--no-bos"}));
  const std::string m = tiny_model();
  expect_error({"generate", "-m", m, "--threads=", "-p", "x"}, 2, "--threads");
  expect_error({"generate", "-m", m, "--temp=", "-p", "x"}, 2, "--temp");
  expect_error({"generate", "-m", m, "--seed=", "-p", "x"}, 2, "--seed");
  expect_error({"generate", "-m", m, "--spec=", "-p", "x"}, 2, "--spec ''");
  expect_error({"tokenize", "--model=", "-p", "x"}, 1, "no model named");
}

TEST(CliUsageTest, BlanksAroundValuesOfTheEnvironmentDoNotCount) {
  const TestFolder cache;
  fs::create_directories(cache / "models");
  fs::copy_file(tiny_model(), cache / "models/tiny.gguf");
  const std::string unclean = " " + cache.path() + "//\r\n";
  const Outcome o = run_s3d({"generate", "-m", "tiny", "-p", "x", "-n", "1", "--json"}, "",
                            {{"S3D_CACHE", unclean}, {"S3D_CPU", " portable\n"}});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.json()["isa"], "portable");
  EXPECT_EQ(o.json()["model"], cache / "models/tiny.gguf");
}

TEST(CliUsageTest, WithoutANameTheOnlyModelOrTheDemosIsTaken) {
  const TestFolder cache;
  const Environment environment = {{"S3D_CACHE", cache.path()}};
  const std::vector<std::string> command = {"generate", "-p", "x", "-n", "1"};
  const Outcome none = run_s3d(command, "", environment);
  EXPECT_EQ(none.code, 2);
  EXPECT_NE(none.err.find("the cache folder holds none"), std::string::npos) << none.err;
  fs::create_directories(cache / "models");
  fs::copy_file(tiny_model(), cache / "models/tiny.gguf");
  std::ofstream(cache / "models/tiny.adapter.gguf") << "no model";
  const Outcome one = run_s3d(command, "", environment);
  EXPECT_EQ(one.code, 0) << one.err;
  EXPECT_NE(one.err.find("model: tiny, the only model in the cache folder"), std::string::npos) << one.err;
  std::ofstream(cache / "models/other.gguf") << "no model";
  const Outcome two = run_s3d(command, "", environment);
  EXPECT_EQ(two.code, 2);
  EXPECT_NE(two.err.find("holds: other, tiny"), std::string::npos) << two.err;
  fs::copy_file(tiny_model(), cache / "models/smollm2-135m.gguf");
  EXPECT_NE(run_s3d(command, "", environment).err.find("smollm2-135m, the demo's model"), std::string::npos);
}

TEST(CliUsageTest, MeasuringIsSaid) {
  const TestFolder cache;
  const std::vector<std::string> command = {"generate", "-m", tiny_model(), "-p", "x", "-n", "1"};
  const auto says = [&] {
    return run_s3d(command, "", {{"S3D_CACHE", cache.path()}}).err.find("Measuring") != std::string::npos;
  };
  for (int run = 0; run < 3; ++run) EXPECT_TRUE(says()) << run;
  EXPECT_FALSE(says());
}

// Two drafters have costs of their own; it is said once.
TEST(CliUsageTest, BenchSpecSaysThatItMeasures) {
  const TestFolder cache;
  std::ofstream(cache / "prompts.txt") << "one two three\n";
  const std::vector<std::string> command = {
      "bench",      "spec",          "-m",    tiny_model(), "--prompts", cache / "prompts.txt",
      "--drafters", "suffix,lookup", "--raw", "-n",         "2"};
  const Outcome out = run_s3d(command, "", {{"S3D_CACHE", cache.path()}});
  ASSERT_EQ(out.code, 0) << out.err;
  const size_t at = out.err.find("Measuring");
  EXPECT_NE(at, std::string::npos) << out.err;
  EXPECT_EQ(out.err.find("Measuring", at + 1), std::string::npos) << out.err;
}

TEST(CliUsageTest, WrongCommandLinesAreUsageErrors) {
  expect_error({"frobnicate"}, 2, "frobnicate");
  expect_error({"tokenize"}, 2, "--model");
  const std::string m = tiny_model();
  expect_error({"generate", "-m", m, "--no-such-flag"}, 2, "--no-such-flag");
  expect_error({"generate", "-m", m, "-n", "many"}, 2, "many");
  expect_error({"generate", "-m", m, "-n", "-2"}, 2, "-2");
  expect_error({"generate", "-m", m, "-p", "x", "-f", "y"}, 2, "exclude");
  expect_error({"generate", "-m", m, "--temp", "-1"}, 2, "temperature must be 0 (greedy) or more, got -1");
  expect_error({"generate", "-m", m, "--temp", "nan"}, 2, "temperature");
  expect_error({"generate", "-m", m, "--top-p", "1.5"}, 2, "top-p must be above 0");
  expect_error({"generate", "-m", m, "--top-k", "-1"}, 2, "top-k");
  expect_error({"generate", "-m", m, "--min-p", "2"}, 2, "min-p");
  expect_error({"generate", "-m", m, "--repeat-penalty", "0"}, 2, "repetition penalty");
  expect_error({"generate", "-m", m, "--repeat-last-n", "-2"}, 2, "repeat-last-n");
  expect_error({"generate", "-m", m, "--logit-bias", "x"}, 2, "ID+X");
  expect_error({"generate", "-m", m, "--kv-type", "q4"}, 2, "q4");
  expect_error({"generate", "-m", m, "-t", "-1"}, 2, "--threads");
  expect_error({"generate", "-m", m, "-c", "-5"}, 2, "--context");
  expect_error({"generate", "-m", m, "--chat-template", "alpaca"}, 2, "alpaca");
  expect_error({"generate", "-m", m, "--raw", "--system", "s"}, 2, "--raw");
  expect_error({"generate", "-m", m, "--color", "pink"}, 2, "pink");
  expect_error({"generate", "-m", m, "-s", "-1"}, 2, "expected a whole number from 0");
  expect_error({"generate", "-m", m, "-b", "2000000000"}, 2, "from 1 to 4096");
  expect_error({"generate", "-m", m, "-t", "100000"}, 2, "threads must be from 1 to 1024");
  expect_error({"generate", "-m", m, "--compare", "--spec", "off"}, 2, "--compare needs drafts");
  expect_error({"bench", "spec", "-m", m, "--prompts", m, "--stop", "x"}, 2, "Try 's3d bench spec --help'");
  expect_error({"bench", "spec", "-m", m, "--prompts", m, "--spec", "lookup"}, 2, "--drafters instead");
  expect_error({"bench", "-m", m, "--format", "xml"}, 2, "xml");
  expect_error({"bench", "-m", m, "--samples", "0"}, 2, "--samples");
  expect_error({"perplexity", "-m", m}, 2, "file");
  expect_error({"pull", "nonsense"}, 2, "nonsense");
  expect_error({"completion", "tcsh"}, 2, "bash, zsh and fish");
}

TEST(CliUsageTest, WhatFailsWhileRunningIsAFailure) {
  const std::string m = tiny_model();
  expect_error({"generate", "-m", "/no/such.gguf", "-p", "x"}, 1, "/no/such.gguf");
  expect_error({"generate", "-m", "no-such-name", "-p", "x"}, 1, "no-such-name");
  expect_error({"generate", "-m", m, "-f", "/no/such.txt"}, 1, "/no/such.txt");
  expect_error({"generate", "-m", m, "--raw"}, 1, "prompt is empty", "");
  expect_error({"generate", "-m", m, "-p", "x", "-c", "100000"}, 1, "512");
  expect_error({"generate", "-m", m, "-c", "16", "-p", std::string(100, 'x')}, 1, "the context holds 16");
  expect_error({"generate", "-m", m, "-p", "x", "--logit-bias", "106=1"}, 1, "vocabulary of 106");
  expect_error({"generate", "-m", m, "-p", "x", "--system", "s"}, 1, "--chat-template");
  expect_error({"chat", "-m", m}, 1, "--chat-template");
  expect_error({"bench", "-m", m, "--prompt", "600"}, 1, "512");
  expect_error({"perplexity", "-m", m, "/no/such.txt"}, 1, "/no/such.txt");
  expect_error({"perplexity", "-m", m, "-"}, 1, "-", "short");
  expect_error({"perplexity", "-m", m, "-", "--ids"}, 1, "expected token ids", "no ids 1 2 3");
  expect_error({"inspect", "/no/such.gguf"}, 1, "/no/such.gguf");
  expect_error({"tokenize", "-m", "/no/such.gguf", "-p", "x"}, 1, "/no/such.gguf");
}

TEST(CliUsageTest, BrokenFilesAreRefused) {
  const TestFolder folder;
  const std::string bad = folder / "bad.gguf";
  std::ofstream(bad) << "";
  expect_error({"generate", "-m", bad, "-p", "x"}, 1, "bad.gguf");
  std::ofstream(bad) << "This is no model at all, only some text that is long enough.";
  expect_error({"generate", "-m", bad, "-p", "x"}, 1, "bad.gguf");
  expect_error({"inspect", bad}, 1, "bad.gguf");
  fs::copy_file(tiny_model(), bad, fs::copy_options::overwrite_existing);
  fs::resize_file(bad, fs::file_size(bad) - 1000);
  expect_error({"generate", "-m", bad, "-p", "x"}, 1, "bad.gguf");
  expect_error({"generate", "-m", folder.path(), "-p", "x"}, 1, folder.path());
}

TEST(CliUsageTest, AFullDiskIsReported) {
  for (const std::string arguments : {"--help", "completion bash", "inspect ", "tokenize -p hello -m "}) {
    const bool takes_model = arguments.back() == ' ';
    const std::string line = std::string(S3D_PROGRAM) + " " + arguments + (takes_model ? tiny_model() : "");
    FILE* shell = popen((line + " 2>&1 >/dev/full").c_str(), "r");
    ASSERT_NE(shell, nullptr);
    std::string err(4096, '\0');
    err.resize(fread(err.data(), 1, err.size(), shell));
    EXPECT_EQ(WEXITSTATUS(pclose(shell)), 1) << arguments;
    EXPECT_NE(err.find("cannot write to standard output: No space left"), std::string::npos) << arguments << err;
  }
}

TEST(CliUsageTest, ColoursOnlyWhereAskedFor) {
  const std::string escape = "\x1b[";
  EXPECT_EQ(run_s3d({"inspect", tiny_model()}).out.find(escape), std::string::npos);
  EXPECT_NE(run_s3d({"--color", "always", "inspect", tiny_model()}).out.find(escape), std::string::npos);
  EXPECT_NE(run_s3d({"inspect", tiny_model(), "--color", "always"}).out.find(escape), std::string::npos);
}

TEST(CliUsageTest, UnknownInstructionSetIsRefused) {
  const Outcome o = run_s3d({"generate", "-m", tiny_model(), "-p", "x"}, "", {{"S3D_CPU", "mmx"}});
  EXPECT_EQ(o.code, 1);
  EXPECT_NE(o.err.find("mmx"), std::string::npos) << o.err;
}

TEST(CliUsageTest, CompletionScriptsAreValidBash) {
  const Outcome script = run_s3d({"completion", "bash"});
  ASSERT_EQ(script.code, 0);
  const std::string check = script.out +
                            "\nCOMP_WORDS=(s3d generate --kv-type ''); COMP_CWORD=3; _s3d; echo ${COMPREPLY[@]}"
                            "\nCOMP_WORDS=(s3d gen); COMP_CWORD=1; _s3d; echo ${COMPREPLY[@]}"
                            "\nCOMP_WORDS=(s3d -q bench spec --prom); COMP_CWORD=4; _s3d; echo ${COMPREPLY[@]}"
                            "\nCOMP_WORDS=(s3d bench sp); COMP_CWORD=2; _s3d; echo ${COMPREPLY[@]}"
                            "\nCOMP_WORDS=(s3d chat --spec la); COMP_CWORD=3; _s3d; echo ${COMPREPLY[@]}"
                            "\nCOMP_WORDS=(s3d --color a); COMP_CWORD=2; _s3d; echo ${COMPREPLY[@]}\n";
  const TestFolder folder;
  const std::string path = folder / "s3d.bash";
  std::ofstream(path) << check;
  FILE* shell = popen(("bash " + path).c_str(), "r");
  ASSERT_NE(shell, nullptr);
  std::string out(4096, '\0');
  out.resize(fread(out.data(), 1, out.size(), shell));
  EXPECT_EQ(pclose(shell), 0);
  EXPECT_EQ(out, "f16 f32 q8_0\ngenerate\n--prompts\nspec\nlayerskip\nauto always\n");
}

}  // namespace
}  // namespace s3d::test
