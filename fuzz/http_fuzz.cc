// Fuzz entry: any bytes as what a client sends. Where they are cut must not matter, so they are read twice: at once,
// and in parts whose sizes come from the bytes themselves.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "http/message.h"
#include "http/request_parser.h"
#include "http/response_writer.h"
#include "http/target.h"

namespace {

using s3d::http::ParserLimits;
using s3d::http::Request;
using s3d::http::RequestParser;

struct Read {
  std::vector<Request> requests;
  int status = 0;  // of the failure
};

class Reader {
 public:
  void add(std::string_view bytes) {
    waiting_ += bytes;
    while (parser_.state() != RequestParser::State::kFailed) {
      const size_t taken = parser_.feed(waiting_);
      waiting_.erase(0, taken);
      if (parser_.state() == RequestParser::State::kHeadRead) {
        parser_.accept_body();
      } else if (parser_.state() == RequestParser::State::kDone) {
        read_.requests.push_back(parser_.take());
      } else if (taken == 0) {
        break;
      }
    }
  }
  Read end() {
    if (parser_.state() == RequestParser::State::kFailed) read_.status = parser_.failure().status;
    return std::move(read_);
  }

 private:
  RequestParser parser_{ParserLimits{.head = 2048, .headers = 20, .body = 4096}};
  std::string waiting_;
  Read read_;
};

void check_equal(const Read& a, const Read& b) {
  S3D_CHECK(a.status == b.status && a.requests.size() == b.requests.size(), "the same however it is cut");
  for (size_t i = 0; i < a.requests.size(); ++i) {
    S3D_CHECK(a.requests[i].target == b.requests[i].target && a.requests[i].body == b.requests[i].body,
              "the same request");
  }
}

void check_request(const Request& request) {
  S3D_CHECK(s3d::http::is_known_method(request.method), "unknown methods are refused");
  S3D_CHECK(request.path == "*" || request.path.starts_with('/'), "a path is absolute");
  S3D_CHECK(request.path.find('\0') == std::string::npos && request.path.find("/../") == std::string::npos,
            "and plain");
  S3D_CHECK(request.body.size() <= 4096 && request.headers.size() <= 20, "limits");
  (void)s3d::http::query_value(request.query, "a");
  // What a client sent, given back in a field, begins no other field.
  const std::string* value = request.headers.find("x");
  const std::string head = s3d::http::response_head({.headers = {{"x", value == nullptr ? request.path : *value}}});
  S3D_CHECK(std::count(head.begin(), head.end(), '\n') == 5, "status, date, x, length, end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Reader whole;
  whole.add(bytes);
  const Read at_once = whole.end();
  Reader parts;
  for (size_t at = 0; at < size;) {
    const size_t part = 1 + data[at] % 23;
    parts.add(bytes.substr(at, part));
    at += part;
  }
  check_equal(at_once, parts.end());
  for (const Request& request : at_once.requests) check_request(request);
  return 0;
}
