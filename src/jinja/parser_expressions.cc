// The expressions of a template, by precedence from the loosest (a if b else c) to the tightest (names and literals).
#include <array>
#include <charconv>

#include "jinja/literal.h"
#include "jinja/parser.h"

namespace s3d::jinja {

using ExprKind = Expr::Kind;

namespace {

std::vector<ExprPtr> kids(ExprPtr a, ExprPtr b = nullptr, ExprPtr c = nullptr, size_t count = 0) {
  std::vector<ExprPtr> out;
  const size_t n = count != 0 ? count : c != nullptr ? 3 : b != nullptr ? 2 : 1;
  out.push_back(std::move(a));
  if (n > 1) out.push_back(std::move(b));
  if (n > 2) out.push_back(std::move(c));
  return out;
}

// Operators of one level of precedence; they group from the left.
constexpr std::array<std::array<std::string_view, 4>, 3> kLevels = {{{"+", "-"}, {"*", "/", "//", "%"}, {"**"}}};

bool in_level(size_t level, const Token& token) {
  if (token.kind != Token::Kind::kOperator) return false;
  for (const std::string_view op : kLevels[level]) {
    if (!op.empty() && token.text == op) return true;
  }
  return false;
}

}  // namespace

Result<ExprPtr> Parser::make(ExprKind kind, int line, std::vector<ExprPtr> kids, std::string name) {
  auto expr = std::make_unique<Expr>(Expr{kind, line});
  expr->kids = std::move(kids);
  expr->name = std::move(name);
  return made(std::move(expr));
}

Result<ExprPtr> Parser::made(ExprPtr expr) const {
  for (const ExprPtr& kid : expr->kids) {
    if (kid != nullptr) expr->depth = std::max(expr->depth, kid->depth + 1);
  }
  for (const Argument& argument : expr->arguments) expr->depth = std::max(expr->depth, argument.value->depth + 1);
  if (expr->depth > kExprDepth) {
    return fail("the expression is nested more than " + std::to_string(kExprDepth) + " deep", expr->line);
  }
  return expr;
}

bool Parser::at_tuple_end() const {
  const Token& t = current();
  return t.kind == Token::Kind::kPrintEnd || t.kind == Token::Kind::kBlockEnd || t.is_operator(")");
}

Result<ExprPtr> Parser::tuple(bool with_condition, bool parenthesized) {
  const int line = current().line;
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  while (!at_tuple_end()) {
    S3D_ASSIGN(ExprPtr item, expression(with_condition));
    items.push_back(std::move(item));
    if (!skip_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !parenthesized) return unexpected("an expression");
  return make(ExprKind::kTuple, line, std::move(items));
}

Result<ExprPtr> Parser::expression(bool with_condition) {
  const Deeper deeper(depth_);
  if (depth_ > kDepth) return fail("nested more than " + std::to_string(kDepth) + " deep");
  S3D_ASSIGN(ExprPtr expr, logic(true));
  while (with_condition && current().is_name("if")) {
    const int line = take().line;
    S3D_ASSIGN(ExprPtr condition, logic(true));
    ExprPtr otherwise;
    if (skip_name("else")) {
      S3D_ASSIGN(otherwise, expression());
    }
    S3D_ASSIGN(expr,
               make(ExprKind::kCondition, line, kids(std::move(expr), std::move(condition), std::move(otherwise), 3)));
  }
  return expr;
}

Result<ExprPtr> Parser::logic(bool is_or) {
  const auto operand = [&] { return is_or ? logic(false) : negation(); };
  S3D_ASSIGN(ExprPtr left, operand());
  while (current().is_name(is_or ? "or" : "and")) {
    const int line = take().line;
    S3D_ASSIGN(ExprPtr right, operand());
    S3D_ASSIGN(left, make(is_or ? ExprKind::kOr : ExprKind::kAnd, line, kids(std::move(left), std::move(right))));
  }
  return left;
}

Result<ExprPtr> Parser::negation() {
  if (!current().is_name("not")) return comparison();
  const Deeper deeper(depth_);
  if (depth_ > kDepth) return fail("nested more than " + std::to_string(kDepth) + " deep");
  const int line = take().line;
  S3D_ASSIGN(ExprPtr operand, negation());
  return make(ExprKind::kNot, line, kids(std::move(operand)));
}

Result<ExprPtr> Parser::comparison() {
  const int line = current().line;
  S3D_ASSIGN(ExprPtr first, arithmetic(0));
  std::vector<ExprPtr> operands = kids(std::move(first));
  std::vector<std::string> operators;
  for (;;) {
    const Token& t = current();
    const bool symbol = t.is_operator("==") || t.is_operator("!=") || t.is_operator("<") || t.is_operator("<=") ||
                        t.is_operator(">") || t.is_operator(">=");
    const bool not_in = t.is_name("not") && ahead().is_name("in");
    if (!symbol && !not_in && !t.is_name("in")) break;
    operators.push_back(not_in ? "not in" : t.text);
    take();
    if (not_in) take();
    S3D_ASSIGN(ExprPtr next, arithmetic(0));
    operands.push_back(std::move(next));
  }
  if (operators.empty()) return std::move(operands[0]);
  auto expr = std::make_unique<Expr>(Expr{ExprKind::kCompare, line});
  expr->kids = std::move(operands);
  expr->operators = std::move(operators);
  return made(std::move(expr));
}

// Levels of kLevels; ~ lies between + and *.
Result<ExprPtr> Parser::arithmetic(size_t level) {
  const auto operand = [&] { return level == 0 ? concatenation() : level == 1 ? arithmetic(2) : unary(); };
  S3D_ASSIGN(ExprPtr left, operand());
  while (in_level(level, current())) {
    const Token op = take();
    S3D_ASSIGN(ExprPtr right, operand());
    S3D_ASSIGN(left, make(ExprKind::kBinary, op.line, kids(std::move(left), std::move(right)), op.text));
  }
  return left;
}

Result<ExprPtr> Parser::concatenation() {
  const int line = current().line;
  S3D_ASSIGN(ExprPtr first, arithmetic(1));
  if (!current().is_operator("~")) return first;
  std::vector<ExprPtr> operands = kids(std::move(first));
  while (skip_operator("~")) {
    S3D_ASSIGN(ExprPtr next, arithmetic(1));
    operands.push_back(std::move(next));
  }
  return make(ExprKind::kConcat, line, std::move(operands));
}

Result<ExprPtr> Parser::unary(bool with_filter) {
  const Deeper deeper(depth_);
  if (depth_ > kDepth) return fail("nested more than " + std::to_string(kDepth) + " deep");
  ExprPtr expr;
  if (current().is_operator("-") || current().is_operator("+")) {
    const Token op = take();
    S3D_ASSIGN(ExprPtr operand, unary(false));
    S3D_ASSIGN(expr,
               make(op.text == "-" ? ExprKind::kNegative : ExprKind::kPositive, op.line, kids(std::move(operand))));
  } else {
    S3D_ASSIGN(expr, primary());
  }
  S3D_ASSIGN(expr, postfix(std::move(expr)));
  if (!with_filter) return expr;
  return filters_and_tests(std::move(expr));
}

Result<ExprPtr> Parser::primary() {
  const Token token = current();
  auto expr = std::make_unique<Expr>(Expr{ExprKind::kConst, token.line});
  switch (token.kind) {
    case Token::Kind::kName:
      return name_or_constant();
    case Token::Kind::kText: {
      std::string text;
      while (current().kind == Token::Kind::kText) text += take().text;
      expr->constant = Value::trusted(std::move(text));
      return expr;
    }
    case Token::Kind::kInt: {
      auto value = parse_integer(take().text);
      if (!value.ok()) return fail(value.error().message, token.line);
      expr->constant = Value::integer(*value);
      return expr;
    }
    case Token::Kind::kFloat: {
      take();
      double value = 0;
      std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      expr->constant = Value::number(value);
      return expr;
    }
    default:
      break;
  }
  if (token.is_operator("[")) return list_display();
  if (token.is_operator("{")) return dict_display();
  if (!skip_operator("(")) return unexpected("an expression");
  S3D_ASSIGN(expr, tuple(true, true));
  S3D_TRY(expect_operator(")"));
  return expr;
}

Result<ExprPtr> Parser::name_or_constant() {
  const Token token = take();
  auto expr = std::make_unique<Expr>(Expr{ExprKind::kConst, token.line});
  if (token.text == "true" || token.text == "True" || token.text == "false" || token.text == "False") {
    expr->constant = Value::boolean(token.text == "true" || token.text == "True");
  } else if (token.text == "none" || token.text == "None") {
    expr->constant = Value::none();
  } else {
    expr->kind = ExprKind::kName;
    expr->name = token.text;
    for (Node* function : functions_) {
      function->uses_caller |= token.text == "caller";
      function->uses_varargs |= token.text == "varargs";
      function->uses_kwargs |= token.text == "kwargs";
    }
  }
  return expr;
}

Result<ExprPtr> Parser::list_display() {
  const int line = take().line;
  std::vector<ExprPtr> items;
  while (!current().is_operator("]")) {
    S3D_ASSIGN(ExprPtr item, expression());
    items.push_back(std::move(item));
    if (!skip_operator(",")) break;
  }
  S3D_TRY(expect_operator("]"));
  return make(ExprKind::kList, line, std::move(items));
}

Result<ExprPtr> Parser::dict_display() {
  const int line = take().line;
  std::vector<ExprPtr> items;
  while (!current().is_operator("}")) {
    S3D_ASSIGN(ExprPtr key, expression());
    S3D_TRY(expect_operator(":"));
    S3D_ASSIGN(ExprPtr value, expression());
    items.push_back(std::move(key));
    items.push_back(std::move(value));
    if (!skip_operator(",")) break;
  }
  S3D_TRY(expect_operator("}"));
  return make(ExprKind::kDict, line, std::move(items));
}

Result<ExprPtr> Parser::postfix(ExprPtr expr) {
  for (;;) {
    if (current().is_operator(".") || current().is_operator("[")) {
      S3D_ASSIGN(expr, subscript(std::move(expr)));
    } else if (current().is_operator("(")) {
      S3D_ASSIGN(expr, call(std::move(expr)));
    } else {
      return expr;
    }
  }
}

Result<ExprPtr> Parser::subscript(ExprPtr expr) {
  const Token open = take();
  if (open.text == ".") {
    const Token token = take();
    if (token.kind == Token::Kind::kName)
      return make(ExprKind::kAttribute, open.line, kids(std::move(expr)), token.text);
    if (token.kind != Token::Kind::kInt) return fail("expected a name or a number behind the dot", token.line);
    auto index = std::make_unique<Expr>(Expr{ExprKind::kConst, token.line});
    S3D_ASSIGN(const int64_t value, parse_integer(token.text));
    index->constant = Value::integer(value);
    return make(ExprKind::kItem, open.line, kids(std::move(expr), std::move(index)));
  }
  std::vector<ExprPtr> indices;
  while (!current().is_operator("]")) {
    S3D_ASSIGN(ExprPtr index, subscript_index());
    indices.push_back(std::move(index));
    if (!skip_operator(",")) break;
  }
  S3D_TRY(expect_operator("]"));
  if (indices.size() == 1) return make(ExprKind::kItem, open.line, kids(std::move(expr), std::move(indices[0])));
  S3D_ASSIGN(ExprPtr index, make(ExprKind::kTuple, open.line, std::move(indices)));
  return make(ExprKind::kItem, open.line, kids(std::move(expr), std::move(index)));
}

Result<ExprPtr> Parser::slice_bound() {
  if (current().is_operator(":") || current().is_operator("]") || current().is_operator(",")) return ExprPtr();
  return expression();
}

Result<ExprPtr> Parser::subscript_index() {
  const int line = current().line;
  S3D_ASSIGN(ExprPtr begin, slice_bound());
  if (!current().is_operator(":")) {
    if (begin == nullptr) return unexpected("an index");
    return begin;
  }
  take();
  S3D_ASSIGN(ExprPtr end, slice_bound());
  ExprPtr step;
  if (skip_operator(":")) {
    S3D_ASSIGN(step, slice_bound());
  }
  return make(ExprKind::kSlice, line, kids(std::move(begin), std::move(end), std::move(step), 3));
}

}  // namespace s3d::jinja
