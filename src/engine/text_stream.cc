#include "engine/text_stream.h"

namespace s3d {

std::string TextStream::push(TokenId token) {
  if (tokenizer_.is_control(token)) return stop_.push_special(tokenizer_.text(token));
  return stop_.push(utf8_.push(tokenizer_.piece(token)));
}

std::string TextStream::finish() {
  if (stopped()) return "";
  std::string rest = stop_.push(utf8_.finish());
  return rest + stop_.finish();
}

}  // namespace s3d
