#include "jinja/python_text.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "jinja/callable.h"
#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

using ValueKind = Value::Kind;

constexpr int kReprDepth = 500;  // namespaces can hold themselves

// Characters that repr() writes as escapes: control, format and private ones, and white space but for the blank.
bool printable(char32_t c) {
  if (c == ' ') return true;
  if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || is_space(c)) return false;
  const bool format = (c >= 0x600 && c <= 0x605) || c == 0x61C || c == 0x6DD || c == 0x70F || c == 0x180E ||
                      (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) ||
                      c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE007F);
  const bool no_character = (c >= 0xD800 && c <= 0xF8FF) || (c & 0xFFFE) == 0xFFFE || c >= 0xF0000;
  return !format && !no_character;
}

void append_escaped(std::string& out, char32_t c) {
  char buffer[16];
  const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(buffer, sizeof buffer, format, static_cast<unsigned>(c));
  out += buffer;
}

class Printer {
 public:
  explicit Printer(Budget& budget) : budget_(budget) {}

  void print(const Value& value, int depth = 0) {
    if (!budget_.take_steps(1) || depth > kReprDepth) return;
    switch (value.kind()) {
      case ValueKind::kText:
        if (!value.as_text().markup()) return put(quoted(value.as_text().view()));
        return put("Markup(" + quoted(value.as_text().view()) + ")");
      case ValueKind::kList:
        return print_list(value.as_list(), depth);
      case ValueKind::kDict:
        return print_dict(value.as_dict(), depth);
      case ValueKind::kNamespace:
        put("<Namespace ");
        print_dict(value.as_namespace().attributes, depth);
        return put(">");
      default:
        return put(plain(value));
    }
  }

  std::string take() { return std::move(out_); }

  static std::string plain(const Value& value) {
    switch (value.kind()) {
      case ValueKind::kUndefined:
        return "Undefined";
      case ValueKind::kNone:
        return "None";
      case ValueKind::kBool:
        return value.as_bool() ? "True" : "False";
      case ValueKind::kInt:
        return std::to_string(value.as_int());
      case ValueKind::kFloat:
        return float_text(value.as_double());
      case ValueKind::kLoop:
        return "<LoopContext " + std::to_string(value.as_loop().index + 1) + "/" +
               std::to_string(value.as_loop().items.size()) + ">";
      default: {
        const Callable& callable = value.as_callable();
        if (callable.form == Callable::Form::kMacro) return "<Macro " + quoted(callable.name) + ">";
        return "<built-in " + std::string(callable.form == Callable::Form::kMethod ? "method " : "function ") +
               callable.name + ">";
      }
    }
  }

 private:
  void put(std::string_view text) {
    if (budget_.take_bytes(text.size())) out_ += text;
  }

  void print_list(const List& list, int depth) {
    if (list.kind == ListKind::kGenerator) return put("<generator object>");
    if (list.kind == ListKind::kRange) return put(range(list));
    if (list.kind == ListKind::kView) put("dict_items(");
    const bool tuple = list.kind == ListKind::kTuple;
    put(tuple ? "(" : "[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) put(", ");
      print(list.items[i], depth + 1);
    }
    if (tuple && list.items.size() == 1) put(",");
    put(tuple ? ")" : "]");
    if (list.kind == ListKind::kView) put(")");
  }

  // Where a range ends is told from its last number: range(0, 5, 2) prints as range(0, 6, 2), which is the same range.
  static std::string range(const List& list) {
    const auto at = [&](size_t i) { return list.items[i].as_int(); };
    const size_t n = list.items.size();
    const int64_t step = n > 1 ? at(1) - at(0) : 1;
    const int64_t start = n > 0 ? at(0) : 0;
    const int64_t stop = n > 0 ? at(n - 1) + step : 0;
    return "range(" + std::to_string(start) + ", " + std::to_string(stop) +
           (step == 1 ? "" : ", " + std::to_string(step)) + ")";
  }

  void print_dict(const Dict& dict, int depth) {
    put("{");
    bool first = true;
    for (const auto& [key, value] : dict.entries()) {
      if (!first) put(", ");
      first = false;
      print(key, depth + 1);
      put(": ");
      print(value, depth + 1);
    }
    put("}");
  }

  Budget& budget_;
  std::string out_;
};

// Digits without a point, and the exponent of the first one.
std::string with_exponent(std::string digits, int exponent) {
  if (digits.size() > 1) digits.insert(1, ".");
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
  return digits + buffer;
}

std::string with_point(std::string digits, int exponent) {
  if (exponent < 0) return "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return digits + std::string(whole - digits.size(), '0') + ".0";
  return digits.insert(whole, ".");
}

}  // namespace

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(value), std::chars_format::scientific).ptr;
  const std::string text(buffer, end);
  const size_t e = text.find('e');
  std::string digits = text.substr(0, 1);
  if (e > 2) digits += text.substr(2, e - 2);
  const int exponent = std::stoi(text.substr(e + 1));
  const std::string sign = std::signbit(value) ? "-" : "";
  const bool point = exponent >= -4 && exponent < 16;
  return sign + (point ? with_point(digits, exponent) : with_exponent(digits, exponent));
}

std::string quoted(std::string_view text) {
  const bool single = text.find('\'') != std::string_view::npos;
  const bool twice = text.find('"') != std::string_view::npos;
  const char quote = single && !twice ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const Character c = first_character(text.substr(i));
    i += c.length;
    if (c.code == '\n') {
      out += "\\n";
    } else if (c.code == '\r') {
      out += "\\r";
    } else if (c.code == '\t') {
      out += "\\t";
    } else if (c.code == '\\' || c.code == static_cast<char32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(c.code);
    } else if (!printable(c.code)) {
      append_escaped(out, c.code);
    } else {
      append_utf8(out, c.code);
    }
  }
  return out + quote;
}

std::string repr(const Value& value, Budget& budget) {
  Printer printer(budget);
  printer.print(value);
  return printer.take();
}

MarkedText to_text(const Value& value, Budget& budget) {
  switch (value.kind()) {
    case ValueKind::kUndefined:
      return {};
    case ValueKind::kText:
      budget.take_bytes(value.as_text().size());
      return value.as_text();
    case ValueKind::kList:
    case ValueKind::kDict:
    case ValueKind::kNamespace:
      return {repr(value, budget), false};
    default:
      return {Printer::plain(value), true};
  }
}

std::string shown_object(const Value& value) {
  if (value.is_none()) return "None";
  return std::string(value.type_name()) + " object";
}

}  // namespace s3d::jinja
