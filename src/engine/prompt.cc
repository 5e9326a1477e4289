#include "engine/prompt.h"

#include <utility>

#include "engine/chat_json.h"

namespace s3d {
namespace {

// The template of a model, with the texts of its BOS and EOS tokens.
Result<ChatTemplate> make_template(const Tokenizer& tokenizer, const PromptOptions& options) {
  ChatTemplateOptions wanted = {.bos = tokenizer.text(tokenizer.bos()),
                                .eos = tokenizer.text(tokenizer.eos()),
                                .variables = {},
                                .trust_special = options.trust_special};
  for (const std::string& argument : options.template_arguments) {
    S3D_ASSIGN(auto variable, parse_template_argument(argument));
    wanted.variables.push_back(std::move(variable));
  }
  const std::string& source = options.template_source.empty() ? tokenizer.chat_template() : options.template_source;
  return ChatTemplate::create(source, options.template_name, std::move(wanted));
}

}  // namespace

Status PromptOptions::check() const {
  if (raw && (!template_name.empty() || system)) {
    return Error{"--raw uses no chat template: leave out --chat-template and --system"};
  }
  if (template_name.empty()) return Ok();
  S3D_TRY(ChatTemplate::create("", template_name));
  return Ok();
}

Result<PromptMaker> PromptMaker::create(const Tokenizer& tokenizer, const PromptOptions& options) {
  S3D_TRY(options.check());
  PromptMaker maker(tokenizer);
  maker.raw_special_ = options.raw_special;
  const bool no_template =
      tokenizer.chat_template().empty() && options.template_name.empty() && options.template_source.empty();
  if (options.raw || no_template) {
    if (!options.system) return maker;
    return Error{"the model has no chat template, so --system has no place: name one with --chat-template"};
  }
  S3D_ASSIGN(maker.template_, make_template(tokenizer, options));
  maker.system_ = options.system;
  return maker;
}

Status PromptMaker::check_chat() const {
  if (template_) return Ok();
  return ChatTemplate::create("").error();
}

Result<std::vector<TokenId>> PromptMaker::question(const std::string& text) const {
  if (!template_) {
    std::vector<TokenId> ids = tokenizer_->encode(text, /*add_bos=*/true, raw_special_);
    if (ids.empty()) return Error{"the prompt is empty: generation needs at least one token"};
    return ids;
  }
  std::vector<ChatMessage> messages;
  if (system_) messages.push_back({.role = "system", .content = *system_});
  messages.push_back({.role = "user", .content = text});
  return chat(messages);
}

Result<std::vector<TokenId>> PromptMaker::chat(const std::vector<ChatMessage>& messages) const {
  S3D_ASSIGN(const ChatPrompt prompt, render(chat_context(messages)));
  return ids(prompt);
}

Result<ChatPrompt> PromptMaker::render(const ChatContext& chat) const {
  S3D_TRY(check_chat());
  return template_->render(chat);
}

}  // namespace s3d
