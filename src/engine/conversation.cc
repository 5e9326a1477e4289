#include "engine/conversation.h"

namespace s3d {

Conversation::Conversation(Runtime& runtime, PromptMaker prompts, std::optional<std::string> system)
    : prompts_(std::move(prompts)), sequence_(runtime) {
  reset(std::move(system));
}

void Conversation::reset(std::optional<std::string> system) {
  system_ = std::move(system);
  messages_.clear();
  if (system_) messages_.push_back({.role = "system", .content = *system_});
}

bool Conversation::undo() {
  if (messages_.size() < 2 || messages_.back().role != "assistant") return false;
  messages_.resize(messages_.size() - 2);
  return true;
}

Result<Answer> Conversation::ask(std::string text, const AnswerOptions& options, const OnText& on_text) {
  messages_.push_back({.role = "user", .content = std::move(text)});
  auto prompt = prompts_.chat(messages_);
  if (!prompt.ok()) {
    messages_.pop_back();
    return prompt.error();
  }
  auto answer = sequence_.answer(*prompt, options, on_text);
  if (!answer.ok() || (answer->text.empty() && answer->generation.reason == FinishReason::kCancelled)) {
    messages_.pop_back();
  } else {
    messages_.push_back({.role = "assistant", .content = answer->text});
  }
  return answer;
}

}  // namespace s3d
