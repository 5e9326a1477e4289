// Runs a parsed template.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "jinja/ast.h"
#include "jinja/budget.h"
#include "jinja/callable.h"
#include "jinja/template.h"

namespace s3d::jinja {

// One rendering. Thread rule: used by one thread; many may run the same body.
class Interpreter {
 public:
  Interpreter(const Value& context, const RenderOptions& options)
      : context_(context), options_(options), budget_(options.limits) {}
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  Result<Rendered> run(const Body& body, const std::vector<std::string>& hidden);

  // For functions, filters, tests and methods.
  Budget& budget() { return budget_; }
  const RenderOptions& options() const { return options_; }
  Result<Value> filter(const std::string& name, const Value& value, const CallArguments& arguments);
  Result<bool> test(const std::string& name, const Value& value, const CallArguments& arguments);
  Value new_namespace(Dict attributes);

 private:
  enum class Flow : uint8_t { kOn, kBreak, kContinue };
  class ScopeGuard;

  // interpreter.cc: statements
  Result<Flow> run_body(const Body& body);
  Result<Flow> run_node(const Node& node);
  Result<Flow> dispatch(const Node& node);
  Result<Flow> run_if(const Node& node);
  Result<Flow> run_for(const Node& node);
  Result<Flow> run_loop(const Node& node, const Value& items, int depth0, Scope* scope);
  Result<std::vector<Value>> selected(const Node& node, std::vector<Value> items);
  Result<Flow> run_set(const Node& node);
  Result<Flow> run_captured(const Node& node);
  Result<Flow> run_with(const Node& node);
  Result<Flow> run_call_block(const Node& node);
  Status print(const Value& value);
  Status assign(const Target& target, const Value& value);
  Status unpack(const Target& target, const Value& value);
  void define_macro(const Node& node);
  Value macro_value(const Node& node);
  void keep_scopes();

  // calls.cc
  Result<Value> call(const Value& callee, CallArguments arguments);
  Result<Value> call_macro(const Callable& macro, CallArguments arguments);
  Status bind_parameters(const Callable& macro, CallArguments& arguments);
  Status bind_special(const Callable& macro, CallArguments& arguments);
  Result<Value> call_loop(const LoopState& loop, const CallArguments& arguments);

  // expressions.cc
  Result<Value> eval(const Expr& expr);
  Result<Value> eval_kind(const Expr& expr);
  Result<Value> eval_name(const Expr& expr);
  Result<Value> eval_list(const Expr& expr);
  Result<Value> eval_dict(const Expr& expr);
  Result<Value> eval_item(const Expr& expr);
  Result<Value> eval_call(const Expr& expr);
  Result<Value> eval_filter(const Expr& expr);
  Result<Value> eval_test(const Expr& expr);
  Result<Value> eval_condition(const Expr& expr);
  Result<Value> eval_logic(const Expr& expr);
  Result<Value> eval_binary(const Expr& expr);
  Result<Value> eval_concat(const Expr& expr);
  Result<Value> eval_compare(const Expr& expr);
  Result<CallArguments> eval_arguments(const std::vector<Argument>& arguments);
  Error located(Error error, int line, const std::string& construct);

  const Value& context_;
  const RenderOptions& options_;
  Budget budget_;
  MarkedText* out_ = nullptr;  // what statements write to
  Scope* scope_ = nullptr;     // the innermost
  Value captured_;             // the text of the block whose filters are being applied
  Value caller_;               // of the {% call %} that is about to call its macro; undefined: none
  int depth_ = 0;
  bool located_ = false;  // the error on its way up names its line
  std::vector<std::unique_ptr<Scope>> kept_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;  // emptied at the end: they may hold themselves
};

}  // namespace s3d::jinja
