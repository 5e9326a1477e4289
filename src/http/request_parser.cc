#include "http/request_parser.h"

#include <algorithm>

#include "base/check.h"
#include "http/target.h"

namespace s3d::http {

void RequestParser::fail(int status, std::string message) {
  if (state_ == State::kFailed) return;  // the first reason counts
  state_ = State::kFailed;
  failure_ = {status, std::move(message)};
}

size_t RequestParser::feed(std::string_view input) {
  const size_t size = input.size();
  while (state_ == State::kHead && !input.empty()) take_line(input);
  if (state_ == State::kBody) take_body(input);
  return size - input.size();
}

void RequestParser::take_line(std::string_view& input) {
  const LineReader::Got got = lines_.take(input);
  begun_ = true;
  switch (got) {
    case LineReader::Got::kPart:
      return;
    case LineReader::Got::kTooLong:
      return has_request_line_ ? fail(431, "the header is longer than this server accepts")
                               : fail(414, "the request line is longer than this server accepts");
    case LineReader::Got::kBad:
      return fail(400, "a line of the header does not end with CR LF, or holds a zero byte");
    case LineReader::Got::kLine:
      break;
  }
  const std::string& line = lines_.line();
  if (has_request_line_) return line.empty() ? finish_head() : field(line);
  // Empty lines before a request are let pass: old clients send one behind a body.
  if (line.empty()) {
    begun_ = false;
    return;
  }
  request_line(line);
}

void RequestParser::request_line(const std::string& line) {
  has_request_line_ = true;
  const size_t first = line.find(' ');
  const size_t second = first == std::string::npos ? first : line.find(' ', first + 1);
  if (second == std::string::npos) return fail(400, "the request line is not 'METHOD TARGET HTTP/1.1'");
  request_.method = line.substr(0, first);
  request_.target = line.substr(first + 1, second - first - 1);
  if (!is_token(request_.method)) return fail(400, "the method of the request holds a character that may not be there");
  version(std::string_view{line}.substr(second + 1));
  if (state_ == State::kFailed) return;
  if (!is_known_method(request_.method)) return fail(501, "this server does not know the method of the request");
  auto target = parse_target(request_.target);
  if (!target.ok()) return fail(400, target.error().message);
  if (target->path == "*" && request_.method != "OPTIONS") return fail(400, "the target '*' is for OPTIONS only");
  request_.path = std::move(target->path);
  request_.query = std::move(target->query);
}

void RequestParser::version(std::string_view text) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.size() != 8 || !text.starts_with("HTTP/") || !is_digit(text[5]) || text[6] != '.' || !is_digit(text[7])) {
    return fail(400, "the request line does not end with 'HTTP/1.1'");
  }
  if (text[5] != '1') return fail(505, "this server speaks HTTP/1.1");
  request_.minor_version = text[7] == '0' ? 0 : 1;
}

void RequestParser::field(const std::string& line) {
  if (static_cast<int>(request_.headers.size()) >= limits_.headers) return fail(431, "too many header fields");
  auto header = parse_field(line);
  if (!header.ok()) return fail(400, header.error().message);
  request_.headers.add(std::move(header->name), std::move(header->value));
}

void RequestParser::finish_head() {
  check_host();
  framing();
  expectation();
  if (state_ == State::kFailed) return;
  const bool closes = list_holds(request_.headers, "Connection", "close");
  const bool keeps = list_holds(request_.headers, "Connection", "keep-alive");
  request_.keep_alive = !closes && (request_.minor_version == 1 || keeps);
  state_ = State::kHeadRead;
}

void RequestParser::check_host() {
  const int hosts = request_.headers.count("Host");
  if (hosts > 1) return fail(400, "more than one Host field");
  if (hosts == 0 && request_.minor_version == 1) return fail(400, "the Host field is missing");
}

// How long the body is. Whatever two readers could understand differently is refused: that is how requests are
// smuggled.
void RequestParser::framing() {
  const std::string* coding = request_.headers.find("Transfer-Encoding");
  const std::string* length = request_.headers.find("Content-Length");
  if (coding != nullptr) {
    if (length != nullptr) return fail(400, "both Transfer-Encoding and Content-Length");
    if (request_.minor_version == 0) return fail(400, "Transfer-Encoding in HTTP/1.0");
    if (request_.headers.count("Transfer-Encoding") > 1 || !equal_ignoring_case(*coding, "chunked")) {
      return fail(501, "this server knows only the transfer coding 'chunked'");
    }
    chunked_ = true;
    return;
  }
  if (length == nullptr) return;
  if (request_.headers.count("Content-Length") > 1) return fail(400, "more than one Content-Length field");
  const auto bytes = parse_decimal(*length);
  if (!bytes) return fail(400, "Content-Length is not a number");
  if (*bytes > limits_.body) return fail(413, "the body is larger than this server accepts");
  content_length_ = *bytes;
}

void RequestParser::expectation() {
  const std::string* expected = request_.headers.find("Expect");
  if (expected == nullptr || request_.minor_version == 0) return;  // HTTP/1.0 had none
  if (!equal_ignoring_case(*expected, "100-continue")) return fail(417, "the only expectation known is 100-continue");
  expects_continue_ = true;
}

void RequestParser::accept_body() {
  S3D_CHECK(state_ == State::kHeadRead, "there is a head to accept");
  state_ = has_body() ? State::kBody : State::kDone;
  if (chunked_) chunks_.emplace(limits_.body);
}

void RequestParser::take_body(std::string_view& input) {
  if (!chunked_) {
    const size_t bytes = std::min<size_t>(input.size(), content_length_ - request_.body.size());
    request_.body += input.substr(0, bytes);
    input.remove_prefix(bytes);
    if (request_.body.size() == content_length_) state_ = State::kDone;
    return;
  }
  if (const auto failure = chunks_->feed(input, request_.body)) return fail(failure->status, failure->message);
  if (chunks_->done()) state_ = State::kDone;
}

Request RequestParser::take() {
  S3D_CHECK(state_ == State::kDone, "there is a request to take");
  Request request = std::move(request_);
  *this = RequestParser(limits_);
  return request;
}

}  // namespace s3d::http
