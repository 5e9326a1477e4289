// What templates call by name: functions, filters, tests and methods. Each is a row of a table.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jinja/callable.h"
#include "jinja/value.h"

namespace s3d::jinja {

class Interpreter;

// Arguments in the order of a function's parameters, with the names resolved.
class Bound {
 public:
  // Null: not given.
  const Value* at(size_t i) const { return i < values_.size() && values_[i] ? &*values_[i] : nullptr; }
  Value value_or(size_t i, const Value& otherwise) const { return at(i) != nullptr ? *at(i) : otherwise; }
  bool flag(size_t i) const { return at(i) != nullptr && at(i)->truthy(); }

  // Error: another type. None counts as not given.
  Result<int64_t> integer(size_t i, int64_t otherwise) const;
  Result<MarkedText> text(size_t i, const MarkedText& otherwise = {}) const;

  std::vector<std::optional<Value>> values_;
};

// `parameters`: names with blanks between them; the first `required` must be given. Error: one too many, one missing,
// one given twice, an unknown name.
Result<Bound> bind(std::string_view parameters, size_t required, const CallArguments& arguments);

// A filter, test or method: `self` is what it is applied to.
using Function = Result<Value> (*)(Interpreter&, const Value& self, const Bound& arguments);
struct Row {
  std::string_view name;
  std::string_view parameters;
  size_t required;
  Function function;
};

// Null: no such row.
const Row* find_row(std::span<const Row> rows, std::string_view name);
Result<Value> call_row(Interpreter& interpreter, const Row& row, const Value& self, const CallArguments& arguments);

// filters*.cc. Those that take whatever another filter or test takes are not rows.
std::span<const Row> text_filters();
std::span<const Row> list_filters();
bool is_filter(std::string_view name);
// Jinja2 knows it, this library does not.
bool is_unsupported_filter(std::string_view name);
// map, select, reject, selectattr and rejectattr; nothing: another name.
std::optional<Result<Value>> apply_sequence_filter(Interpreter& interpreter, std::string_view name, const Value& value,
                                                   const CallArguments& arguments);
// a.b.0 in the argument `attribute` of filters. `otherwise`: in place of what is undefined on the way; null: nothing.
Result<Value> attribute_path(const Value& value, const Value& path, const Value* otherwise = nullptr);

// tests.cc
std::span<const Row> tests();

// methods*.cc
std::span<const Row> text_methods();
Result<Value> call_method(Interpreter& interpreter, const Callable& method, const CallArguments& arguments);

// globals.cc: range, namespace, dict, raise_exception, strftime_now.
bool is_global(std::string_view name);
Result<Value> call_global(Interpreter& interpreter, const std::string& name, const CallArguments& arguments);

}  // namespace s3d::jinja
