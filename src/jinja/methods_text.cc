// The methods of texts.
#include <algorithm>

#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/text_functions.h"
#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

using In = Interpreter&;
using Self = const Value&;
using Args = const Bound&;

template <MarkedText (*function)(const MarkedText&)>
Result<Value> changed(In in, Self self, Args) {
  return paid_text(function(self.as_text()), in.budget());
}

template <bool left, bool right>
Result<Value> strip(In in, Self self, Args args) {
  S3D_ASSIGN(const MarkedText chars, args.text(0));
  const bool blanks = args.at(0) == nullptr || args.at(0)->is_none();
  in.budget().take_steps(chars.size() * (self.as_text().size() / 64));
  if (in.budget().spent()) return self;
  return paid_text(stripped(self.as_text(), blanks ? nullptr : &chars, left, right), in.budget());
}

template <bool right>
Result<Value> split_text(In in, Self self, Args args) {
  S3D_ASSIGN(const MarkedText separator, args.text(0));
  S3D_ASSIGN(const int64_t most, args.integer(1, -1));
  const bool blanks = args.at(0) == nullptr || args.at(0)->is_none();
  if (!blanks && separator.empty()) return Error{"the separator is empty"};
  const MarkedText* by = blanks ? nullptr : &separator;
  std::vector<Value> out;
  for (MarkedText& part :
       right ? split_right(self.as_text(), by, most, in.budget()) : split(self.as_text(), by, most, in.budget())) {
    out.push_back(paid_text(std::move(part), in.budget()));
  }
  return paid_list(std::move(out), in.budget());
}

Result<Value> splitlines(In in, Self self, Args args) {
  std::vector<Value> out;
  for (MarkedText& line : split_lines(self.as_text(), args.flag(0))) {
    if (in.budget().take_bytes(sizeof(MarkedText))) out.push_back(Value::text(std::move(line)));
  }
  return paid_list(std::move(out), in.budget());
}

// The part of the text that arguments 1 and 2 (in characters) cut out; Python searches only there.
Result<std::pair<size_t, size_t>> window(const MarkedText& text, Args args) {
  const std::vector<size_t> offsets = character_offsets(text.view());
  const int64_t size = static_cast<int64_t>(offsets.size()) - 1;
  S3D_ASSIGN(int64_t begin, args.integer(1, 0));
  S3D_ASSIGN(int64_t end, args.integer(2, size));
  begin = std::max<int64_t>(0, begin < 0 ? begin + size : begin);
  end = std::min(size, end < 0 ? end + size : end);
  if (begin > size || end < begin) return std::pair{text.size() + 1, text.size()};
  return std::pair{offsets[static_cast<size_t>(begin)], offsets[static_cast<size_t>(end)]};
}

template <bool at_end>
Result<Value> has_affix(In, Self self, Args args) {
  S3D_ASSIGN(const auto range, window(self.as_text(), args));
  if (range.first > range.second) return Value::boolean(false);
  const std::string_view part = self.as_text().view().substr(range.first, range.second - range.first);
  const Value& given = *args.at(0);
  const bool tuple = given.is_list() && given.as_list().kind == ListKind::kTuple;
  for (const Value& affix : tuple ? given.as_list().items : std::vector<Value>{given}) {
    if (affix.is_undefined()) return Error{affix.why_undefined()};
    if (!affix.is_text())
      return Error{"expected a text or a tuple of texts, found a " + std::string(affix.type_name())};
    const std::string_view wanted = affix.as_text().view();
    if (at_end ? part.ends_with(wanted) : part.starts_with(wanted)) return Value::boolean(true);
  }
  return Value::boolean(false);
}

// find, rfind, index and rindex: the last two do not accept that it is not there.
template <bool last, bool must>
Result<Value> find(In in, Self self, Args args) {
  S3D_ASSIGN(const MarkedText needle, args.text(0));
  S3D_ASSIGN(const auto range, window(self.as_text(), args));
  size_t at = std::string_view::npos;
  if (range.first <= range.second) {
    const std::string_view part = self.as_text().view().substr(range.first, range.second - range.first);
    at = !last            ? find_bytes(part, needle.view(), 0)
         : needle.empty() ? part.size()
                          : find_bytes_last(part, needle.view(), part.size(), in.budget());
  }
  if (at != std::string_view::npos) {
    const std::string_view before = self.as_text().view().substr(0, range.first + at);
    return Value::integer(static_cast<int64_t>(length_in_characters(before)));
  }
  if (must) return Error{"the text is not there"};
  return Value::integer(-1);
}

Result<Value> count_in_text(In, Self self, Args args) {
  S3D_ASSIGN(const MarkedText needle, args.text(0));
  S3D_ASSIGN(const auto range, window(self.as_text(), args));
  if (range.first > range.second) return Value::integer(0);
  const std::string_view part = self.as_text().view().substr(range.first, range.second - range.first);
  if (needle.empty()) return Value::integer(static_cast<int64_t>(length_in_characters(part)) + 1);
  int64_t found = 0;
  for (size_t at = 0; (at = find_bytes(part, needle.view(), at)) != std::string_view::npos; at += needle.size())
    ++found;
  return Value::integer(found);
}

Result<Value> replace(In in, Self self, Args args) {
  S3D_ASSIGN(const MarkedText old, args.text(0));
  S3D_ASSIGN(const MarkedText with, args.text(1));
  S3D_ASSIGN(const int64_t most, args.integer(2, -1));
  return Value::text(replaced(self.as_text(), old, with, most, in.budget()));
}

Result<Value> join_texts(In in, Self self, Args args) {
  S3D_ASSIGN(const std::vector<Value> items, items_of(*args.at(0), in.budget()));
  MarkedText out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_text()) return Error{"it joins texts, found a " + std::string(items[i].type_name())};
    if (!in.budget().take_bytes(self.as_text().size() + items[i].as_text().size())) break;
    if (i > 0) out.append(self.as_text());
    out.append(items[i].as_text());
  }
  return Value::text(std::move(out));
}

template <bool at_end>
Result<Value> remove_affix(In in, Self self, Args args) {
  S3D_ASSIGN(const MarkedText affix, args.text(0));
  const MarkedText& text = self.as_text();
  const bool there = at_end ? text.view().ends_with(affix.view()) : text.view().starts_with(affix.view());
  if (!there) return self;
  const size_t left = text.size() - affix.size();
  return paid_text(at_end ? text.substr(0, left) : text.substr(affix.size(), text.size()), in.budget());
}

template <bool last>
Result<Value> partition(In in, Self self, Args args) {
  S3D_ASSIGN(const MarkedText separator, args.text(0));
  if (separator.empty()) return Error{"the separator is empty"};
  const MarkedText& text = self.as_text();
  const size_t at = last ? find_bytes_last(text.view(), separator.view(), text.size(), in.budget())
                         : find_bytes(text.view(), separator.view(), 0);
  const bool found = at != std::string_view::npos;
  const size_t cut = found ? at : last ? 0 : text.size();
  const size_t end = found ? at + separator.size() : cut;
  std::vector<Value> parts;
  parts.push_back(paid_text(text.substr(0, cut), in.budget()));
  parts.push_back(Value::text(text.substr(cut, end)));
  parts.push_back(paid_text(text.substr(end, text.size()), in.budget()));
  return paid_list(std::move(parts), in.budget(), ListKind::kTuple);
}

template <Padding side>
Result<Value> pad(In in, Self self, Args args) {
  S3D_ASSIGN(const int64_t width, args.integer(0, 0));
  S3D_ASSIGN(const MarkedText fill, args.text(1, MarkedText(" ", true)));
  return padded_text(self.as_text(), width, fill, side, in.budget());
}

Result<Value> zfill(In in, Self self, Args args) {
  S3D_ASSIGN(const int64_t width, args.integer(0, 0));
  const MarkedText& text = self.as_text();
  const size_t sign = !text.empty() && (text.bytes()[0] == '-' || text.bytes()[0] == '+') ? 1 : 0;
  const MarkedText zero("0", true);
  S3D_ASSIGN(const Value digits, padded_text(text.substr(sign, text.size()), width - static_cast<int64_t>(sign), zero,
                                             Padding::kLeft, in.budget()));
  MarkedText out = text.substr(0, sign);
  out.append(digits.as_text());
  return Value::text(std::move(out));
}

// True if there is a character and all pass.
template <bool (*passes)(char32_t)>
Result<Value> all_are(In, Self self, Args) {
  const std::string_view text = self.as_text().view();
  for (size_t i = 0; i < text.size();) {
    const Character c = first_character(text.substr(i));
    if (!passes(c.code)) return Value::boolean(false);
    i += c.length;
  }
  return Value::boolean(!text.empty());
}
bool letter_or_digit(char32_t c) {
  return is_letter(c) || is_digit(c);
}

// All letters that have a case have this one, and there is one.
template <bool upper>
Result<Value> is_case(In in, Self self, Args) {
  S3D_ASSIGN(const bool result, in.test(upper ? "upper" : "lower", self, {}));
  return Value::boolean(result);
}

constexpr Row kTextRows[] = {
    {"upper", "", 0, changed<uppercase>},
    {"lower", "", 0, changed<lowercase>},
    {"casefold", "", 0, changed<lowercase>},
    {"swapcase", "", 0, changed<swapped_case>},
    {"capitalize", "", 0, changed<capitalized>},
    {"title", "", 0, changed<title_by_letters>},
    {"strip", "chars", 0, strip<true, true>},
    {"lstrip", "chars", 0, strip<true, false>},
    {"rstrip", "chars", 0, strip<false, true>},
    {"split", "sep maxsplit", 0, split_text<false>},
    {"rsplit", "sep maxsplit", 0, split_text<true>},
    {"splitlines", "keepends", 0, splitlines},
    {"startswith", "prefix start end", 1, has_affix<false>},
    {"endswith", "suffix start end", 1, has_affix<true>},
    {"find", "sub start end", 1, find<false, false>},
    {"rfind", "sub start end", 1, find<true, false>},
    {"index", "sub start end", 1, find<false, true>},
    {"rindex", "sub start end", 1, find<true, true>},
    {"count", "sub start end", 1, count_in_text},
    {"replace", "old new count", 2, replace},
    {"join", "iterable", 1, join_texts},
    {"removeprefix", "prefix", 1, remove_affix<false>},
    {"removesuffix", "suffix", 1, remove_affix<true>},
    {"partition", "sep", 1, partition<false>},
    {"rpartition", "sep", 1, partition<true>},
    {"ljust", "width fillchar", 1, pad<Padding::kRight>},
    {"rjust", "width fillchar", 1, pad<Padding::kLeft>},
    {"center", "width fillchar", 1, pad<Padding::kBoth>},
    {"zfill", "width", 1, zfill},
    {"isspace", "", 0, all_are<is_space>},
    {"isalpha", "", 0, all_are<is_letter>},
    {"isdigit", "", 0, all_are<is_digit>},
    {"isdecimal", "", 0, all_are<is_digit>},
    {"isnumeric", "", 0, all_are<is_digit>},
    {"isalnum", "", 0, all_are<letter_or_digit>},
    {"isupper", "", 0, is_case<true>},
    {"islower", "", 0, is_case<false>},
};

}  // namespace

std::span<const Row> text_methods() {
  return kTextRows;
}

}  // namespace s3d::jinja
