#include <cmath>
#include <limits>

#include "jinja/format.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"

namespace s3d::jinja {
namespace {

Error wrong_types(std::string_view op, const Value& a, const Value& b) {
  for (const Value* v : {&a, &b}) {
    if (v->is_undefined()) return Error{v->why_undefined()};
  }
  return Error{"cannot compute " + std::string(a.type_name()) + " " + std::string(op) + " " +
               std::string(b.type_name())};
}

Error too_large() {
  return Error{"the result does not fit into 64 bits"};
}

Result<Value> power(const Value& a, const Value& b) {
  if (!a.is_integral() || !b.is_integral() || b.as_int() < 0) {
    if (a.as_double() == 0 && b.as_double() < 0) return Error{"zero cannot be raised to a negative power"};
    const double result = std::pow(a.as_double(), b.as_double());
    if (std::isnan(result) || std::isinf(result)) return too_large();
    return Value::number(result);
  }
  int64_t base = a.as_int();
  if (base >= -1 && base <= 1) return Value::integer(b.as_int() == 0 ? 1 : b.as_int() % 2 != 0 ? base : base * base);
  int64_t result = 1;
  for (int64_t i = 0; i < b.as_int(); ++i) {  // ends after 64 rounds: |base| > 1
    if (__builtin_mul_overflow(result, base, &result)) return too_large();
  }
  return Value::integer(result);
}

// Python rounds the quotient down, and the remainder has the divisor's sign.
Result<Value> integer_division(bool quotient, int64_t a, int64_t b) {
  if (b == 0) return Error{"division by zero"};
  if (b == -1) {
    if (!quotient) return Value::integer(0);
    if (a == std::numeric_limits<int64_t>::min()) return too_large();
    return Value::integer(-a);
  }
  const bool down = a % b != 0 && (a % b < 0) != (b < 0);
  return Value::integer(quotient ? a / b - (down ? 1 : 0) : a % b + (down ? b : 0));
}

Result<Value> float_division(bool quotient, double a, double b) {
  if (b == 0) return Error{"division by zero"};
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  if (!quotient) return Value::number(rest == 0 ? std::copysign(0.0, b) : rest);
  return Value::number(std::floor((a - rest) / b + 0.5));
}

Result<Value> integers(std::string_view op, int64_t a, int64_t b) {
  int64_t out = 0;
  const bool overflow = op == "+"   ? __builtin_add_overflow(a, b, &out)
                        : op == "-" ? __builtin_sub_overflow(a, b, &out)
                                    : __builtin_mul_overflow(a, b, &out);
  if (overflow) return too_large();
  return Value::integer(out);
}

Result<Value> numbers(std::string_view op, const Value& a, const Value& b) {
  if (op == "**") return power(a, b);
  if (op == "/") {
    if (b.as_double() == 0) return Error{"division by zero"};
    return Value::number(a.as_double() / b.as_double());
  }
  const bool integral = a.is_integral() && b.is_integral();
  if (op == "//" || op == "%") {
    return integral ? integer_division(op == "//", a.as_int(), b.as_int())
                    : float_division(op == "//", a.as_double(), b.as_double());
  }
  if (integral) return integers(op, a.as_int(), b.as_int());
  const double x = a.as_double();
  const double y = b.as_double();
  return Value::number(op == "+" ? x + y : op == "-" ? x - y : x * y);
}

Value joined_texts(const MarkedText& a, const MarkedText& b, Budget& budget) {
  MarkedText out;
  const bool markup = a.markup() || b.markup();
  if (!budget.take_bytes(a.size() + b.size())) return Value::text(out);
  out.append(markup && !a.markup() ? html_escaped(a) : a);
  out.append(markup && !b.markup() ? html_escaped(b) : b);
  out.set_markup(markup);
  return Value::text(std::move(out));
}

Value joined_lists(const List& a, const List& b, Budget& budget) {
  std::vector<Value> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return paid_list(std::move(items), budget, a.kind);
}

Result<Value> repeated(const Value& value, int64_t count, Budget& budget) {
  const uint64_t times = count < 0 ? 0 : static_cast<uint64_t>(count);
  const uint64_t size = value.is_text() ? value.as_text().size() : value.as_list().items.size() * sizeof(Value);
  if (size != 0 && times > budget.limits().bytes / size) budget.take_bytes(budget.limits().bytes + 1);
  if (!budget.take_bytes(size * times)) return Value::none();
  if (value.is_text()) {
    MarkedText out;
    for (uint64_t i = 0; i < times && size != 0; ++i) out.append(value.as_text());
    out.set_markup(value.as_text().markup());
    return Value::text(std::move(out));
  }
  std::vector<Value> items;
  for (uint64_t i = 0; i < times && size != 0; ++i) {
    items.insert(items.end(), value.as_list().items.begin(), value.as_list().items.end());
  }
  return Value::list(std::move(items), value.as_list().kind);
}

bool is_sequence(const Value& value) {
  return value.is_list() && (value.as_list().kind == ListKind::kList || value.as_list().kind == ListKind::kTuple);
}

}  // namespace

Result<Value> binary(std::string_view op, const Value& a, const Value& b, Budget& budget) {
  if (a.is_undefined() || b.is_undefined()) return wrong_types(op, a, b);
  if (a.is_number() && b.is_number()) return numbers(op, a, b);
  if (op == "+") {
    if (a.is_text() && b.is_text()) return joined_texts(a.as_text(), b.as_text(), budget);
    const bool lists = is_sequence(a) && is_sequence(b) && a.as_list().kind == b.as_list().kind;
    if (lists) return joined_lists(a.as_list(), b.as_list(), budget);
  }
  if (op == "*") {
    if ((a.is_text() || is_sequence(a)) && b.is_integral()) return repeated(a, b.as_int(), budget);
    if ((b.is_text() || is_sequence(b)) && a.is_integral()) return repeated(b, a.as_int(), budget);
  }
  if (op == "%" && a.is_text()) return percent_format(a.as_text(), b, budget);
  return wrong_types(op, a, b);
}

Result<Value> negative(const Value& value) {
  if (value.is_integral()) return integers("-", 0, value.as_int());
  if (value.is_number()) return Value::number(-value.as_double());
  if (value.is_undefined()) return Error{value.why_undefined()};
  return Error{"a " + std::string(value.type_name()) + " has no sign"};
}

MarkedText html_escaped(const MarkedText& text) {
  static constexpr std::string_view kFrom = "&<>'\"";
  static constexpr std::string_view kTo[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  MarkedText out;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t found = kFrom.find(text.bytes()[i]);
    if (found == std::string_view::npos) continue;
    out.append(text, begin, i);
    out.append(kTo[found], text.from_template_at(i));
    begin = i + 1;
  }
  out.append(text, begin, text.size());
  out.set_markup(true);
  return out;
}

void pay_for(const Value& value, Budget& budget) {
  // A step takes about as long as 64 bytes or 16 items do.
  if (value.is_text()) budget.take_steps(value.as_text().size() / 64);
  if (value.is_list()) budget.take_steps(value.as_list().items.size() / 16);
}

void pay_for_key(const Dict& dict, const Value& key, Budget& budget) {
  key.is_text() ? pay_for(key, budget) : static_cast<void>(budget.take_steps(dict.size()));
}

Value paid_text(MarkedText text, Budget& budget) {
  budget.take_bytes(text.size());
  return Value::text(std::move(text));
}

Value paid_list(std::vector<Value> items, Budget& budget, ListKind kind) {
  budget.take_bytes(sizeof(List) + items.size() * sizeof(Value));
  return Value::list(std::move(items), kind);
}

}  // namespace s3d::jinja
