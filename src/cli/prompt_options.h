// Where a prompt comes from, and how it is dressed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/console.h"
#include "engine/prompt.h"
#include "engine/runtime.h"

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

// --chat-template and its like, and --system; --raw where add_raw_to() was called.
struct TemplateOptions {
  PromptOptions prompt;
  std::optional<std::string> system;  // empty: none at all; absent: the template's own
  bool raw = false;

  void add_to(CLI::App& command);
  void add_template_to(CLI::App& command);  // all but --system
  void add_raw_to(CLI::App& command);
  Status check() const;
  // Error: no template in the file and none named, or one that is not known.
  Result<ChatTemplate> create(const Tokenizer& tokenizer) const;
};

// Makes prompts of a user's texts: dressed by the chat template, or as they stand with --raw or when the model has no
// template and none is named. The engine must outlive it.
class PromptMaker {
 public:
  // Error: a template that is not known; a system prompt without a template.
  static Result<PromptMaker> create(const Runtime& runtime, const TemplateOptions& options);
  Result<std::vector<TokenId>> tokens(const std::string& text) const;

 private:
  explicit PromptMaker(const Runtime& runtime) : runtime_(&runtime) {}

  const Runtime* runtime_;
  std::optional<ChatTemplate> chat_template_;  // none: texts as they stand
  std::optional<std::string> system_;
};

}  // namespace s3d::cli
