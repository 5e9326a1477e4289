// From what a person asks for to the prompt of a model. Command line, chats, trainer and server make theirs here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace s3d {

struct PromptOptions {
  std::string template_name = {};                    // a known template instead of the file's own; empty: the file's
  std::string template_source = {};                  // a Jinja template instead of the file's own; empty: the file's
  std::vector<std::string> template_arguments = {};  // "KEY=JSON": variables of the template: enable_thinking=false
  std::optional<std::string> system = {};            // of questions; "": none at all; absent: the template's own
  bool trust_special = false;                        // marks of special tokens count in messages too
  bool raw = false;                                  // questions are prompts as they stand: no chat template
  bool raw_special = true;                           // special tokens that are written in such a prompt are meant so

  // Options that contradict each other, and names that are not known, before a model is opened.
  Status check() const;
};

// Makes the prompts of one model. The only place that knows whether a text is a turn of a chat or a prompt as it
// stands: the latter with PromptOptions::raw, and where there is no template. Thread rule: const after create().
class PromptMaker {
 public:
  // `tokenizer` must outlive it. Errors: those of check(); a template that cannot be run; an argument that is not
  // KEY=JSON; a system prompt without a template.
  static Result<PromptMaker> create(const Tokenizer& tokenizer, const PromptOptions& options = {});

  // Error: there is no template, so there are no chats; says how to name one.
  Status check_chat() const;

  // What one person asks, without a history: the system prompt and the text as turns of a chat, ending where the answer
  // begins; or the text as it stands, with BOS where the model wants it. Errors: no tokens; what the template refuses.
  Result<std::vector<TokenId>> question(const std::string& text) const;

  // The prompt of a chat that ends where the answer begins. Errors: check_chat(), no messages, what the template
  // refuses.
  Result<std::vector<TokenId>> chat(const std::vector<ChatMessage>& messages) const;

  // The same as text that knows what the template wrote, for any chat (parse_chat reads one from JSON); its ids.
  Result<ChatPrompt> render(const ChatContext& chat) const;
  std::vector<TokenId> ids(const ChatPrompt& prompt) const { return tokenizer_->encode_chat(prompt); }

 private:
  explicit PromptMaker(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  const Tokenizer* tokenizer_;
  std::optional<ChatTemplate> template_;  // none: questions as they stand
  std::optional<std::string> system_;
  bool raw_special_ = true;
};

}  // namespace s3d
