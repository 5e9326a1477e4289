#include "http/target.h"

#include <algorithm>

#include "http/message.h"

namespace s3d::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Visible ASCII. '#' never travels: a client keeps the fragment.
bool may_stand_in_target(char c) {
  return c > 0x20 && c < 0x7f && c != '#';
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

bool has_dot_segment(std::string_view path) {
  while (!path.empty()) {
    path.remove_prefix(1);  // '/'
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment == "." || segment == "..") return true;
    path.remove_prefix(segment.size());
  }
  return false;
}

// "http://host:1/path?query" -> "/path?query"; another form stays as it is.
std::string without_authority(std::string_view text) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!equal_ignoring_case(text.substr(0, scheme.size()), scheme)) continue;
    const size_t end = text.find_first_of("/?", scheme.size());
    const std::string rest(text.substr(std::min(end, text.size())));
    return rest.starts_with('/') ? rest : "/" + rest;
  }
  return std::string(text);
}

}  // namespace

Result<std::string> percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return Error{"an escape in the target is not '%' and two hexadecimal digits"};
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

Result<Target> parse_target(std::string_view text) {
  if (text == "*") return Target{"*", ""};
  if (!std::all_of(text.begin(), text.end(), may_stand_in_target)) {
    return Error{"the target holds a character that must be percent-encoded"};
  }
  const std::string form = without_authority(text);
  text = form;
  const size_t mark = std::min(text.find('?'), text.size());
  S3D_ASSIGN(std::string path, percent_decoded(text.substr(0, mark)));
  if (path.empty() || path.front() != '/') return Error{"the target must begin with '/'"};
  if (std::any_of(path.begin(), path.end(), is_control)) return Error{"the target holds a control character"};
  if (has_dot_segment(path)) return Error{"the target holds a segment '.' or '..'"};
  return Target{std::move(path), std::string(text.substr(std::min(mark + 1, text.size())))};
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    std::string pair(query.substr(0, query.find('&')));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    std::replace(pair.begin(), pair.end(), '+', ' ');
    const size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view both = pair;
    const auto key = percent_decoded(both.substr(0, equals));
    if (!key.ok() || *key != name) continue;
    auto value = percent_decoded(both.substr(std::min(equals + 1, both.size())));
    if (!value.ok()) return std::nullopt;
    return std::move(value).value();
  }
  return std::nullopt;
}

}  // namespace s3d::http
