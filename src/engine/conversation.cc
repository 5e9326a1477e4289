#include "engine/conversation.h"

#include <algorithm>

namespace s3d {

Conversation::Conversation(Engine& engine, ChatTemplate chat_template, std::optional<std::string> system)
    : engine_(engine), template_(std::move(chat_template)), seq_(engine.kv().add_sequence()) {
  reset(std::move(system));
}

Conversation::~Conversation() {
  engine_.kv().remove_sequence(seq_);
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

int Conversation::tokens() const {
  return static_cast<int>(committed_.size());
}

// The last token of a prompt always runs again: its logits decide the first token of the answer.
void Conversation::keep_common_prefix(const std::vector<TokenId>& prompt) {
  const size_t most = std::min(committed_.size(), prompt.size() - 1);
  size_t common = 0;
  while (common < most && committed_[common] == prompt[common]) ++common;
  committed_.resize(common);
  engine_.kv().truncate(seq_, static_cast<int>(common));
}

void Conversation::remember(const std::vector<TokenId>& prompt, const Generation& generation) {
  committed_ = prompt;
  committed_.insert(committed_.end(), generation.tokens.begin(), generation.tokens.end());
  committed_.resize(std::min(committed_.size(), static_cast<size_t>(engine_.kv().length(seq_))));
}

Result<Answer> Conversation::ask(std::string text, const AnswerOptions& options, const OnText& on_text) {
  messages_.push_back({.role = "user", .content = std::move(text)});
  auto prompt = engine_.encode_chat(template_, messages_);
  if (!prompt.ok()) {
    messages_.pop_back();
    return prompt.error();
  }
  keep_common_prefix(*prompt);
  auto answer = engine_.answer(seq_, *prompt, options, on_text);
  remember(*prompt, answer.ok() ? answer->generation : Generation{});
  if (!answer.ok() || (answer->text.empty() && answer->generation.reason == FinishReason::kCancelled)) {
    messages_.pop_back();
  } else {
    messages_.push_back({.role = "assistant", .content = answer->text});
  }
  return answer;
}

}  // namespace s3d
