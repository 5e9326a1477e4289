#include "http/response_writer.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace s3d::http {
namespace {

bool is_the_servers(std::string_view name) {
  constexpr std::array<std::string_view, 5> kNames = {"Content-Length", "Transfer-Encoding", "Connection", "Date",
                                                      "X-Request-Id"};
  return std::any_of(kNames.begin(), kNames.end(), [&](std::string_view n) { return equal_ignoring_case(n, name); });
}

void append_clean(std::string& out, std::string_view text) {
  std::transform(text.begin(), text.end(), std::back_inserter(out), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f ? '?' : c;
  });
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  append_clean(out, name);
  out += ": ";
  append_clean(out, value);
  out += "\r\n";
}

}  // namespace

bool may_have_body(int status) {
  return status >= 200 && status != 204 && status != 304;
}

std::string response_head(const ResponseHead& head) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", head.status, reason_phrase(head.status));
  append_field(out, "Date", fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(head.now)));
  for (const Header& header : head.headers) {
    if (!is_the_servers(header.name)) append_field(out, header.name, header.value);
  }
  if (!head.request_id.empty()) append_field(out, "x-request-id", head.request_id);
  if (may_have_body(head.status)) {
    if (head.framing == Framing::kLength) append_field(out, "Content-Length", std::to_string(head.length));
    if (head.framing == Framing::kChunked) append_field(out, "Transfer-Encoding", "chunked");
  }
  if (!head.keep_alive) {
    append_field(out, "Connection", "close");
  } else if (head.minor_version == 0) {
    append_field(out, "Connection", "keep-alive");
  }
  return out + "\r\n";
}

std::string chunk_of(std::string_view data) {
  return data.empty() ? "" : fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

}  // namespace s3d::http
