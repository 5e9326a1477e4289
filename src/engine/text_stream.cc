#include "engine/text_stream.h"

#include <algorithm>

namespace s3d {

std::string TextStream::push(TokenId token) {
  if (tokenizer_.is_control(token)) {
    const bool shown = std::find(shown_.begin(), shown_.end(), token) != shown_.end();
    return shown ? stop_.push(tokenizer_.text(token)) : stop_.push_special(tokenizer_.text(token));
  }
  return stop_.push(utf8_.push(tokenizer_.piece(token)));
}

std::string TextStream::finish() {
  if (stopped()) return "";
  std::string rest = stop_.push(utf8_.finish());
  return rest + stop_.finish();
}

}  // namespace s3d
