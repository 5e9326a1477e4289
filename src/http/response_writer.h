// The bytes of an answer. Pure functions.
#pragma once

#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>

#include "http/message.h"

namespace s3d::http {

// How the client learns where the body ends.
enum class Framing {
  kLength,   // Content-Length
  kChunked,  // HTTP/1.1
  kClose     // by the end of the connection, for clients of HTTP/1.0
};

struct ResponseHead {
  int status = 200;
  Headers headers;
  Framing framing = Framing::kLength;
  size_t length = 0;  // of the body, for kLength
  bool keep_alive = true;
  int minor_version = 1;  // of the request
  std::string request_id;
  std::time_t now = 0;
};

// Status line, fields and the empty line. Control characters in fields become '?': a value that came from outside
// cannot begin a field of its own. Fields that the server writes itself are left out of `headers`.
std::string response_head(const ResponseHead& head);

// 204 and 304 (and 1xx) have none, whatever the handler gave.
bool may_have_body(int status);

// `data` as one chunk; nothing for no data, since an empty chunk ends the body.
std::string chunk_of(std::string_view data);
constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace s3d::http
