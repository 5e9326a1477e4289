#include "grammar/regex.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "grammar/gbnf.h"
#include "text/utf8.h"

namespace s3d {
namespace {

constexpr size_t kMaxRegexBytes = 4096;
constexpr int kMaxRegexDepth = 50;
constexpr uint32_t kLastCode = 0x10FFFF;

// Characters from `first` to `last`.
struct Range {
  uint32_t first, last;
};
using Ranges = std::vector<Range>;

constexpr Range kDigits[] = {{'0', '9'}};
constexpr Range kWord[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
constexpr Range kBlank[] = {{'\t', '\r'}, {' ', ' '}};

// All characters that are in none of `ranges`, which are in their order.
Ranges others(std::span<const Range> ranges) {
  Ranges rest;
  uint32_t next = 1;  // there is no zero byte in a grammar
  for (const Range& range : ranges) {
    if (range.first > next) rest.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  rest.push_back({next, kLastCode});
  return rest;
}

void put_code(uint32_t code, std::string& out) {
  out += fmt::format("\\U{:08x}", code);
}

// A range without the codes from D800 to DFFF, which are no characters.
void put(const Range& range, std::string& out) {
  constexpr uint32_t kBefore = 0xD7FF, kAfter = 0xE000;
  const auto part = [&](uint32_t first, uint32_t last) {
    if (first > last) return;
    put_code(first, out);
    if (first == last) return;
    out += '-';
    put_code(last, out);
  };
  if (range.last <= kBefore || range.first >= kAfter) return part(range.first, range.last);
  part(range.first, kBefore);
  part(kAfter, range.last);
}

std::string class_of(const Ranges& ranges, bool negated = false) {
  std::string out = negated ? "[^" : "[";
  for (const Range& range : ranges) put(range, out);
  return out + "]";
}

class RegexReader {
 public:
  explicit RegexReader(std::string_view text) : text_(text) {}

  Result<std::string> read() {
    S3D_TRY(choice(/*depth=*/0));
    if (at_ < text_.size()) return fail("a ) without its (");
    return "root ::= " + std::move(out_) + "\n";
  }

 private:
  Error fail(const std::string& what) const {
    return Error{fmt::format("the regular expression, at character {}: {}", at_ + 1, what)};
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  bool at_end_of_option() const { return at_ >= text_.size() || peek() == '|' || peek() == ')'; }

  Status choice(int depth);
  Status option(int depth);
  Status item(int depth);
  Status group(int depth);
  Status repetition();
  Status bounds();
  Result<int> number();
  Status character_class();
  Result<Ranges> class_part();
  Result<Ranges> escape();
  Result<uint32_t> code_escape();
  Result<uint32_t> character();

  std::string_view text_;
  size_t at_ = 0;
  std::string out_;
};

Status RegexReader::choice(int depth) {
  if (depth > kMaxRegexDepth) return fail(fmt::format("groups nested deeper than {}", kMaxRegexDepth));
  out_ += '(';
  S3D_TRY(option(depth));
  while (take("|")) {
    out_ += " | ";
    S3D_TRY(option(depth));
  }
  out_ += ')';
  return Ok();
}

Status RegexReader::option(int depth) {
  if (depth == 0) take("^");  // where the text begins anyway
  if (at_end_of_option()) out_ += "\"\"";
  while (!at_end_of_option()) {
    if (depth == 0 && peek() == '$') {
      ++at_;
      if (at_end_of_option()) return Ok();
      return fail("$ counts only where the text ends");
    }
    S3D_TRY(item(depth));
    S3D_TRY(repetition());
    out_ += ' ';
  }
  return Ok();
}

Status RegexReader::item(int depth) {
  const char c = peek();
  if (c == '(') return group(depth);
  if (c == '[') return character_class();
  if (take(".")) {
    out_ += class_of({{'\n', '\n'}}, /*negated=*/true);
    return Ok();
  }
  if (c == '*' || c == '+' || c == '?' || c == '{') {
    return fail(fmt::format("nothing stands before the repetition {0}; write \\{0} for the character", c));
  }
  if (c == '^' || c == '$') {
    return fail(fmt::format("{0} counts only where the text begins or ends; write \\{0} for the character", c));
  }
  if (take("\\")) {
    S3D_ASSIGN(const Ranges ranges, escape());
    out_ += class_of(ranges);
    return Ok();
  }
  S3D_ASSIGN(const uint32_t code, character());
  out_ += '"';
  put_code(code, out_);
  out_ += '"';
  return Ok();
}

Status RegexReader::group(int depth) {
  take("(");
  if (take("?") && !take(":")) {
    take("P");
    const bool looks = text_.substr(at_, 2) == "<=" || text_.substr(at_, 2) == "<!";
    if (looks || peek() == '=' || peek() == '!') return fail("looking ahead or back is not supported");
    if (!take("<")) return fail("flags and conditions are not supported");
    at_ = std::min(text_.find('>', at_), text_.size());  // the name, which says nothing here
    if (!take(">")) return fail("expected > after the name of a group");
  }
  S3D_TRY(choice(depth + 1));
  return take(")") ? Ok() : Status(fail("expected ) at the end of a group"));
}

// What may stand behind an item. Whether as much or as little as possible is taken first is all one to a grammar.
Status RegexReader::repetition() {
  if (peek() == '*' || peek() == '+' || peek() == '?') {
    out_ += peek();
    ++at_;
  } else if (peek() == '{') {
    S3D_TRY(bounds());
  } else {
    return Ok();
  }
  take("?");
  if (peek() == '+') return fail("possessive repetitions are not supported");
  if (peek() == '*' || peek() == '?' || peek() == '{')
    return fail("two repetitions in a row; put the first in a group");
  return Ok();
}

Status RegexReader::bounds() {
  take("{");
  S3D_ASSIGN(const int least, number());
  out_ += fmt::format("{{{}", least);
  if (take(",")) {
    out_ += ',';
    if (peek() != '}') {
      S3D_ASSIGN(const int most, number());
      if (most < least) return fail("a repetition's second number is below its first");
      out_ += fmt::format("{}", most);
    }
  }
  if (!take("}")) return fail("expected } at the end of a repetition; write \\{ for the character");
  out_ += '}';
  return Ok();
}

Result<int> RegexReader::number() {
  int value = 0;
  const size_t begin = at_;
  for (; peek() >= '0' && peek() <= '9'; ++at_) {
    value = value * 10 + (peek() - '0');
    if (value > kMaxGrammarRepeat) return fail(fmt::format("a repetition of more than {}", kMaxGrammarRepeat));
  }
  if (at_ == begin) return fail("expected a number in a repetition; write \\{ for the character");
  return value;
}

Status RegexReader::character_class() {
  take("[");
  const bool negated = take("^");
  if (peek() == ']') return fail("a class of no characters");
  Ranges ranges;
  while (peek() != ']') {
    if (at_ >= text_.size()) return fail("expected ] at the end of a class");
    S3D_ASSIGN(const Ranges part, class_part());
    ranges.insert(ranges.end(), part.begin(), part.end());
  }
  take("]");
  out_ += class_of(ranges, negated);
  return Ok();
}

// A character, an escape, or a range of characters.
Result<Ranges> RegexReader::class_part() {
  const auto one = [this]() -> Result<Ranges> {
    if (take("\\b")) return Ranges{{'\b', '\b'}};
    if (take("\\")) return escape();
    S3D_ASSIGN(const uint32_t code, character());
    return Ranges{{code, code}};
  };
  S3D_ASSIGN(Ranges first, one());
  if (peek() != '-' || peek(1) == ']' || at_ + 1 >= text_.size()) return first;
  take("-");
  S3D_ASSIGN(const Ranges last, one());
  const auto single = [](const Ranges& ranges) { return ranges.size() == 1 && ranges[0].first == ranges[0].last; };
  if (!single(first) || !single(last)) return fail("a range from or to a class; write \\- for the character");
  if (last[0].first < first[0].first) return fail("a range whose end is below its beginning");
  return Ranges{{first[0].first, last[0].first}};
}

// What follows a backslash.
Result<Ranges> RegexReader::escape() {
  struct Class {
    char letter, opposite;
    std::span<const Range> ranges;
  };
  const Class classes[] = {{'d', 'D', kDigits}, {'w', 'W', kWord}, {'s', 'S', kBlank}};
  const char c = peek();
  for (const Class& known : classes) {
    if (c != known.letter && c != known.opposite) continue;
    ++at_;
    return c == known.opposite ? others(known.ranges) : Ranges(known.ranges.begin(), known.ranges.end());
  }
  S3D_ASSIGN(const uint32_t code, code_escape());
  return Ranges{{code, code}};
}

Result<uint32_t> RegexReader::code_escape() {
  const char c = peek();
  if (c == 'b' || c == 'B') return fail("word boundaries are not supported");
  if ((c >= '1' && c <= '9') || c == 'k') return fail("references back are not supported");
  if (c == 'p' || c == 'P') return fail("classes of Unicode are not supported");
  if (c == 'x' || c == 'u') {
    ++at_;
    const bool braces = c == 'u' && take("{");
    const size_t wanted = c == 'x' ? 2 : 4;
    uint32_t code = 0;
    size_t digits = 0;
    for (; digits < (braces ? 6 : wanted) && std::isxdigit(static_cast<unsigned char>(peek())) != 0; ++digits, ++at_) {
      const char digit = peek();
      code = code * 16 + static_cast<uint32_t>(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    const bool whole = braces ? digits > 0 && take("}") : digits == wanted;
    const bool character = code > 0 && code <= kLastCode && (code < 0xD800 || code > 0xDFFF);
    return whole && character ? Result<uint32_t>(code) : Result<uint32_t>(fail("an escape that is no character"));
  }
  constexpr std::string_view kFrom = "nrtfv", kTo = "\n\r\t\f\v";
  if (const size_t at = kFrom.find(c); c != '\0' && at != std::string_view::npos) {
    ++at_;
    return static_cast<uint32_t>(kTo[at]);
  }
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '\0';
  if (letter) return fail("an escape that is not known");
  return character();
}

Result<uint32_t> RegexReader::character() {
  const std::string_view rest = text_.substr(at_);
  const Utf8Prefix prefix = utf8_prefix(rest);
  if (!prefix.whole) return fail("a byte that belongs to no UTF-8 character");
  const uint32_t code = utf8_decode(rest.substr(0, prefix.length));
  if (code == 0) return fail("a zero byte");
  at_ += prefix.length;
  return code;
}

}  // namespace

Result<std::string> gbnf_of_regex(std::string_view pattern) {
  if (pattern.size() > kMaxRegexBytes) {
    return Error{
        fmt::format("the regular expression has {} bytes; at most {} are taken", pattern.size(), kMaxRegexBytes)};
  }
  return RegexReader(pattern).read();
}

}  // namespace s3d
