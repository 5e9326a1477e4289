// Chat messages -> prompt text, for the template families that a GGUF's Jinja template is recognised as.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "s3d/types.h"

namespace s3d {

// Thread rule: const after create().
class ChatTemplate {
 public:
  // `jinja`: tokenizer.chat_template; `name`: a family forced by --chat-template (chatml, llama2, llama3, phi3, gemma,
  // mistral), empty = recognise. Where the family is forced, the file's default system prompt is used only if the
  // file's template is of that family. Error: neither is known; the message names --chat-template and the families.
  static Result<ChatTemplate> create(std::string_view jinja, std::string_view name);

  // The prompt, ending where the assistant's answer begins if `add_generation_prompt`. Contains special tokens as text
  // (encode with parse_special) and no BOS. The file's own default system prompt is used when messages have none.
  // Error: no messages, unknown role, or an order of roles that the family forbids.
  Result<std::string> render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;

  std::string_view name() const;
  const std::string& default_system() const { return style_.default_system; }  // empty = none
  static std::vector<std::string> known_names();

  enum class Family { kChatMl, kLlama2, kLlama3, kPhi3, kGemma, kMistral };

  // What templates of one family do differently; found in the template's text.
  struct Style {
    std::string default_system;         // the system prompt when the messages have none
    std::string system_preamble;        // put before any system prompt (Llama 3.1: dates)
    bool trim = false;                  // contents lose white space at both ends
    bool system_allowed = true;         // Gemma, Mistral, Llama 2: the template takes a system prompt
    bool system_with_last = false;      // Mistral: the system prompt goes with the last user message, not the first
    std::string user_end = " [/INST]";  // Mistral, Llama 2: what ends a user message
    std::string answer_begin;           // Mistral, Llama 2: what lies between that and the answer
    std::string answer_end = "</s>";    // Mistral, Llama 2: what ends an answer
  };

 private:
  ChatTemplate(Family family, Style style) : family_(family), style_(std::move(style)) {}
  Status check_order(const std::vector<ChatMessage>& messages) const;
  std::string content(const ChatMessage& message) const;
  std::string render_marked(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;
  std::string render_gemma(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;
  std::string render_inst(const std::vector<ChatMessage>& messages) const;

  Family family_;
  Style style_;
};

}  // namespace s3d
