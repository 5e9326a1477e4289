// docs/cli.md against the option tree: every option is in the tables of its command, and no other one is.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "cli/program.h"

namespace s3d::cli {
namespace {

using Names = std::set<std::string>;

// One section of the page: what stands under a heading "## …" or "### …".
struct Section {
  Names options;                     // of the first column of its tables whose first heading is "option"
  std::vector<std::string> anchors;  // of the sections of the same page that its text refers to
};

// "Answer and sampling options" -> "answer-and-sampling-options", as GitHub makes it.
std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char c : heading) {
    if (c == ' ') anchor += '-';
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-') {
      anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return anchor;
}

// The options "-x" and "--xyz" of a text.
Names options_in(const std::string& text) {
  static const std::regex pattern("(^|[^-A-Za-z0-9])(--?[a-z][a-z0-9-]*)");
  Names names;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) names.insert((*it)[2]);
  return names;
}

// [anchor]
std::map<std::string, Section> read_page(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in) << path;
  static const std::regex link("\\]\\(#([a-z0-9-]+)\\)");
  std::map<std::string, Section> sections;
  Section* section = &sections[""];
  bool option_table = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("## ") || line.starts_with("### ")) {
      section = &sections[anchor_of(line.substr(line.find(' ') + 1))];
    }
    if (!line.starts_with("|")) {
      option_table = false;
      for (std::sregex_iterator it(line.begin(), line.end(), link), end; it != end; ++it) {
        section->anchors.push_back((*it)[1]);
      }
    } else if (line.starts_with("| option |")) {
      option_table = true;
    } else if (option_table) {
      section->options.merge(options_in(line.substr(0, line.find(" | "))));
    }
  }
  return sections;
}

Names names_of(const CLI::App& command) {
  Names names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_snames()) names.insert("-" + name);
    for (const std::string& name : option->get_lnames()) names.insert("--" + name);
  }
  return names;
}

class CliReferenceTest : public ::testing::Test {
 protected:
  // The tables of a command, and those of the shared sections ("… options", "… option") that its text refers to.
  Names documented(const std::string& anchor) const {
    const Section& section = sections_.at(anchor);
    Names names = section.options;
    for (const std::string& shared : section.anchors) {
      const bool is_shared = shared.ends_with("-options") || shared.ends_with("-option");
      if (is_shared && sections_.contains(shared)) names.merge(Names(sections_.at(shared).options));
    }
    return names;
  }

  // `command` and those below it; `path` is "s3d generate".
  void compare(const CLI::App& command, const std::string& path) {
    all_.merge(names_of(command));
    ASSERT_TRUE(sections_.contains(anchor_of(path))) << "docs/cli.md has no section '" << path << "'";
    Names real = names_of(command);
    if (&command != app_.get()) real.erase("-h"), real.erase("--help");  // stand in the program's own table
    const Names told = documented(anchor_of(path));
    for (const std::string& name : real)
      EXPECT_TRUE(told.contains(name)) << path << " " << name << " is not in docs/cli.md";
    for (const std::string& name : told)
      EXPECT_TRUE(real.contains(name)) << "docs/cli.md: " << path << " has no " << name;
    for (const CLI::App* below : command.get_subcommands([](const CLI::App*) { return true; })) {
      compare(*below, path + " " + below->get_name());
    }
  }

  Program program_;
  std::unique_ptr<CLI::App> app_ = make_app(program_);
  std::map<std::string, Section> sections_ = read_page(S3D_SOURCE_DIR "/docs/cli.md");
  Names all_;  // of all commands
};

TEST_F(CliReferenceTest, TablesHoldTheOptionsOfEachCommand) {
  compare(*app_, "s3d");
}

TEST_F(CliReferenceTest, NoOptionIsNamedThatNoCommandHas) {
  compare(*app_, "s3d");
  std::ifstream in(S3D_SOURCE_DIR "/docs/cli.md");
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  for (const std::string& name : options_in(page)) {
    if (name.starts_with("--")) EXPECT_TRUE(all_.contains(name)) << "docs/cli.md names " << name;
  }
}

}  // namespace
}  // namespace s3d::cli
