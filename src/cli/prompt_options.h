// Where a prompt comes from, and how it is dressed.
#pragma once

#include <optional>
#include <string>

#include "cli/console.h"
#include "engine/prompt.h"

namespace CLI {
class App;
}

namespace s3d::cli {

// -p TEXT, -f FILE or standard input: for every command that reads text.
struct TextSource {
  std::optional<std::string> text;
  std::string file;

  void add_to(CLI::App& command);
  // Error: both given; neither given and stdin is a terminal; a file that cannot be read.
  Result<std::string> read(const Console& console) const;
};

// Flags for PromptOptions: --chat-template and its like, --system, --raw.
void add_template_options(CLI::App& command, PromptOptions& options);  // all but the two others
void add_system_option(CLI::App& command, PromptOptions& options);
void add_raw_option(CLI::App& command, PromptOptions& options);

}  // namespace s3d::cli
