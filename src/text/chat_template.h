// Chat messages -> prompt text, for the template families that a GGUF's Jinja template is recognised as.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace s3d {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

class ChatTemplate {
 public:
  // `jinja`: tokenizer.chat_template; `name`: a family forced by --chat-template (chatml, llama2, llama3, phi3, gemma,
  // mistral), empty = recognise. Error: neither is known; the message names --chat-template and the families.
  static Result<ChatTemplate> create(std::string_view jinja, std::string_view name);

  // The prompt, ending where the assistant's answer begins if `add_generation_prompt`. Contains special tokens as text
  // (encode with parse_special) and no BOS. The file's own default system prompt is used when messages have none.
  // Error: unknown role, or an order of roles that the family forbids.
  Result<std::string> render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;

  std::string_view name() const;
  static std::vector<std::string> known_names();

  enum class Family { kChatMl, kLlama2, kLlama3, kPhi3, kGemma, kMistral };

 private:
  ChatTemplate(Family family, std::string default_system)
      : family_(family), default_system_(std::move(default_system)) {}
  Family family_;
  std::string default_system_;
};

}  // namespace s3d
