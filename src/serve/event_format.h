// Formats of answers whose stream is server-sent events.
#pragma once

#include <string>
#include <string_view>

#include "serve/figures.h"

namespace s3d::serve {

class EventFormat : public AnswerFormat {
 public:
  explicit EventFormat(Dialect dialect) : dialect_(dialect) {}  // of errors

  std::string_view stream_type() const final { return "text/event-stream; charset=utf-8"; }
  std::string_view ping() const final { return ": ping\n\n"; }  // a comment
  void failure(const ApiError& error, std::string& out) override { out += sse_event(error_body(error, dialect_)); }

 private:
  Dialect dialect_;
};

}  // namespace s3d::serve
