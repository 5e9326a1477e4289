// Calls: macros, methods and functions.
#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/scope_guard.h"

namespace s3d::jinja {
Result<Value> Interpreter::call(const Value& callee, const CallArguments& arguments) {
  if (callee.is_undefined()) return Error{callee.why_undefined()};
  if (!callee.is(Value::Kind::kCallable)) return Error{"a " + std::string(callee.type_name()) + " cannot be called"};
  const Callable& callable = callee.as_callable();
  switch (callable.form) {
    case Callable::Form::kMacro:
      return call_macro(callable, arguments);
    case Callable::Form::kMethod:
      return call_method(*this, callable, arguments);
    default:
      return call_global(*this, callable.name, arguments);
  }
}

// A macro sees the variables of where it was defined, and gives its output as a text.
Result<Value> Interpreter::call_macro(const Callable& macro, const CallArguments& arguments) {
  MarkedText text;
  const Restore<MarkedText*> restore(out_, std::exchange(out_, &text));
  const ScopeGuard scope(*this, macro.scope);
  S3D_TRY(bind_parameters(macro, arguments));
  S3D_TRY(run_body(macro.macro->body));
  return Value::text(std::move(text));
}

// Defaults see the parameters that are given, and one another in order.
Status Interpreter::bind_parameters(const Callable& macro, const CallArguments& arguments) {
  const std::vector<Parameter>& parameters = macro.macro->parameters;
  std::string names;
  for (const Parameter& parameter : parameters) names += (names.empty() ? "" : " ") + parameter.name;
  const auto bound = jinja::bind(names, 0, arguments);
  if (!bound.ok()) return Error{"macro '" + macro.name + "': " + bound.error().message};
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (const Value* given = bound->at(i)) scope_->set(parameters[i].name, *given);
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (bound->at(i) != nullptr) continue;
    Value value = Value::undefined("parameter '" + parameters[i].name + "' was not provided");
    if (parameters[i].value != nullptr) {
      S3D_ASSIGN(value, eval(*parameters[i].value));
    }
    scope_->set(parameters[i].name, std::move(value));
  }
  return Ok();
}

}  // namespace s3d::jinja
