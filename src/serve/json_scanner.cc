#include "serve/json_scanner.h"

#include <string_view>

namespace s3d::serve {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Whether `text` is a whole number of JSON.
bool is_number(std::string_view text) {
  size_t at = text.starts_with('-') ? 1 : 0;
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at - begin;
  };
  const bool zero = at < text.size() && text[at] == '0';
  const size_t whole = digits();
  if (whole == 0 || (zero && whole > 1)) return false;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (digits() == 0) return false;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size();
}

}  // namespace

JsonScanner::Step JsonScanner::push(char c) {
  switch (state_) {
    case State::kString:
    case State::kEscape:
    case State::kHex:
      return string(c);
    case State::kNumber:
      return number(c);
    case State::kLiteral:
      if (c != *rest_) return Step::kBad;
      return *++rest_ == '\0' ? after_value(Step::kDone) : Step::kMore;
    case State::kEnd:
      return Step::kDoneUpTo;
    default:
      break;
  }
  if (is_blank(c)) return Step::kMore;
  switch (state_) {
    case State::kFirstKey:
    case State::kKey:
      if (c == '}' && state_ == State::kFirstKey) return close(c);
      if (c != '"') return Step::kBad;
      key_ = true;
      state_ = State::kString;
      return Step::kMore;
    case State::kColon:
      if (c != ':') return Step::kBad;
      state_ = State::kValue;
      return Step::kMore;
    case State::kAfter:
      if (c != ',') return close(c);
      state_ = open_.back() == '{' ? State::kKey : State::kValue;
      return Step::kMore;
    default:
      if (c == ']' && state_ == State::kFirstValue) return close(c);
      return value(c);
  }
}

JsonScanner::Step JsonScanner::value(char c) {
  if (c == '{' || c == '[') {
    if (open_.size() == kMaxDepth) return Step::kBad;
    open_ += c;
    state_ = c == '{' ? State::kFirstKey : State::kFirstValue;
    return Step::kMore;
  }
  if (c == '"') {
    key_ = false;
    state_ = State::kString;
    return Step::kMore;
  }
  if (c == '-' || is_digit(c)) {
    number_ = c;
    state_ = State::kNumber;
    return Step::kMore;
  }
  state_ = State::kLiteral;
  rest_ = c == 't' ? "rue" : (c == 'f' ? "alse" : (c == 'n' ? "ull" : nullptr));
  return rest_ == nullptr ? Step::kBad : Step::kMore;
}

JsonScanner::Step JsonScanner::close(char c) {
  const char opener = c == '}' ? '{' : '[';
  if ((c != '}' && c != ']') || open_.empty() || open_.back() != opener) return Step::kBad;
  open_.pop_back();
  return after_value(Step::kDone);
}

JsonScanner::Step JsonScanner::after_value(Step at_the_end) {
  state_ = open_.empty() ? State::kEnd : State::kAfter;
  return open_.empty() ? at_the_end : Step::kMore;
}

JsonScanner::Step JsonScanner::string(char c) {
  if (state_ == State::kHex) {
    const bool hex = is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (!hex) return Step::kBad;
    if (--hex_ == 0) state_ = State::kString;
    return Step::kMore;
  }
  if (state_ == State::kEscape) {
    if (std::string_view("\"\\/bfnrtu").find(c) == std::string_view::npos) return Step::kBad;
    state_ = c == 'u' ? State::kHex : State::kString;
    hex_ = 4;
    return Step::kMore;
  }
  if (static_cast<unsigned char>(c) < 0x20) return Step::kBad;
  if (c == '\\') state_ = State::kEscape;
  if (c != '"') return Step::kMore;
  if (!key_) return after_value(Step::kDone);
  state_ = State::kColon;
  return Step::kMore;
}

JsonScanner::Step JsonScanner::number(char c) {
  if (is_digit(c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-') {
    number_ += c;
    return Step::kMore;
  }
  if (!is_number(number_)) return Step::kBad;
  if (after_value(Step::kDoneUpTo) == Step::kDoneUpTo) return Step::kDoneUpTo;
  return push(c);
}

}  // namespace s3d::serve
