// Chat messages -> prompt, by running the Jinja template that a model's file brings (src/jinja), or a known one.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "jinja/template.h"
#include "s3d/types.h"
#include "text/chat_prompt.h"

namespace s3d {

using TemplateVariable = std::pair<std::string, jinja::Value>;  // such as enable_thinking, by name

struct ChatTemplateOptions {
  std::string bos, eos;  // texts of the model's tokens, for bos_token and eos_token
  std::vector<TemplateVariable> variables = {};
  // Marks of special tokens count in messages too, as other programs have it. By default what a person typed or a
  // document holds is text and nothing else: nobody can forge a turn.
  bool trust_special = false;
};

// Messages and tools as a template sees them: lists of dicts.
struct ChatContext {
  jinja::Value messages;
  jinja::Value tools = {};  // undefined: none
  bool add_generation_prompt = true;
  std::vector<TemplateVariable> variables = {};  // of this chat; they win over the template's own
};

// Messages without tools; the prompt ends where the answer begins.
ChatContext chat_context(const std::vector<ChatMessage>& messages);

// Thread rule: const after create().
class ChatTemplate {
 public:
  // `jinja`: tokenizer.chat_template; `name`: a known template that is used instead; empty: the file's own. Errors: no
  // template at all, a name that is not known, a template that cannot be run; they name --chat-template and what is
  // known.
  static Result<ChatTemplate> create(std::string_view jinja, std::string_view name = {},
                                     ChatTemplateOptions options = {});

  // The prompt; it ends where the assistant's answer begins if `add_generation_prompt`. Errors: no messages, what the
  // template refuses itself, what it cannot do with these messages.
  Result<ChatPrompt> render(const ChatContext& context) const;

  static std::vector<std::string> known_names();

 private:
  ChatTemplate(jinja::Template program, ChatTemplateOptions options)
      : program_(std::move(program)), options_(std::move(options)) {}

  jinja::Template program_;
  ChatTemplateOptions options_;
};

}  // namespace s3d
