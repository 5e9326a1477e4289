// docs/training-options.md names every option of s3d-train, with its default, and no other.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "train/cli/program.h"

namespace s3d::train {
namespace {

// What a table says of the names of an option: those of one row share a default.
using Options = std::map<std::string, std::string>;  // name, "-m" or "--model": the cell of its default
using Commands = std::map<std::string, Options>;     // by the name of the subcommand; "s3d-train": of all

std::vector<std::string> in_backticks(const std::string& text) {
  static const std::regex code("`([^` ]+)[^`]*`");
  std::vector<std::string> out;
  for (std::sregex_iterator i(text.begin(), text.end(), code), end; i != end; ++i) out.push_back((*i)[1]);
  return out;
}

// A heading names the subcommands whose options stand in the tables under it.
Commands read_page(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in.is_open()) << path;
  Commands out;
  std::vector<std::string> commands;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("## ", 0) == 0) commands = in_backticks(line);
    if (line.rfind("| `-", 0) != 0) continue;
    const size_t first = line.find(" | "), second = line.find(" | ", first + 2);
    EXPECT_NE(std::string::npos, second) << "a row of three cells was expected: " << line;
    for (const std::string& command : commands) {
      for (const std::string& name : in_backticks(line.substr(0, first))) {
        EXPECT_FALSE(out[command].contains(name)) << command << " " << name << " is there twice";
        out[command][name] = line.substr(first + 3, second - first - 3);
      }
    }
  }
  return out;
}

std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> out;
  for (const std::string& name : option.get_snames()) out.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) out.push_back("--" + name);
  return out;
}

// A number or word of its own in `cell`.
bool says(const std::string& cell, const std::string& value) {
  std::istringstream words(cell);
  for (std::string word; words >> word;) {
    while (!word.empty() && std::string(",;`").find(word.back()) != std::string::npos) word.pop_back();
    while (!word.empty() && word.front() == '`') word.erase(0, 1);
    if (word == value) return true;
  }
  return false;
}

// Every option of `command` is in `page`, and is taken out of it.
void check(const CLI::App& command, const std::string& name, Options& page) {
  for (const CLI::Option* option : command.get_options()) {
    const bool help = option == command.get_help_ptr();
    if (help && name != "s3d-train") continue;  // said once for all
    for (const std::string& flag : names_of(*option)) {
      const auto there = page.find(flag);
      if (there == page.end()) {
        ADD_FAILURE() << name << " " << flag << " is missing in docs/training-options.md";
        continue;
      }
      EXPECT_EQ(option->get_required(), says(there->second, "required")) << name << " " << flag;
      const std::string value = option->get_default_str();
      if (!value.empty() && option->get_items_expected() > 0) {
        EXPECT_TRUE(says(there->second, value)) << name << " " << flag << ": the default is " << value;
      }
      page.erase(there);
    }
  }
  for (const auto& [flag, cell] : page) ADD_FAILURE() << name << " has no option " << flag;
}

TEST(TrainOptions, AreThoseOfThePage) {
  Program program;
  const auto app = make_app(program);
  Commands page = read_page(std::string(S3D_SOURCE_DIR) + "/docs/training-options.md");
  check(*app, "s3d-train", page["s3d-train"]);
  page.erase("s3d-train");
  for (const CLI::App* command : app->get_subcommands({})) {
    const std::string name = command->get_name();
    EXPECT_TRUE(page.contains(name)) << "no table is for " << name;
    check(*command, name, page[name]);
    page.erase(name);
  }
  for (const auto& [name, options] : page) ADD_FAILURE() << "s3d-train has no subcommand " << name;
}

}  // namespace
}  // namespace s3d::train
