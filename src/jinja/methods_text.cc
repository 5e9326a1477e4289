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
  return strip_text(in, self.as_text(), args, left, right);
}

Result<Value> split_text(In in, Self self, Args args) {
  S3D_ASSIGN(const MarkedText separator, args.text(0));
  S3D_ASSIGN(const int64_t most, args.integer(1, -1));
  const bool blanks = args.at(0) == nullptr || args.at(0)->is_none();
  if (!blanks && separator.empty()) return Error{"the separator is empty"};
  const MarkedText* by = blanks ? nullptr : &separator;
  std::vector<Value> out;
  for (MarkedText& part : split(self.as_text(), by, most, in.budget())) {
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

template <bool at_end>
Result<Value> has_affix(In, Self self, Args args) {
  const std::string_view text = self.as_text().view();
  const Value& given = *args.at(0);
  const bool tuple = given.is_list() && given.as_list().kind == ListKind::kTuple;
  for (const Value& affix : tuple ? given.as_list().items : std::vector<Value>{given}) {
    if (affix.is_undefined()) return Error{affix.why_undefined()};
    if (!affix.is_text())
      return Error{"expected a text or a tuple of texts, found a " + std::string(affix.type_name())};
    const std::string_view wanted = affix.as_text().view();
    if (at_end ? text.ends_with(wanted) : text.starts_with(wanted)) return Value::boolean(true);
  }
  return Value::boolean(false);
}

Result<Value> find(In, Self self, Args args) {
  S3D_ASSIGN(const MarkedText needle, args.text(0));
  const std::string_view text = self.as_text().view();
  const size_t at = find_bytes(text, needle.view(), 0);
  return Value::integer(at == std::string_view::npos ? -1
                                                     : static_cast<int64_t>(length_in_characters(text.substr(0, at))));
}

Result<Value> count_in_text(In, Self self, Args args) {
  S3D_ASSIGN(const MarkedText needle, args.text(0));
  const std::string_view text = self.as_text().view();
  if (needle.empty()) return Value::integer(static_cast<int64_t>(length_in_characters(text)) + 1);
  int64_t found = 0;
  for (size_t at = 0; (at = find_bytes(text, needle.view(), at)) != std::string_view::npos; at += needle.size()) {
    ++found;
  }
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
constexpr Row kTextRows[] = {
    {"upper", "", 0, changed<uppercase>},
    {"lower", "", 0, changed<lowercase>},
    {"capitalize", "", 0, changed<capitalized>},
    {"title", "", 0, changed<title_by_letters>},
    {"strip", "chars", 0, strip<true, true>},
    {"lstrip", "chars", 0, strip<true, false>},
    {"rstrip", "chars", 0, strip<false, true>},
    {"split", "sep maxsplit", 0, split_text},
    {"splitlines", "keepends", 0, splitlines},
    {"startswith", "prefix", 1, has_affix<false>},
    {"endswith", "suffix", 1, has_affix<true>},
    {"find", "sub", 1, find},
    {"count", "sub", 1, count_in_text},
    {"replace", "old new count", 2, replace},
    {"join", "iterable", 1, join_texts},
    {"removeprefix", "prefix", 1, remove_affix<false>},
    {"removesuffix", "suffix", 1, remove_affix<true>},
    {"isalpha", "", 0, all_are<is_letter>},
    {"isdigit", "", 0, all_are<is_digit>},
};

}  // namespace

Result<Value> strip_text(Interpreter& in, const MarkedText& text, const Bound& args, bool left, bool right) {
  S3D_ASSIGN(const MarkedText chars, args.text(0));
  const bool blanks = args.at(0) == nullptr || args.at(0)->is_none();
  if (!in.budget().take_steps(chars.size() * (text.size() / 64))) return Value::text(text);
  return paid_text(stripped(text, blanks ? nullptr : &chars, left, right), in.budget());
}

std::span<const Row> text_methods() {
  return kTextRows;
}

}  // namespace s3d::jinja
