// A chat of many turns on one sequence of the KV cache.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/prompt.h"
#include "engine/text_sequence.h"

namespace s3d {

// Keeps the messages, and what of them is already in the KV cache, so that a turn runs only new tokens.
// Uses the runtime that it was made with for its whole life. Thread rule: as Runtime.
class Conversation {
 public:
  // `prompts` must be able to make chats (check_chat).
  Conversation(Runtime& runtime, PromptMaker prompts, std::optional<std::string> system);
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  // Adds the user's message, generates the answer and adds it too. After an error or a cancelled prompt (no text) the
  // user's message is dropped again; a cancelled answer is kept as far as it came.
  Result<Answer> ask(std::string text, const AnswerOptions& options, const OnText& on_text = {});

  // Forgets all turns; `system`: the system prompt from now on, absent = the template's own.
  void reset(std::optional<std::string> system);

  // Drops the last question and its answer. False if there is none.
  bool undo();

  const std::vector<ChatMessage>& messages() const { return messages_; }
  const std::optional<std::string>& system() const { return system_; }
  int tokens() const { return sequence_.tokens(); }  // in the KV cache

 private:
  PromptMaker prompts_;
  std::optional<std::string> system_;
  std::vector<ChatMessage> messages_;
  TextSequence sequence_;
};

}  // namespace s3d
