// Where a prompt comes from, and how it is dressed.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/console.h"
#include "engine/engine.h"

namespace s3d::cli {

// -p TEXT, -f FILE or standard input: for every command that reads text.
struct TextSource {
  std::optional<std::string> text;
  std::string file;

  void add_to(CLI::App& command);
  // Error: both given; neither given and stdin is a terminal; a file that cannot be read.
  Result<std::string> read(const Console& console) const;
};

// --chat-template and --system.
struct TemplateOptions {
  std::string name;
  std::string system;

  void add_to(CLI::App& command);
  Status check() const;
  // Error: no template in the file and none named, or one that is not known.
  Result<ChatTemplate> create(const Tokenizer& tokenizer) const;
};

// The bytes of a file ("-": standard input). Error: names the file and what the system said.
Result<std::string> read_text_file(const std::string& path);

}  // namespace s3d::cli
