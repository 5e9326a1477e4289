#include "jinja/lexer.h"

#include <algorithm>
#include <optional>

#include "jinja/literal.h"
#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

using TokenKind = Token::Kind;

// Line ends of all kinds become \n, and one at the very end is dropped.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

bool is_digit_char(char c) {
  return c >= '0' && c <= '9';
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (pos_ < source_.size()) S3D_TRY(text_and_tag());
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  // What ends a tag: its length with the white space or line end that goes with it.
  struct TagEnd {
    size_t begin;
    size_t end;
  };

  std::string_view view() const { return source_; }
  std::string_view rest() const { return view().substr(pos_); }
  bool at(std::string_view text) const { return rest().starts_with(text); }
  Error fail(const std::string& what) const { return Error{"line " + std::to_string(line_) + ": " + what}; }

  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }

  void advance_to(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + pos_, source_.begin() + end, '\n'));
    pos_ = end;
    line_starting_ = end > 0 && source_[end - 1] == '\n';
  }

  size_t find_tag() const {
    for (size_t i = pos_; i + 1 < source_.size(); ++i) {
      if (source_[i] == '{' && (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#')) return i;
    }
    return source_.size();
  }

  // Where the text before a tag ends, by the tag's sign and lstrip_blocks.
  size_t stripped_end(size_t begin, size_t end, char sign, bool print) const {
    const std::string_view text = view().substr(begin, end - begin);
    if (sign == '-') return end - space_suffix(text);
    if (sign == '+' || print) return end;
    const size_t newline = text.rfind('\n');
    if (newline == std::string_view::npos && !line_starting_) return end;
    const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    return space_prefix(text.substr(line)) == text.size() - line ? begin + line : end;
  }

  void add_data(size_t end) {
    if (end > pos_) add(TokenKind::kData, source_.substr(pos_, end - pos_));
  }

  Status text_and_tag() {
    const size_t tag = find_tag();
    if (tag == source_.size()) {
      add_data(tag);
      advance_to(tag);
      return Ok();
    }
    const char type = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool starting = line_starting_;
    add_data(stripped_end(pos_, tag, sign, type == '{'));
    advance_to(tag);
    line_starting_ = starting;
    if (type == '%') {
      if (const std::optional<size_t> body = raw_begin(tag)) return raw(*body);
    }
    advance_to(tag + 2 + (sign == '-' || sign == '+' ? 1 : 0));
    if (type == '#') return comment();
    add(type == '{' ? TokenKind::kPrintBegin : TokenKind::kBlockBegin, "");
    return tag_body(type == '{');
  }

  size_t skip_space(size_t i) const { return i + space_prefix(view().substr(i)); }

  // `{% raw %}` at `tag`: where its text begins.
  std::optional<size_t> raw_begin(size_t tag) const {
    size_t i = tag + 2;
    if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
    i = skip_space(i);
    const std::string_view all = source_;
    if (!all.substr(i).starts_with("raw")) return std::nullopt;
    i = skip_space(i + 3);
    if (all.substr(i).starts_with("-%}")) return skip_space(i + 3);
    if (all.substr(i).starts_with("%}")) return i + 2;
    return std::nullopt;
  }

  Status raw(size_t body) {
    const Error unclosed = fail("the raw block is never closed: expected {% endraw %}");
    advance_to(body);
    const std::string_view all = source_;
    for (size_t tag = all.find("{%", pos_); tag != std::string_view::npos; tag = all.find("{%", tag + 2)) {
      size_t i = tag + 2;
      const char sign = i < all.size() ? all[i] : '\0';
      if (sign == '-' || sign == '+') ++i;
      i = skip_space(i);
      if (!all.substr(i).starts_with("endraw")) continue;
      const std::optional<size_t> end = block_end(skip_space(i + 6));
      if (!end) continue;
      add_data(stripped_end(pos_, tag, sign, false));
      advance_to(*end);
      return Ok();
    }
    return unclosed;
  }

  // Behind `%}` at i, with what its sign and trim_blocks remove.
  std::optional<size_t> block_end(size_t i, std::string_view close = "%}") const {
    const std::string_view tail = view().substr(i);
    if (tail.starts_with("-") && tail.substr(1).starts_with(close)) return skip_space(i + 1 + close.size());
    const bool trim = close != "}}";
    if (trim && tail.starts_with("+") && tail.substr(1).starts_with(close)) return i + 1 + close.size();
    if (!tail.starts_with(close)) return std::nullopt;
    const size_t end = i + close.size();
    return trim && end < source_.size() && source_[end] == '\n' ? end + 1 : end;
  }

  Status comment() {
    size_t close = source_.find("#}", pos_);
    if (close == std::string::npos) return fail("the comment is never closed: expected #}");
    if (close > pos_ && (source_[close - 1] == '-' || source_[close - 1] == '+')) --close;
    advance_to(*block_end(close, "#}"));
    return Ok();
  }

  Status tag_body(bool print) {
    const Error unclosed = fail(print ? "{{ is never closed: expected }}" : "{% is never closed: expected %}");
    while (pos_ < source_.size()) {
      if (brackets_.empty()) {
        if (const std::optional<size_t> end = block_end(pos_, print ? "}}" : "%}")) {
          add(print ? TokenKind::kPrintEnd : TokenKind::kBlockEnd, "");
          advance_to(*end);
          return Ok();
        }
      }
      S3D_TRY(inside_tag());
    }
    return unclosed;
  }

  Status inside_tag() {
    if (const size_t space = space_prefix(rest())) {
      advance_to(pos_ + space);
      return Ok();
    }
    const char c = source_[pos_];
    if (is_digit_char(c)) return number();
    if (is_name_start(c)) return name();
    if (c == '"' || c == '\'') return string(c);
    return symbol();
  }

  Status name() {
    size_t end = pos_;
    while (end < source_.size() && (is_name_start(source_[end]) || is_digit_char(source_[end]))) ++end;
    add(TokenKind::kName, source_.substr(pos_, end - pos_));
    advance_to(end);
    return Ok();
  }

  Status string(char quote) {
    size_t end = pos_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return fail("a string is never closed: expected " + std::string(1, quote));
    auto text = unescape(view().substr(pos_ + 1, end - pos_ - 1));
    if (!text.ok()) return fail(text.error().message);
    add(TokenKind::kText, std::move(*text));
    advance_to(end + 1);
    return Ok();
  }

  Status number() {
    const bool after_dot = pos_ > 0 && source_[pos_ - 1] == '.';  // a.0.1 are two indices, not a fraction
    const NumberLiteral found = number_literal(rest(), !after_dot);
    add(found.is_float ? TokenKind::kFloat : TokenKind::kInt, found.digits);
    advance_to(pos_ + found.length);
    return Ok();
  }

  Status symbol() {
    static constexpr std::string_view kSymbols[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                    "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                    ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    const auto* found = std::find_if(std::begin(kSymbols), std::end(kSymbols), [&](auto s) { return at(s); });
    if (found == std::end(kSymbols)) return fail("unexpected character '" + source_.substr(pos_, 1) + "'");
    S3D_TRY(balance(found->front()));
    add(TokenKind::kOperator, std::string(*found));
    advance_to(pos_ + found->size());
    return Ok();
  }

  Status balance(char c) {
    if (c == '(') brackets_ += ')';
    if (c == '[') brackets_ += ']';
    if (c == '{') brackets_ += '}';
    if (c != ')' && c != ']' && c != '}') return Ok();
    if (brackets_.empty()) return fail("unexpected '" + std::string(1, c) + "'");
    const char expected = brackets_.back();
    brackets_.pop_back();
    if (c == expected) return Ok();
    return fail("unexpected '" + std::string(1, c) + "', expected '" + std::string(1, expected) + "'");
  }

  std::string source_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last tag ended with a line end, or nothing came before
  std::string brackets_;       // the closing ones that are due
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> lex(std::string_view source) {
  return Lexer(normalized(source)).run();
}

}  // namespace s3d::jinja
