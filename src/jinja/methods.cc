// The methods of dicts, lists and `loop`, and how a method is called.
#include <algorithm>

#include "jinja/format.h"
#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"

namespace s3d::jinja {
namespace {

using In = Interpreter&;
using Self = const Value&;
using Args = const Bound&;

Result<Value> get(In in, Self self, Args args) {
  pay_for_key(self.as_dict(), *args.at(0), in.budget());
  if (!hashable(*args.at(0))) return Error{"a " + std::string(args.at(0)->type_name()) + " cannot be a key"};
  const Value* found = self.as_dict().find(*args.at(0));
  return found != nullptr ? *found : args.value_or(1, Value::none());
}

enum class Part : uint8_t { kItems, kKeys, kValues };

template <Part part>
Result<Value> view(In in, Self self, Args) {
  std::vector<Value> out;
  for (const auto& [key, value] : self.as_dict().entries()) {
    out.push_back(part == Part::kKeys     ? key
                  : part == Part::kValues ? value
                                          : paid_list({key, value}, in.budget(), ListKind::kTuple));
  }
  return paid_list(std::move(out), in.budget(), ListKind::kView);
}

Result<Value> copy(In, Self self, Args) {
  return self;
}

Result<Value> count(In in, Self self, Args args) {
  int64_t found = 0;
  for (const Value& item : self.as_list().items) found += equal(item, *args.at(0), in.budget()) ? 1 : 0;
  return Value::integer(found);
}

Result<Value> index(In in, Self self, Args args) {
  const std::vector<Value>& items = self.as_list().items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (equal(items[i], *args.at(0), in.budget())) return Value::integer(static_cast<int64_t>(i));
  }
  return Error{"the item is not in the list"};
}

constexpr Row kDictRows[] = {
    {"get", "key default", 1, get},
    {"items", "", 0, view<Part::kItems>},
    {"keys", "", 0, view<Part::kKeys>},
    {"values", "", 0, view<Part::kValues>},
    {"copy", "", 0, copy},
};

constexpr Row kListRows[] = {
    {"copy", "", 0, copy},
    {"count", "value", 1, count},
    {"index", "value", 1, index},
};

std::span<const Row> methods_of(const Value& self) {
  if (self.is_text()) return text_methods();
  if (self.is_dict()) return kDictRows;
  return kListRows;
}

Result<Value> cycle(const LoopState& loop, const CallArguments& arguments) {
  if (arguments.positional.empty()) return Error{"it needs the values to choose from"};
  return arguments.positional[loop.index % arguments.positional.size()];
}

}  // namespace

Result<Value> call_method(Interpreter& interpreter, const Callable& method, const CallArguments& arguments) {
  const Value& self = method.self;
  pay_for(self, interpreter.budget());
  if (self.is(Value::Kind::kLoop)) return cycle(self.as_loop(), arguments);
  if (self.is_text() && method.name == "format") return brace_format(self.as_text(), arguments, interpreter.budget());
  const Row* row = find_row(methods_of(self), method.name);
  if (row == nullptr) {
    return Error{"the method '" + method.name + "' of a " + std::string(self.type_name()) + " is not supported"};
  }
  return call_row(interpreter, *row, self, arguments);
}

}  // namespace s3d::jinja
