#include "cli/prompt_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "base/text_file.h"

namespace s3d::cli {

void TextSource::add_to(CLI::App& command) {
  auto* given = command.add_option("-p,--prompt", text, "The text")->type_name("TEXT");
  command.add_option("-f,--file", file, "A file with the text; -: standard input, the default when it is no terminal")
      ->type_name("FILE")
      ->excludes(given);
}

Result<std::string> TextSource::read(const Console& console) const {
  if (text) return *text;
  if (!file.empty()) return read_text_file(file);
  if (console.stdin_is_terminal()) return Error{"no prompt: give -p TEXT or -f FILE, or pipe a text in"};
  return read_text_file("-");
}

void add_template_options(CLI::App& command, PromptOptions& options) {
  command.add_option("--chat-template", options.template_name, "A known chat template instead of the file's own")
      ->type_name(fmt::format("{}", fmt::join(ChatTemplate::known_names(), "|")));
  command
      .add_option("--template-arg", options.template_arguments,
                  "A variable of the chat template, as in enable_thinking=false; may be given again")
      ->type_name("KEY=JSON")
      ->allow_extra_args(false);
  command.add_flag("--trust-special", options.trust_special,
                   "Marks of special tokens that stand in messages count, as if the template had written them");
}

void add_system_option(CLI::App& command, PromptOptions& options) {
  command.add_option("--system,--system-prompt", options.system, "System prompt (default: the template's own)")
      ->type_name("TEXT");
}

void add_raw_option(CLI::App& command, PromptOptions& options) {
  command.add_flag("--raw", options.raw, "No chat template: the text is the prompt");
}

}  // namespace s3d::cli
