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

void TemplateOptions::add_template_to(CLI::App& command) {
  command.add_option("--chat-template", prompt.template_name, "A known chat template instead of the file's own")
      ->type_name(fmt::format("{}", fmt::join(ChatTemplate::known_names(), "|")));
  command
      .add_option("--template-arg", prompt.template_arguments,
                  "A variable of the chat template, as in enable_thinking=false; may be given again")
      ->type_name("KEY=JSON")
      ->allow_extra_args(false);
  command.add_flag("--trust-special", prompt.trust_special,
                   "Marks of special tokens that stand in messages count, as if the template had written them");
}

void TemplateOptions::add_to(CLI::App& command) {
  add_template_to(command);
  command.add_option("--system,--system-prompt", system, "System prompt (default: the template's own)")
      ->type_name("TEXT");
}

void TemplateOptions::add_raw_to(CLI::App& command) {
  command.add_flag("--raw", raw, "No chat template: the text is the prompt");
}

Status TemplateOptions::check() const {
  if (raw && (!prompt.template_name.empty() || system)) {
    return Error{"--raw uses no chat template: leave out --chat-template and --system"};
  }
  if (prompt.template_name.empty()) return Ok();
  S3D_TRY(ChatTemplate::create("", prompt.template_name));
  return Ok();
}

Result<ChatTemplate> TemplateOptions::create(const Tokenizer& tokenizer) const {
  return make_chat_template(tokenizer, prompt);
}

Result<PromptMaker> PromptMaker::create(const Runtime& runtime, const TemplateOptions& options) {
  PromptMaker maker(runtime);
  const bool no_template = runtime.tokenizer().chat_template().empty() && options.prompt.template_name.empty();
  if (options.raw || no_template) {
    if (!options.system) return maker;
    return Error{"the model has no chat template, so --system has no place: name one with --chat-template"};
  }
  S3D_ASSIGN(maker.chat_template_, options.create(runtime.tokenizer()));
  maker.system_ = options.system;
  return maker;
}

Result<std::vector<TokenId>> PromptMaker::tokens(const std::string& text) const {
  if (!chat_template_) return runtime_->encode(text);
  std::vector<ChatMessage> messages;
  if (system_) messages.push_back({.role = "system", .content = *system_});
  messages.push_back({.role = "user", .content = text});
  return runtime_->encode_chat(*chat_template_, messages);
}

}  // namespace s3d::cli
