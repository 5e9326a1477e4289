// Tokens of one answer -> text that can be shown.
#pragma once

#include <string>
#include <vector>

#include "text/stream.h"
#include "text/tokenizer.h"

namespace s3d {

// Joins the bytes of tokens to whole characters, and holds back what may become a stop string. Special tokens are not
// shown, but for those of `shown`; a stop string may hold their text. `tokenizer` must outlive it. Thread rule: one
// call at a time.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, std::vector<std::string> stops, std::vector<TokenId> shown = {})
      : tokenizer_(tokenizer), stop_(std::move(stops)), shown_(std::move(shown)) {}

  std::string push(TokenId token);  // what can be shown now
  std::string finish();             // what was held back, once, at the end; nothing after a stop string
  bool stopped() const { return stop_.stopped(); }
  const std::string& stop() const { return stop_.stop(); }  // the stop string that came; empty: none

 private:
  const Tokenizer& tokenizer_;
  Utf8Stream utf8_;
  StopMatcher stop_;
  std::vector<TokenId> shown_;
};

}  // namespace s3d
