// Every command line of s3d-train in adapters/make-* is one that it takes. The scripts run with stand-ins for the
// programs that they call, so that only their command lines are left.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/test_folder.h"
#include "train/cli/program.h"

namespace s3d::train {
namespace {

namespace fs = std::filesystem;

void write_program(const std::string& path, const std::string& text) {
  std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
  fs::permissions(path, fs::perms::owner_all);
}

// The arguments of every call of s3d-train that `script` makes. `folder`: for its files, which are empty.
std::vector<std::vector<std::string>> calls_of(const fs::path& script, const TestFolder& folder) {
  fs::create_directories(folder / "bin");
  for (const char* name : {"python3", "head", "tail", "cat", "apt-get", "dpkg"})
    write_program(folder / (std::string("bin/") + name), "");
  // One argument a line; an empty line ends a call.
  write_program(folder / "s3d-train", "{ printf '%s\\n' \"$@\"; echo; } >>'" + (folder / "calls") + "'");
  const std::string command = "PATH='" + (folder / "bin") + "':\"$PATH\" S3D_TRAIN_PROGRAM='" + (folder / "s3d-train") +
                              "' bash '" + script.string() + "' '" + (folder / "files") + "'";
  EXPECT_EQ(0, std::system(command.c_str())) << command;
  std::vector<std::vector<std::string>> calls;
  std::vector<std::string> call;
  std::ifstream in(folder / "calls");
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) {
      call.push_back(line);
    } else {
      calls.push_back(std::move(call));
      call.clear();
    }
  }
  return calls;
}

// Makes the files that are named (folders have no extension), which are there when the script runs in earnest.
void make_files(const std::vector<std::string>& call, const TestFolder& folder) {
  for (const std::string& argument : call) {
    if (argument.rfind(folder / "files", 0) != 0 || !fs::path(argument).has_extension() || fs::exists(argument))
      continue;
    fs::create_directories(fs::path(argument).parent_path());
    std::ofstream{argument};
  }
}

TEST(MakeScripts, CallTheTrainerAsItIs) {
  fs::current_path(S3D_SOURCE_DIR);  // where the scripts go, and their relative paths begin
  int scripts = 0;
  for (const auto& entry : fs::directory_iterator(std::string(S3D_SOURCE_DIR) + "/adapters")) {
    if (entry.path().filename().string().rfind("make-", 0) != 0) continue;
    ++scripts;
    const TestFolder folder;
    const auto calls = calls_of(entry.path(), folder);
    EXPECT_GE(calls.size(), 5U) << entry.path();  // texts, runs, n-grams
    for (std::vector<std::string> call : calls) {
      make_files(call, folder);
      std::string line;
      for (const std::string& argument : call) line += argument + " ";
      Program program;
      const auto app = make_app(program);
      std::reverse(call.begin(), call.end());  // as CLI11 wants them
      try {
        app->parse(call);
      } catch (const CLI::ParseError& problem) {
        ADD_FAILURE() << entry.path() << ": s3d-train " << line << "\n" << problem.what();
      }
    }
  }
  EXPECT_GE(scripts, 3);
}

}  // namespace
}  // namespace s3d::train
