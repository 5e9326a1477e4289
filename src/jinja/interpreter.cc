#include "jinja/interpreter.h"

#include <algorithm>

#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/scope_guard.h"

namespace s3d::jinja {

using NodeKind = Node::Kind;

Interpreter::~Interpreter() {
  for (const auto& object : namespaces_) object->attributes = Dict();
}

Value Interpreter::new_namespace(Dict attributes) {
  namespaces_.push_back(std::make_shared<Namespace>(Namespace{std::move(attributes)}));
  budget_.take_bytes(sizeof(Namespace));
  return Value::of(namespaces_.back());
}

Result<Rendered> Interpreter::run(const Body& body, const std::vector<std::string>& hidden) {
  MarkedText out;
  out_ = &out;
  const ScopeGuard scope(*this, nullptr);
  for (const std::string& name : hidden) scope_->set(name, Value::undefined("'" + name + "' is undefined"));
  S3D_TRY(run_body(body));
  return Rendered{out.bytes(), out.spans()};
}

Result<Interpreter::Flow> Interpreter::run_body(const Body& body) {
  for (const auto& node : body) {
    S3D_ASSIGN(const Flow flow, run_node(*node));
    if (flow != Flow::kOn) return flow;
  }
  return Flow::kOn;
}

Result<Interpreter::Flow> Interpreter::run_node(const Node& node) {
  const Deeper deeper(depth_);
  if (depth_ > budget_.limits().depth) {
    return located(Error{"macros and blocks are nested more than " + std::to_string(budget_.limits().depth) + " deep"},
                   node.line, "");
  }
  budget_.take_steps(1);
  Result<Flow> flow = budget_.spent() ? Result<Flow>(Error{budget_.what()}) : dispatch(node);
  if (flow.ok() && budget_.spent()) flow = Error{budget_.what()};
  if (!flow.ok()) return located(flow.error(), node.line, "");
  return flow;
}

Result<Interpreter::Flow> Interpreter::dispatch(const Node& node) {
  switch (node.kind) {
    case NodeKind::kText:
      S3D_TRY(print(node.text));
      return Flow::kOn;
    case NodeKind::kPrint: {
      S3D_ASSIGN(const Value value, eval(*node.expr));
      S3D_TRY(print(value));
      return Flow::kOn;
    }
    case NodeKind::kIf:
      return run_if(node);
    case NodeKind::kFor:
      return run_for(node);
    case NodeKind::kSet:
      return run_set(node);
    case NodeKind::kSetBlock:
    case NodeKind::kFilterBlock:
      return run_captured(node);
    case NodeKind::kMacro:
      define_macro(node);
      return Flow::kOn;
    case NodeKind::kCallBlock:
      return run_call_block(node);
    case NodeKind::kWith:
      return run_with(node);
    case NodeKind::kScope: {
      const ScopeGuard scope(*this, scope_);
      return run_body(node.body);
    }
    case NodeKind::kBreak:
      return Flow::kBreak;
    case NodeKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kOn;
}

Status Interpreter::print(const Value& value) {
  const MarkedText text = to_text(value, budget_);
  if (out_->size() + text.size() > budget_.limits().output) {
    return Error{"the result is longer than " + std::to_string(budget_.limits().output) + " bytes"};
  }
  out_->append(text);
  return Ok();
}

// A chain of elif is one level deep, however long.
Result<Interpreter::Flow> Interpreter::run_if(const Node& node) {
  const Node* branch = &node;
  for (;;) {
    S3D_ASSIGN(const Value condition, eval(*branch->expr));
    if (condition.truthy()) return run_body(branch->body);
    const bool elif = branch->otherwise.size() == 1 && branch->otherwise[0]->kind == NodeKind::kIf;
    if (!elif) return run_body(branch->otherwise);
    branch = branch->otherwise[0].get();
  }
}

Result<Interpreter::Flow> Interpreter::run_for(const Node& node) {
  S3D_ASSIGN(const Value items, eval(*node.expr));
  return run_loop(node, items, 0, scope_);
}

// The items for which the loop's condition holds. It sees the loop's target, but not `loop`.
Result<std::vector<Value>> Interpreter::selected(const Node& node, std::vector<Value> items) {
  if (node.test == nullptr) return items;
  std::vector<Value> out;
  for (Value& item : items) {
    const ScopeGuard scope(*this, scope_);
    S3D_TRY(assign(node.target, item));
    S3D_ASSIGN(const Value keep, eval(*node.test));
    if (keep.truthy()) out.push_back(std::move(item));
  }
  return out;
}

Result<Interpreter::Flow> Interpreter::run_loop(const Node& node, const Value& items, int depth0, Scope* scope) {
  Scope* const outside = std::exchange(scope_, scope);
  const Restore<Scope*> restore(scope_, outside);
  const auto state = std::make_shared<LoopState>();
  S3D_ASSIGN(std::vector<Value> all, items_of(items, budget_));
  S3D_ASSIGN(state->items, selected(node, std::move(all)));
  state->depth0 = depth0;
  if (node.recursive) {
    state->node = &node;
    state->scope = scope_;
    keep_scopes();
  }
  const ScopeGuard body(*this, scope_);
  bool completed =
      false;  // a round that ran to its end: for Jinja2, one that was left by break or continue did not happen
  for (state->index = 0; state->index < state->items.size(); ++state->index) {
    if (!budget_.take_steps(1)) break;
    scope_->variables.clear();
    scope_->set("loop", Value::of(state));
    S3D_TRY(assign(node.target, state->items[state->index]));
    S3D_ASSIGN(const Flow flow, run_body(node.body));
    if (flow == Flow::kBreak) break;
    completed = completed || flow == Flow::kOn;
  }
  if (completed) return Flow::kOn;
  scope_->variables.clear();
  return run_body(node.otherwise);
}

Result<Interpreter::Flow> Interpreter::run_set(const Node& node) {
  S3D_ASSIGN(const Value value, eval(*node.expr));
  S3D_TRY(assign(node.target, value));
  return Flow::kOn;
}

// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}
Result<Interpreter::Flow> Interpreter::run_captured(const Node& node) {
  MarkedText text;
  {
    const Restore<MarkedText*> restore(out_, std::exchange(out_, &text));
    const ScopeGuard scope(*this, scope_);
    S3D_ASSIGN(const Flow flow, run_body(node.body));
    if (flow != Flow::kOn) return flow;
  }
  Value value = Value::text(std::move(text));
  if (node.expr != nullptr) {
    captured_ = value;
    S3D_ASSIGN(value, eval(*node.expr));
  }
  if (node.kind == NodeKind::kFilterBlock) {
    S3D_TRY(print(value));
  } else {
    S3D_TRY(assign(node.target, value));
  }
  return Flow::kOn;
}

// The values see what lies outside, not one another.
Result<Interpreter::Flow> Interpreter::run_with(const Node& node) {
  std::vector<Value> values;
  for (const auto& [target, expr] : node.assignments) {
    S3D_ASSIGN(Value value, eval(*expr));
    values.push_back(std::move(value));
  }
  const ScopeGuard scope(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) S3D_TRY(assign(node.assignments[i].first, values[i]));
  return run_body(node.body);
}

Result<Interpreter::Flow> Interpreter::run_call_block(const Node& node) {
  caller_ = macro_value(node);
  S3D_ASSIGN(const Value value, eval(*node.expr));
  S3D_TRY(print(value));
  return Flow::kOn;
}

Status Interpreter::assign(const Target& target, const Value& value) {
  if (target.name.empty()) return unpack(target, value);
  if (target.attribute.empty()) {
    scope_->set(target.name, value);
    return Ok();
  }
  Value object;
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    if (const Value* found = scope->find(target.name)) {
      object = *found;
      break;
    }
  }
  if (!object.is(Value::Kind::kNamespace)) {
    return Error{"cannot set " + target.name + "." + target.attribute + ": only attributes of a namespace can be set"};
  }
  object.as_namespace().attributes.set(Value::trusted(target.attribute), value);
  return Ok();
}

Status Interpreter::unpack(const Target& target, const Value& value) {
  S3D_ASSIGN(const std::vector<Value> items, items_of(value, budget_));
  if (items.size() != target.parts.size()) {
    return Error{"expected " + std::to_string(target.parts.size()) + " values to unpack, found " +
                 std::to_string(items.size())};
  }
  for (size_t i = 0; i < items.size(); ++i) S3D_TRY(assign(target.parts[i], items[i]));
  return Ok();
}

// Something that may be called later sees the variables of here.
void Interpreter::keep_scopes() {
  for (Scope* scope = scope_; scope != nullptr && !scope->kept; scope = scope->parent) scope->kept = true;
}

Value Interpreter::macro_value(const Node& node) {
  keep_scopes();
  return Value::of(
      std::make_shared<const Callable>(Callable{Callable::Form::kMacro, node.name, Value(), &node, scope_}));
}

void Interpreter::define_macro(const Node& node) {
  scope_->set(node.name, macro_value(node));
}

Error Interpreter::located(Error error, int line, const std::string& construct) {
  if (std::exchange(located_, true)) return error;
  const std::string where = "line " + std::to_string(line) + ": ";
  return Error{where + (construct.empty() ? "" : construct + ": ") + error.message};
}

}  // namespace s3d::jinja
