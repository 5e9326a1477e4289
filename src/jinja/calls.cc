// Calls: macros, loops that call themselves, methods and functions.
#include <algorithm>

#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/scope_guard.h"

namespace s3d::jinja {
namespace {

// Takes a named argument out; nothing: it is not there.
std::optional<Value> take_named(CallArguments& arguments, const std::string& name) {
  const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                  [&](const auto& argument) { return argument.first == name; });
  if (found == arguments.named.end()) return std::nullopt;
  std::optional<Value> value(std::move(found->second));
  arguments.named.erase(found);
  return value;
}

}  // namespace

Result<Value> Interpreter::call(const Value& callee, CallArguments arguments) {
  if (callee.is_undefined()) return Error{callee.why_undefined()};
  if (callee.is(Value::Kind::kLoop)) return call_loop(callee.as_loop(), arguments);
  if (!callee.is(Value::Kind::kCallable)) return Error{"a " + std::string(callee.type_name()) + " cannot be called"};
  const Callable& callable = callee.as_callable();
  switch (callable.form) {
    case Callable::Form::kMacro:
      return call_macro(callable, std::move(arguments));
    case Callable::Form::kMethod:
      return call_method(*this, callable, arguments);
    default:
      return call_global(*this, callable.name, arguments);
  }
}

// A macro sees the variables of where it was defined, and gives its output as a text.
Result<Value> Interpreter::call_macro(const Callable& macro, CallArguments arguments) {
  MarkedText text;
  const Restore<MarkedText*> restore(out_, std::exchange(out_, &text));
  const ScopeGuard scope(*this, macro.scope);
  S3D_TRY(bind_parameters(macro, arguments));
  S3D_TRY(run_body(macro.macro->body));
  return Value::text(std::move(text));
}

Status Interpreter::bind_parameters(const Callable& macro, CallArguments& arguments) {
  const std::vector<Parameter>& parameters = macro.macro->parameters;
  const size_t given = std::min(parameters.size(), arguments.positional.size());
  for (size_t i = 0; i < given; ++i) scope_->set(parameters[i].name, arguments.positional[i]);
  std::vector<const Parameter*> missing;
  for (size_t i = given; i < parameters.size(); ++i) {
    if (std::optional<Value> value = take_named(arguments, parameters[i].name)) {
      scope_->set(parameters[i].name, std::move(*value));
    } else {
      missing.push_back(&parameters[i]);
    }
  }
  arguments.positional.erase(arguments.positional.begin(), arguments.positional.begin() + static_cast<long>(given));
  S3D_TRY(bind_special(macro, arguments));
  for (const Parameter* parameter : missing) {
    Value value = Value::undefined("parameter '" + parameter->name + "' was not provided");
    if (parameter->value != nullptr) {
      S3D_ASSIGN(value, eval(*parameter->value));
    }
    scope_->set(parameter->name, std::move(value));
  }
  return Ok();
}

// caller, varargs and kwargs, which exist in macros that name them. What is left over otherwise is an error.
Status Interpreter::bind_special(const Callable& macro, CallArguments& arguments) {
  const Node& node = *macro.macro;
  const std::string shown = "macro '" + macro.name + "'";
  if (node.uses_caller && scope_->find("caller") == nullptr) {
    std::optional<Value> value = take_named(arguments, "caller");
    scope_->set("caller", value ? std::move(*value) : Value::undefined("No caller defined"));
  }
  if (node.uses_kwargs) {
    Dict rest;
    for (auto& [name, value] : arguments.named) rest.set(Value::trusted(name), std::move(value));
    scope_->set("kwargs", Value::dict(std::move(rest)));
  } else if (!arguments.named.empty()) {
    return Error{shown + " takes no argument '" + arguments.named[0].first + "'"};
  }
  if (node.uses_varargs) {
    scope_->set("varargs", Value::list(std::move(arguments.positional), ListKind::kTuple));
  } else if (!arguments.positional.empty()) {
    return Error{shown + " takes at most " + std::to_string(node.parameters.size()) + " arguments"};
  }
  return Ok();
}

// loop(items) in a recursive loop: its body, with other items.
Result<Value> Interpreter::call_loop(const LoopState& loop, const CallArguments& arguments) {
  if (loop.node == nullptr) return Error{"only the loop of {% for ... recursive %} can be called"};
  S3D_ASSIGN(const Bound bound, bind("items", 1, arguments));
  MarkedText text;
  const Restore<MarkedText*> restore(out_, std::exchange(out_, &text));
  S3D_TRY(run_loop(*loop.node, *bound.at(0), loop.depth0 + 1, loop.scope));
  return Value::text(std::move(text));
}

}  // namespace s3d::jinja
