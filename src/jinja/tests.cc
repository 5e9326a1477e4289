// The tests behind `is`.
#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

using ValueKind = Value::Kind;
using In = Interpreter&;
using Self = const Value&;
using Args = const Bound&;

Result<Value> yes(bool value) {
  return Value::boolean(value);
}

template <ValueKind kind>
Result<Value> is_kind(In, Self self, Args) {
  return yes(self.is(kind));
}

template <bool wanted>
Result<Value> is_exactly(In, Self self, Args) {
  return yes(self.is(ValueKind::kBool) && self.as_bool() == wanted);
}

Result<Value> is_defined(In, Self self, Args) {
  return yes(!self.is_undefined());
}
Result<Value> is_number(In, Self self, Args) {
  return yes(self.is_number());
}
Result<Value> is_callable(In, Self self, Args) {
  return yes(self.is(ValueKind::kCallable) || self.is(ValueKind::kLoop) || self.is_undefined());
}
Result<Value> is_iterable(In, Self self, Args) {
  return yes(self.is_text() || self.is_list() || self.is_dict() || self.is_undefined() || self.is(ValueKind::kLoop));
}
Result<Value> is_sequence(In, Self self, Args) {
  if (self.is_list()) return yes(self.as_list().kind < ListKind::kView);
  return yes(self.is_text() || self.is_dict() || self.is_undefined());
}
Result<Value> is_escaped(In, Self self, Args) {
  return yes(self.is_text() && self.as_text().markup());
}
Result<Value> is_same(In, Self self, Args args) {
  return yes(self.same_object(*args.at(0)));
}

template <bool upper>
Result<Value> has_case(In in, Self self, Args) {
  const MarkedText text = to_text(self, in.budget());
  bool any = false;
  for (size_t i = 0; i < text.size();) {
    const Character c = first_character(text.view().substr(i));
    i += c.length;
    if (upper ? is_lower(c.code) : is_upper(c.code)) return yes(false);
    any = any || (upper ? is_upper(c.code) : is_lower(c.code));
  }
  return yes(any);
}

// The remainder decides: odd, even, divisibleby.
Result<Value> remainder_is(In in, Self self, const Value& divisor, bool zero) {
  S3D_ASSIGN(const Value rest, binary("%", self, divisor, in.budget()));
  return yes(equal(rest, Value::integer(zero ? 0 : 1), in.budget()));
}
Result<Value> is_odd(In in, Self self, Args) {
  return remainder_is(in, self, Value::integer(2), false);
}
Result<Value> is_even(In in, Self self, Args) {
  return remainder_is(in, self, Value::integer(2), true);
}
Result<Value> is_divisible(In in, Self self, Args args) {
  return remainder_is(in, self, *args.at(0), true);
}

constexpr char kEq[] = "==";
constexpr char kNe[] = "!=";
constexpr char kGt[] = ">";
constexpr char kGe[] = ">=";
constexpr char kLt[] = "<";
constexpr char kLe[] = "<=";
constexpr char kIn[] = "in";

template <const char* op>
Result<Value> compares(In in, Self self, Args args) {
  S3D_ASSIGN(const bool holds, compare(op, self, *args.at(0), in.budget()));
  return yes(holds);
}

Result<Value> is_filter_name(In, Self self, Args) {
  return yes(self.is_text() && is_filter(self.as_text().view()));
}
Result<Value> is_test_name(In, Self self, Args) {
  return yes(self.is_text() && find_row(tests(), self.as_text().view()) != nullptr);
}

constexpr Row kTests[] = {
    {"defined", "", 0, is_defined},
    {"undefined", "", 0, is_kind<ValueKind::kUndefined>},
    {"none", "", 0, is_kind<ValueKind::kNone>},
    {"boolean", "", 0, is_kind<ValueKind::kBool>},
    {"true", "", 0, is_exactly<true>},
    {"false", "", 0, is_exactly<false>},
    {"integer", "", 0, is_kind<ValueKind::kInt>},
    {"float", "", 0, is_kind<ValueKind::kFloat>},
    {"number", "", 0, is_number},
    {"string", "", 0, is_kind<ValueKind::kText>},
    {"mapping", "", 0, is_kind<ValueKind::kDict>},
    {"iterable", "", 0, is_iterable},
    {"sequence", "", 0, is_sequence},
    {"callable", "", 0, is_callable},
    {"escaped", "", 0, is_escaped},
    {"sameas", "other", 1, is_same},
    {"lower", "", 0, has_case<false>},
    {"upper", "", 0, has_case<true>},
    {"odd", "", 0, is_odd},
    {"even", "", 0, is_even},
    {"divisibleby", "num", 1, is_divisible},
    {"filter", "", 0, is_filter_name},
    {"test", "", 0, is_test_name},
    {"in", "seq", 1, compares<kIn>},
    {"==", "other", 1, compares<kEq>},
    {"eq", "other", 1, compares<kEq>},
    {"equalto", "other", 1, compares<kEq>},
    {"!=", "other", 1, compares<kNe>},
    {"ne", "other", 1, compares<kNe>},
    {">", "other", 1, compares<kGt>},
    {"gt", "other", 1, compares<kGt>},
    {"greaterthan", "other", 1, compares<kGt>},
    {">=", "other", 1, compares<kGe>},
    {"ge", "other", 1, compares<kGe>},
    {"<", "other", 1, compares<kLt>},
    {"lt", "other", 1, compares<kLt>},
    {"lessthan", "other", 1, compares<kLt>},
    {"<=", "other", 1, compares<kLe>},
    {"le", "other", 1, compares<kLe>},
};

}  // namespace

std::span<const Row> tests() {
  return kTests;
}

}  // namespace s3d::jinja
