#include "http/syntax.h"

#include <algorithm>

namespace s3d::http {
namespace {

bool is_token_character(char c) {
  const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  return alphanumeric || (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

// A tab, or no control character. Bytes above ASCII are let through, as they stand.
bool may_stand_in_value(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return c == '\t' || (byte >= 0x20 && byte != 0x7f);
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

}  // namespace

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_character);
}

Result<Header> parse_field(std::string_view line) {
  if (line.starts_with(' ') || line.starts_with('\t')) {
    return Error{"a header field is continued on a second line, which HTTP no longer allows"};
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return Error{"a line of the header has no colon"};
  const std::string_view name = line.substr(0, colon);
  if (!is_token(name))
    return Error{"the name of a header field holds a blank or another character that may not be there"};
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (!std::all_of(value.begin(), value.end(), may_stand_in_value)) {
    return Error{"the value of a header field holds a control character"};
  }
  return Header{std::string(name), std::string(value)};
}

std::optional<uint64_t> parse_decimal(std::string_view digits) {
  constexpr size_t kMostDigits = 18;  // below 2^63
  if (digits.empty() || digits.size() > kMostDigits) return std::nullopt;
  uint64_t number = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  return number;
}

std::vector<std::string_view> list_elements(std::string_view value) {
  std::vector<std::string_view> elements;
  while (!value.empty()) {
    const size_t comma = std::min(value.find(','), value.size());
    if (const std::string_view element = trimmed(value.substr(0, comma)); !element.empty()) elements.push_back(element);
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
  return elements;
}

bool list_holds(const Headers& headers, std::string_view name, std::string_view element) {
  for (const Header& header : headers) {
    if (!equal_ignoring_case(header.name, name)) continue;
    for (const std::string_view found : list_elements(header.value)) {
      if (equal_ignoring_case(found, element)) return true;
    }
  }
  return false;
}

LineReader::Got LineReader::take(std::string_view& input) {
  if (whole_) line_.clear();
  whole_ = false;
  const size_t end = input.find('\n');
  const size_t bytes = std::min(end == std::string_view::npos ? input.size() : end + 1, left_);
  const std::string_view part = input.substr(0, bytes);
  const bool cut = bytes < input.size() && (part.empty() || part.back() != '\n');
  input.remove_prefix(bytes);
  left_ -= bytes;
  line_ += part;
  if (part.find('\0') != std::string_view::npos) return Got::kBad;
  if (cut) return Got::kTooLong;
  // A CR is followed by an LF, and an LF follows a CR: but for a CR at the very end, which may still be followed by
  // one.
  const size_t cr = line_.find('\r');
  if (line_.empty() || line_.back() != '\n') {
    return cr == std::string::npos || cr + 1 == line_.size() ? Got::kPart : Got::kBad;
  }
  if (cr == std::string::npos || cr + 2 != line_.size()) return Got::kBad;
  line_.resize(cr);
  whole_ = true;
  return Got::kLine;
}

}  // namespace s3d::http
