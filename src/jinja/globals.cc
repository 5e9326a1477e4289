// The functions that every template has.
#include <ctime>

#include "jinja/among.h"
#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"

namespace s3d::jinja {
namespace {

constexpr int64_t kMostOfRange = 100'000;  // Jinja's sandbox allows as many

Result<Value> range(Interpreter& interpreter, const CallArguments& arguments) {
  S3D_ASSIGN(const Bound bound, bind("start stop step", 1, arguments));
  S3D_ASSIGN(const int64_t first, bound.integer(0, 0));
  S3D_ASSIGN(const int64_t second, bound.integer(1, 0));
  S3D_ASSIGN(const int64_t step, bound.integer(2, 1));
  if (step == 0) return Error{"the step of range cannot be zero"};
  const bool one = bound.at(1) == nullptr;
  const int64_t start = one ? 0 : first;
  const int64_t stop = one ? first : second;
  std::vector<Value> out;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(out.size()) >= kMostOfRange) {
      return Error{"a range has at most " + std::to_string(kMostOfRange) + " numbers"};
    }
    out.push_back(Value::integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return paid_list(std::move(out), interpreter.budget(), ListKind::kRange);
}

// dict(other, a=1) and namespace(other, a=1)
Result<Dict> dict_of(Interpreter& interpreter, const CallArguments& arguments) {
  Dict out;
  if (arguments.positional.size() > 1) return Error{"it takes at most one argument without a name"};
  if (!arguments.positional.empty()) {
    const Value& first = arguments.positional[0];
    if (first.is_dict()) {
      out = first.as_dict();
    } else {
      S3D_ASSIGN(const std::vector<Value> pairs, items_of(first, interpreter.budget()));
      for (const Value& pair : pairs) {
        S3D_ASSIGN(const std::vector<Value> parts, items_of(pair, interpreter.budget()));
        if (parts.size() != 2 || !hashable(parts[0])) return Error{"a dict is made of pairs of key and value"};
        pay_for_key(out, parts[0], interpreter.budget());
        if (interpreter.budget().spent()) break;
        out.set(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) out.set(Value::trusted(name), value);
  interpreter.budget().take_bytes(sizeof(Dict) + out.size() * sizeof(Dict::Entry));
  return out;
}

Result<Value> raise_exception(Interpreter& interpreter, const CallArguments& arguments) {
  S3D_ASSIGN(const Bound bound, bind("message", 1, arguments));
  return Error{to_text(*bound.at(0), interpreter.budget()).bytes()};
}

Result<Value> strftime_now(Interpreter& interpreter, const CallArguments& arguments) {
  constexpr size_t kMostFormat = 1000;
  S3D_ASSIGN(const Bound bound, bind("format", 1, arguments));
  S3D_ASSIGN(const MarkedText format, bound.text(0));
  if (format.size() > kMostFormat) return Error{"the format of a date is at most 1000 bytes"};
  std::tm now{};
  if (interpreter.options().clock) {
    now = interpreter.options().clock();
  } else {
    const std::time_t seconds = std::time(nullptr);
    localtime_r(&seconds, &now);
  }
  interpreter.budget().take_bytes(kMostFormat * 64);
  std::string buffer(kMostFormat * 64, '\0');
  buffer.resize(std::strftime(buffer.data(), buffer.size(), format.bytes().c_str(), &now));
  const bool from_template = format.empty() || format.from_template_at(0);
  return Value::text(MarkedText(std::move(buffer), from_template));
}

constexpr std::string_view kGlobals[] = {"range", "namespace", "dict", "raise_exception", "strftime_now"};

}  // namespace

bool is_global(std::string_view name) {
  return among(kGlobals, name);
}

Result<Value> call_global(Interpreter& interpreter, const std::string& name, const CallArguments& arguments) {
  if (name == "range") return range(interpreter, arguments);
  if (name == "raise_exception") return raise_exception(interpreter, arguments);
  if (name == "strftime_now") return strftime_now(interpreter, arguments);
  S3D_ASSIGN(Dict dict, dict_of(interpreter, arguments));
  if (name == "namespace") return interpreter.new_namespace(std::move(dict));
  return Value::dict(std::move(dict));
}

}  // namespace s3d::jinja
