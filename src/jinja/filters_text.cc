// Filters that make texts and numbers.
#include <cmath>
#include <cstdlib>

#include "jinja/format.h"
#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/text_functions.h"
#include "jinja/tojson.h"
#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

using In = Interpreter&;
using Self = const Value&;
using Args = const Bound&;

template <MarkedText (*function)(const MarkedText&)>
Result<Value> filtered(In in, Self self, Args) {
  return paid_text(function(to_text(self, in.budget())), in.budget());
}

Result<Value> trim(In in, Self self, Args args) {
  S3D_ASSIGN(const MarkedText chars, args.text(0));
  const bool blanks = args.at(0) == nullptr || args.at(0)->is_none();
  if (self.is_text()) in.budget().take_steps(chars.size() * (self.as_text().size() / 64));
  if (in.budget().spent()) return self;
  return Value::text(stripped(to_text(self, in.budget()), blanks ? nullptr : &chars, true, true));
}

Result<Value> replace_any(In in, Self self, Args args) {
  S3D_ASSIGN(const int64_t count, args.integer(2, -1));
  MarkedText text = to_text(self, in.budget());
  text.set_markup(false);
  return Value::text(
      replaced(text, to_text(*args.at(0), in.budget()), to_text(*args.at(1), in.budget()), count, in.budget()));
}

Result<Value> string(In in, Self self, Args) {
  return Value::text(to_text(self, in.budget()));
}

Result<Value> safe(In in, Self self, Args) {
  MarkedText text = to_text(self, in.budget());
  text.set_markup(true);
  return Value::text(std::move(text));
}

Result<Value> escape(In in, Self self, Args) {
  const MarkedText text = to_text(self, in.budget());
  return text.markup() ? self : paid_text(html_escaped(text), in.budget());
}

Result<Value> indent(In in, Self self, Args args) {
  constexpr int64_t kMostWidth = 10'000;
  if (!self.is_text()) return Error{"it needs a text, found a " + std::string(self.type_name())};
  MarkedText width(std::string(4, ' '), true);
  if (const Value* given = args.at(0)) {
    if (given->is_text()) {
      width = given->as_text();
    } else {
      S3D_ASSIGN(const int64_t count, args.integer(0, 4));
      if (count > kMostWidth) return Error{"the width is at most 10000"};
      width = MarkedText(std::string(static_cast<size_t>(std::max<int64_t>(0, count)), ' '), true);
    }
  }
  MarkedText text = self.as_text();
  text.append("\n", true);
  MarkedText out;
  bool first = true;
  for (const MarkedText& line : split_lines(text, false)) {
    if (!first) out.append("\n", true);
    const bool wanted = first ? args.flag(1) : args.flag(2) || !line.empty();
    if (!in.budget().take_bytes(line.size() + width.size())) break;
    if (wanted) out.append(width);
    out.append(line);
    first = false;
  }
  out.set_markup(self.as_text().markup());
  return Value::text(std::move(out));
}

Result<Value> center(In in, Self self, Args args) {
  S3D_ASSIGN(const int64_t width, args.integer(0, 80));
  return padded_text(to_text(self, in.budget()), width, MarkedText(" ", true), Padding::kBoth, in.budget());
}

Result<Value> format(In in, Self self, Args args) {
  std::vector<Value> values;
  for (size_t i = 0; args.at(i) != nullptr; ++i) values.push_back(*args.at(i));
  const MarkedText text = to_text(self, in.budget());
  return percent_format(text, Value::list(std::move(values), ListKind::kTuple), in.budget());
}

Result<Value> wordcount(In in, Self self, Args) {
  const MarkedText text = to_text(self, in.budget());
  int64_t count = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const Character c = first_character(text.view().substr(i));
    i += c.length;
    const bool word = is_letter(c.code) || is_digit(c.code) || c.code == '_';
    count += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value::integer(count);
}

Result<Value> tojson(In in, Self self, Args args) {
  constexpr int64_t kMostIndent = 1000;
  JsonStyle style;
  style.ensure_ascii = args.flag(0);
  style.sort_keys = args.flag(3);
  if (args.at(1) != nullptr && !args.at(1)->is_none()) {
    style.item_separator = ",";
    if (args.at(1)->is_text()) {
      style.indent = args.at(1)->as_text().bytes();
    } else {
      S3D_ASSIGN(const int64_t width, args.integer(1, 0));
      if (width > kMostIndent) return Error{"the indent is at most 1000"};
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(0, width)), ' ');
    }
  }
  if (args.at(2) != nullptr && !args.at(2)->is_none()) {
    S3D_ASSIGN(const std::vector<Value> two, items_of(*args.at(2), in.budget()));
    if (two.size() != 2 || !two[0].is_text() || !two[1].is_text()) return Error{"separators must be two texts"};
    style.item_separator = two[0].as_text().bytes();
    style.key_separator = two[1].as_text().bytes();
  }
  S3D_ASSIGN(std::string json, to_json(self, style, in.budget()));
  return Value::text(std::move(json));  // data, whatever is in it
}

Result<Value> to_int(In, Self self, Args args) {
  const Value otherwise = args.value_or(0, Value::integer(0));
  if (self.is_undefined()) return Error{self.why_undefined()};
  if (self.is_integral()) return Value::integer(self.as_int());
  S3D_ASSIGN(const int64_t base, args.integer(1, 10));
  if (self.is_text()) {
    if (const auto value = text_to_int(self.as_text().view(), base)) return Value::integer(*value);
  }
  const std::optional<double> number = self.is_text()     ? text_to_double(self.as_text().view())
                                       : self.is_number() ? std::optional<double>(self.as_double())
                                                          : std::nullopt;
  if (!number || !(std::fabs(*number) < 9.2e18)) return otherwise;
  return Value::integer(static_cast<int64_t>(*number));
}

Result<Value> to_float(In, Self self, Args args) {
  if (self.is_undefined()) return Error{self.why_undefined()};
  if (self.is_number()) return Value::number(self.as_double());
  const auto value = self.is_text() ? text_to_double(self.as_text().view()) : std::nullopt;
  return value ? Value::number(*value) : args.value_or(0, Value::number(0));
}

Result<Value> absolute(In, Self self, Args) {
  if (!self.is_number()) return negative(self);
  return self.as_double() < 0 ? negative(self) : self.is_integral() ? Value::integer(self.as_int()) : self;
}

Result<Value> round(In, Self self, Args args) {
  if (!self.is_number()) return Error{"it needs a number, found a " + std::string(self.type_name())};
  S3D_ASSIGN(const int64_t precision, args.integer(0, 0));
  S3D_ASSIGN(const MarkedText method, args.text(1, MarkedText("common", true)));
  if (precision < -300 || precision > 300) return Error{"the precision is out of range"};
  if (method.view() == "ceil" || method.view() == "floor") {
    const double scale = std::pow(10.0, static_cast<double>(precision));
    const double scaled = self.as_double() * scale;
    return Value::number((method.view() == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
  }
  if (method.view() != "common") return Error{"method must be common, ceil or floor"};
  if (self.is_integral() && precision >= 0) return Value::integer(self.as_int());
  if (precision < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-precision));
    const double rounded = std::nearbyint(self.as_double() / scale) * scale;
    return self.is_integral() ? Value::integer(static_cast<int64_t>(rounded)) : Value::number(rounded);
  }
  char buffer[800];  // printf rounds the exact value, half to even, as Python does
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), self.as_double());
  return Value::number(std::strtod(buffer, nullptr));
}

constexpr Row kTextFilters[] = {
    {"upper", "", 0, filtered<uppercase>},
    {"lower", "", 0, filtered<lowercase>},
    {"capitalize", "", 0, filtered<capitalized>},
    {"title", "", 0, filtered<title_by_words>},
    {"trim", "chars", 0, trim},
    {"replace", "old new count", 2, replace_any},
    {"string", "", 0, string},
    {"safe", "", 0, safe},
    {"escape", "", 0, escape},
    {"e", "", 0, escape},
    {"forceescape", "", 0, escape},
    {"indent", "width first blank", 0, indent},
    {"center", "width", 0, center},
    {"format", "a b c d e f g h", 0, format},
    {"wordcount", "", 0, wordcount},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, tojson},
    {"int", "default base", 0, to_int},
    {"float", "default", 0, to_float},
    {"abs", "", 0, absolute},
    {"round", "precision method", 0, round},
};

}  // namespace

std::span<const Row> text_filters() {
  return kTextFilters;
}

}  // namespace s3d::jinja
