// A chat of many turns on one sequence of the KV cache.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace s3d {

// Keeps the messages, and what of them is already in the KV cache, so that a turn runs only new tokens.
// Uses the engine that it was made with for its whole life. Thread rule: as Engine.
class Conversation {
 public:
  Conversation(Engine& engine, ChatTemplate chat_template, std::optional<std::string> system);
  ~Conversation();
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
  int tokens() const;  // in the KV cache

 private:
  void keep_common_prefix(const std::vector<TokenId>& prompt);
  void remember(const std::vector<TokenId>& prompt, const Generation& generation);

  Engine& engine_;
  ChatTemplate template_;
  std::optional<std::string> system_;
  std::vector<ChatMessage> messages_;
  SeqId seq_;
  std::vector<TokenId> committed_;  // tokens whose keys and values are in the cache
};

}  // namespace s3d
