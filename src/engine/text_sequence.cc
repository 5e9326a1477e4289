#include "engine/text_sequence.h"

#include <algorithm>

namespace s3d {

// The last token of a prompt always runs again: its logits decide the first token of the answer.
void TextSequence::keep_common_prefix(std::span<const TokenId> prompt) {
  const size_t most = prompt.empty() ? 0 : std::min(committed_.size(), prompt.size() - 1);
  size_t common = 0;
  while (common < most && committed_[common] == prompt[common]) ++common;
  committed_.resize(common);
  runtime_.kv().truncate(sequence_, static_cast<int>(common));
}

Result<Answer> TextSequence::answer(std::span<const TokenId> prompt, const AnswerOptions& options,
                                    const OnText& on_text) {
  keep_common_prefix(prompt);
  auto answer = runtime_.answer(sequence_, prompt, options, on_text);
  committed_.assign(prompt.begin(), prompt.end());
  if (answer.ok()) {
    committed_.insert(committed_.end(), answer->generation.tokens.begin(), answer->generation.tokens.end());
  }
  // After an error, and of the last token, less is there.
  committed_.resize(std::min(committed_.size(), static_cast<size_t>(runtime_.kv().length(sequence_))));
  return answer;
}

}  // namespace s3d
