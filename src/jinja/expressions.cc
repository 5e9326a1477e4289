// What the expressions of a template are worth.
#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/scope_guard.h"

namespace s3d::jinja {
namespace {

using ExprKind = Expr::Kind;

constexpr uint64_t kSmall = 128;  // bytes that even an empty result takes

// How an error names the expression.
std::string shown(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kFilter:
      return "filter '" + expr.name + "'";
    case ExprKind::kTest:
      return "test '" + expr.name + "'";
    case ExprKind::kAttribute:
      return "attribute '" + expr.name + "'";
    case ExprKind::kItem:
      return "subscript [...]";
    case ExprKind::kCall: {
      const Expr& callee = *expr.kids[0];
      const bool named = callee.kind == ExprKind::kName || callee.kind == ExprKind::kAttribute;
      return named ? "call of '" + callee.name + "'" : "call";
    }
    case ExprKind::kBinary:
      return "operator '" + expr.name + "'";
    case ExprKind::kCompare:
      return "comparison '" + expr.operators[0] + "'";
    default:
      return "";
  }
}

}  // namespace

Result<Value> Interpreter::eval(const Expr& expr) {
  const Deeper deeper(depth_);
  if (depth_ > budget_.limits().depth) {
    return located(
        Error{"macros and expressions are nested more than " + std::to_string(budget_.limits().depth) + " deep"},
        expr.line, "");
  }
  budget_.take_steps(1);
  Result<Value> value = budget_.spent() ? Result<Value>(Error{budget_.what()}) : eval_kind(expr);
  if (value.ok() && budget_.spent()) value = Error{budget_.what()};
  if (value.ok() && value->nesting() > budget_.limits().nesting) {
    value = Error{"lists are nested more than " + std::to_string(budget_.limits().nesting) + " deep"};
  }
  if (!value.ok()) return located(value.error(), expr.line, shown(expr));
  return value;
}

Result<Value> Interpreter::eval_kind(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kConst:
      return expr.constant;
    case ExprKind::kName:
      return eval_name(expr);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return eval_list(expr);
    case ExprKind::kDict:
      return eval_dict(expr);
    case ExprKind::kAttribute: {
      S3D_ASSIGN(const Value object, eval(*expr.kids[0]));
      return attribute_of(object, expr.name);
    }
    case ExprKind::kItem:
      return eval_item(expr);
    case ExprKind::kCall:
      return eval_call(expr);
    case ExprKind::kFilter:
      return eval_filter(expr);
    case ExprKind::kTest:
      return eval_test(expr);
    case ExprKind::kCondition:
      return eval_condition(expr);
    case ExprKind::kNot:
    case ExprKind::kAnd:
    case ExprKind::kOr:
      return eval_logic(expr);
    case ExprKind::kNegative:
    case ExprKind::kPositive:
    case ExprKind::kBinary:
      return eval_binary(expr);
    case ExprKind::kConcat:
      return eval_concat(expr);
    case ExprKind::kCompare:
      return eval_compare(expr);
    case ExprKind::kCaptured:
      return captured_;
    default:
      return Error{"a slice stands only in brackets"};
  }
}

Result<Value> Interpreter::eval_name(const Expr& expr) {
  for (Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    budget_.take_steps(scope->variables.size() / 16);
    if (const Value* value = scope->find(expr.name)) return *value;
  }
  if (const Value* value = context_.as_dict().find(expr.name)) return *value;
  if (is_global(expr.name)) {
    return Value::of(std::make_shared<const Callable>(Callable{Callable::Form::kFunction, expr.name}));
  }
  return Value::undefined("'" + expr.name + "' is undefined");
}

Result<Value> Interpreter::eval_list(const Expr& expr) {
  std::vector<Value> items;
  for (const ExprPtr& kid : expr.kids) {
    S3D_ASSIGN(Value item, eval(*kid));
    items.push_back(std::move(item));
  }
  return paid_list(std::move(items), budget_, expr.kind == ExprKind::kTuple ? ListKind::kTuple : ListKind::kList);
}

Result<Value> Interpreter::eval_dict(const Expr& expr) {
  Dict dict;
  for (size_t i = 0; i + 1 < expr.kids.size(); i += 2) {
    S3D_ASSIGN(Value key, eval(*expr.kids[i]));
    S3D_ASSIGN(Value value, eval(*expr.kids[i + 1]));
    if (!hashable(key)) return Error{"a " + std::string(key.type_name()) + " cannot be a key"};
    pay_for_key(dict, key, budget_);
    dict.set(std::move(key), std::move(value));
  }
  budget_.take_bytes(sizeof(Dict) + dict.size() * sizeof(Dict::Entry));
  return Value::dict(std::move(dict));
}

Result<Value> Interpreter::eval_item(const Expr& expr) {
  S3D_ASSIGN(const Value object, eval(*expr.kids[0]));
  const Expr& index = *expr.kids[1];
  if (index.kind != ExprKind::kSlice) {
    S3D_ASSIGN(const Value key, eval(index));
    pay_for(object, budget_);
    if (object.is_dict()) pay_for_key(object.as_dict(), key, budget_);
    return item_of(object, key);
  }
  Value bounds[3] = {Value::none(), Value::none(), Value::none()};
  for (size_t i = 0; i < 3; ++i) {
    if (index.kids[i] == nullptr) continue;
    S3D_ASSIGN(bounds[i], eval(*index.kids[i]));
  }
  return slice_of(object, bounds[0], bounds[1], bounds[2], budget_);
}

Result<CallArguments> Interpreter::eval_arguments(const std::vector<Argument>& arguments) {
  CallArguments out;
  for (const Argument& argument : arguments) {
    S3D_ASSIGN(Value value, eval(*argument.value));
    switch (argument.form) {
      case Argument::Form::kPlain:
        out.positional.push_back(std::move(value));
        break;
      case Argument::Form::kNamed:
        out.named.emplace_back(argument.name, std::move(value));
        break;
      case Argument::Form::kSpreadList: {
        S3D_ASSIGN(const std::vector<Value> items, items_of(value, budget_));
        out.positional.insert(out.positional.end(), items.begin(), items.end());
        break;
      }
      case Argument::Form::kSpreadDict:
        if (!value.is_dict()) return Error{"** needs a dict, found a " + std::string(value.type_name())};
        for (const auto& [key, item] : value.as_dict().entries()) {
          if (!key.is_text()) return Error{"** needs a dict whose keys are texts"};
          out.named.emplace_back(key.as_text().bytes(), item);
        }
    }
  }
  return out;
}

Result<Value> Interpreter::eval_call(const Expr& expr) {
  const Value caller = std::exchange(caller_, Value());
  S3D_ASSIGN(const Value callee, eval(*expr.kids[0]));
  S3D_ASSIGN(CallArguments arguments, eval_arguments(expr.arguments));
  budget_.take_bytes(kSmall);
  for (const Value& argument : arguments.positional) pay_for(argument, budget_);
  if (!caller.is_undefined()) arguments.named.emplace_back("caller", caller);
  return call(callee, std::move(arguments));
}

Result<Value> Interpreter::eval_filter(const Expr& expr) {
  S3D_ASSIGN(const Value value, eval(*expr.kids[0]));
  S3D_ASSIGN(const CallArguments arguments, eval_arguments(expr.arguments));
  return filter(expr.name, value, arguments);
}

Result<Value> Interpreter::eval_test(const Expr& expr) {
  S3D_ASSIGN(const Value value, eval(*expr.kids[0]));
  S3D_ASSIGN(const CallArguments arguments, eval_arguments(expr.arguments));
  S3D_ASSIGN(const bool result, test(expr.name, value, arguments));
  return Value::boolean(result);
}

Result<Value> Interpreter::eval_condition(const Expr& expr) {
  S3D_ASSIGN(const Value condition, eval(*expr.kids[1]));
  if (condition.truthy()) return eval(*expr.kids[0]);
  if (expr.kids[2] != nullptr) return eval(*expr.kids[2]);
  return Value::undefined("the inline if on line " + std::to_string(expr.line) + " was false and has no else");
}

Result<Value> Interpreter::eval_logic(const Expr& expr) {
  S3D_ASSIGN(Value left, eval(*expr.kids[0]));
  if (expr.kind == ExprKind::kNot) return Value::boolean(!left.truthy());
  if (left.truthy() == (expr.kind == ExprKind::kOr)) return left;
  return eval(*expr.kids[1]);
}

Result<Value> Interpreter::eval_binary(const Expr& expr) {
  S3D_ASSIGN(const Value left, eval(*expr.kids[0]));
  if (expr.kind == ExprKind::kNegative) return negative(left);
  if (expr.kind == ExprKind::kPositive) {
    S3D_ASSIGN(const Value negated, negative(left));
    return negative(negated);
  }
  S3D_ASSIGN(const Value right, eval(*expr.kids[1]));
  budget_.take_bytes(kSmall);
  return binary(expr.name, left, right, budget_);
}

Result<Value> Interpreter::eval_concat(const Expr& expr) {
  MarkedText out;
  for (const ExprPtr& kid : expr.kids) {
    S3D_ASSIGN(const Value value, eval(*kid));
    out.append(to_text(value, budget_));
  }
  return Value::text(std::move(out));
}

Result<Value> Interpreter::eval_compare(const Expr& expr) {
  S3D_ASSIGN(Value left, eval(*expr.kids[0]));
  for (size_t i = 0; i < expr.operators.size(); ++i) {
    S3D_ASSIGN(Value right, eval(*expr.kids[i + 1]));
    pay_for(left, budget_);
    if (right.is_dict()) pay_for_key(right.as_dict(), left, budget_);
    S3D_ASSIGN(const bool holds, compare(expr.operators[i], left, right, budget_));
    if (!holds) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Result<Value> Interpreter::filter(const std::string& name, const Value& value, const CallArguments& arguments) {
  budget_.take_bytes(kSmall);
  pay_for(value, budget_);
  if (const Row* row = find_row(text_filters(), name)) return call_row(*this, *row, value, arguments);
  if (const Row* row = find_row(list_filters(), name)) return call_row(*this, *row, value, arguments);
  if (auto result = apply_sequence_filter(*this, name, value, arguments)) return std::move(*result);
  return Error{"there is no filter of this name"};
}

Result<bool> Interpreter::test(const std::string& name, const Value& value, const CallArguments& arguments) {
  pay_for(value, budget_);
  const Row* row = find_row(tests(), name);
  if (row == nullptr) return Error{"there is no test of this name"};
  S3D_ASSIGN(const Value result, call_row(*this, *row, value, arguments));
  return result.truthy();
}

}  // namespace s3d::jinja
