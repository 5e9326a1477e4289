// A text that grows, or is replaced by another one, on one sequence of the KV cache.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "engine/runtime.h"

namespace s3d {

// Remembers which tokens have their keys and values in the cache, so that an answer to a longer prompt runs only what
// is new. The runtime must outlive it. Thread rule: that of Runtime.
class TextSequence {
 public:
  explicit TextSequence(Runtime& runtime) : runtime_(runtime), sequence_(runtime.kv().add_sequence()) {}

  // Runtime::answer() for `prompt`, whose common beginning with what was run before is not run again.
  Result<Answer> answer(std::span<const TokenId> prompt, const AnswerOptions& options, const OnText& on_text = {});
  int tokens() const { return static_cast<int>(committed_.size()); }  // in the KV cache

 private:
  void keep_common_prefix(std::span<const TokenId> prompt);

  Runtime& runtime_;
  KvSequence sequence_;
  std::vector<TokenId> committed_;  // tokens whose keys and values are in the cache
};

}  // namespace s3d
