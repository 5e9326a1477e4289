// From the bytes of a connection to requests. Incremental and pure: no sockets, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/chunk_decoder.h"
#include "http/message.h"
#include "http/syntax.h"

namespace s3d::http {

struct ParserLimits {
  size_t head = 16 << 10;  // bytes of request line and fields
  int headers = 100;       // fields
  size_t body = 64 << 20;  // bytes, without framing
};

// Reads one request after the other. It stops behind each head, so that a request can be refused before its body comes,
// and behind each request: what the client has sent beyond it stays with the caller.
// Thread rule: one thread at a time.
class RequestParser {
 public:
  enum class State {
    kHead,      // of a request that has not begun, or is not there as a whole
    kHeadRead,  // head() is there; accept_body() goes on
    kBody,
    kDone,   // take() gives the request and begins the next one
    kFailed  // failure() says why; the connection cannot be understood from here on
  };

  explicit RequestParser(ParserLimits limits) : limits_(limits), lines_(limits.head) {}

  // Returns how many bytes of `input` were taken. Takes none in kHeadRead, kDone and kFailed.
  size_t feed(std::string_view input);

  State state() const { return state_; }
  const ParseFailure& failure() const { return failure_; }

  // From kHeadRead on: all of the request but the body (and peer and id, which are the caller's to fill in).
  const Request& head() const { return request_; }
  bool expects_continue() const { return expects_continue_; }  // the client waits for "100 Continue"
  bool has_body() const { return chunked_ || content_length_ > 0; }
  void accept_body();

  size_t body_bytes() const { return request_.body.size(); }  // that have come
  bool begun() const { return begun_; }                       // some byte of this request was taken

  Request take();

 private:
  void fail(int status, std::string message);
  void take_line(std::string_view& input);
  void take_body(std::string_view& input);
  void request_line(const std::string& line);
  void version(std::string_view text);
  void field(const std::string& line);
  void finish_head();
  void check_host();
  void framing();
  void expectation();

  ParserLimits limits_;
  State state_ = State::kHead;
  ParseFailure failure_;
  Request request_;
  LineReader lines_;
  bool begun_ = false;
  bool has_request_line_ = false;
  bool expects_continue_ = false;
  bool chunked_ = false;
  uint64_t content_length_ = 0;
  std::optional<ChunkDecoder> chunks_;
};

}  // namespace s3d::http
