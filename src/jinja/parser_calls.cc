// Calls, filters and tests: what has a name and arguments.
#include "jinja/parser.h"

namespace s3d::jinja {

using ExprKind = Expr::Kind;

namespace {

std::vector<ExprPtr> one(ExprPtr expr) {
  std::vector<ExprPtr> out;
  out.push_back(std::move(expr));
  return out;
}

}  // namespace

Result<ExprPtr> Parser::call(ExprPtr expr) {
  auto out = std::make_unique<Expr>(Expr{ExprKind::kCall, current().line});
  out->kids = one(std::move(expr));
  S3D_TRY(arguments(out->arguments));
  return made(std::move(out));
}

Status Parser::arguments(std::vector<Argument>& out) {
  S3D_TRY(expect_operator("("));
  using Form = Argument::Form;
  Form last = Form::kPlain;
  while (!current().is_operator(")")) {
    Argument argument;
    if (skip_operator("*")) {
      argument.form = Form::kSpreadList;
    } else if (skip_operator("**")) {
      argument.form = Form::kSpreadDict;
    } else if (current().kind == Token::Kind::kName && ahead().is_operator("=")) {
      argument.form = Form::kNamed;
      argument.name = take().text;
      take();
    }
    const bool in_order = argument.form == Form::kPlain        ? last == Form::kPlain
                          : argument.form == Form::kSpreadList ? last == Form::kPlain || last == Form::kNamed
                                                               : last != Form::kSpreadDict;
    if (!in_order) return fail("the arguments of a call are out of order");
    last = argument.form == Form::kNamed && last == Form::kSpreadList ? last : argument.form;
    S3D_ASSIGN(argument.value, expression());
    out.push_back(std::move(argument));
    if (!skip_operator(",")) break;
  }
  return expect_operator(")");
}

Result<ExprPtr> Parser::filters_and_tests(ExprPtr expr) {
  for (;;) {
    if (current().is_operator("|")) {
      S3D_ASSIGN(expr, filter(std::move(expr)));
    } else if (current().is_name("is")) {
      S3D_ASSIGN(expr, test(std::move(expr)));
    } else if (current().is_operator("(")) {
      S3D_ASSIGN(expr, call(std::move(expr)));
    } else {
      return expr;
    }
  }
}

Result<std::string> Parser::dotted_name() {
  S3D_ASSIGN(std::string name, expect_name());
  while (skip_operator(".")) {
    S3D_ASSIGN(const std::string part, expect_name());
    name += "." + part;
  }
  return name;
}

// One filter; `|` is current.
Result<ExprPtr> Parser::filter(ExprPtr expr) {
  auto out = std::make_unique<Expr>(Expr{ExprKind::kFilter, take().line});
  out->kids = one(std::move(expr));
  S3D_ASSIGN(out->name, dotted_name());
  if (current().is_operator("(")) S3D_TRY(arguments(out->arguments));
  return made(std::move(out));
}

// The filters of a block, `name | name(...)`, on the block's text.
Result<ExprPtr> Parser::filter_chain() {
  auto first = std::make_unique<Expr>(Expr{ExprKind::kFilter, current().line});
  first->kids = one(std::make_unique<Expr>(Expr{ExprKind::kCaptured, current().line}));
  S3D_ASSIGN(first->name, dotted_name());
  if (current().is_operator("(")) S3D_TRY(arguments(first->arguments));
  S3D_ASSIGN(ExprPtr expr, made(std::move(first)));
  while (current().is_operator("|")) {
    S3D_ASSIGN(expr, filter(std::move(expr)));
  }
  return expr;
}

// `is` is current.
Result<ExprPtr> Parser::test(ExprPtr expr) {
  auto out = std::make_unique<Expr>(Expr{ExprKind::kTest, take().line});
  const int line = out->line;
  const bool negated = skip_name("not");
  out->kids = one(std::move(expr));
  S3D_ASSIGN(out->name, dotted_name());
  const Token& next = current();
  const bool literal = next.kind == Token::Kind::kText || next.kind == Token::Kind::kInt ||
                       next.kind == Token::Kind::kFloat || next.is_operator("[") || next.is_operator("{");
  const bool name = next.kind == Token::Kind::kName && next.text != "else" && next.text != "or" && next.text != "and";
  if (next.is_operator("(")) {
    S3D_TRY(arguments(out->arguments));
  } else if (name && next.text == "is") {
    return fail("tests cannot be chained with `is`");
  } else if (literal || name) {
    S3D_ASSIGN(ExprPtr operand, primary());
    S3D_ASSIGN(operand, postfix(std::move(operand)));
    out->arguments.push_back({Argument::Form::kPlain, "", std::move(operand)});
  }
  S3D_ASSIGN(ExprPtr result, made(std::move(out)));
  if (!negated) return result;
  return make(ExprKind::kNot, line, one(std::move(result)));
}

}  // namespace s3d::jinja
