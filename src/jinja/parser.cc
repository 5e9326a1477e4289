// The statements of a template, and what both halves of the parser use.
#include "jinja/parser.h"

#include "jinja/among.h"

namespace s3d::jinja {
namespace {

using NodeKind = Node::Kind;
using NodePtr = std::unique_ptr<Node>;

std::string shown(const Token& token) {
  switch (token.kind) {
    case Token::Kind::kEnd:
      return "the end of the template";
    case Token::Kind::kBlockEnd:
      return "%}";
    case Token::Kind::kPrintEnd:
      return "}}";
    case Token::Kind::kText:
      return "a string";
    default:
      return "'" + token.text + "'";
  }
}

constexpr std::string_view kRefused[] = {"include", "extends", "block", "import", "from", "autoescape", "print"};

}  // namespace

Result<Body> parse(std::string_view source) {
  S3D_ASSIGN(std::vector<Token> tokens, lex(source));
  return Parser(std::move(tokens)).all();
}

Token Parser::take() {
  Token token = current();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool Parser::skip_operator(std::string_view text) {
  if (!current().is_operator(text)) return false;
  take();
  return true;
}

bool Parser::skip_name(std::string_view text) {
  if (!current().is_name(text)) return false;
  take();
  return true;
}

Error Parser::fail(const std::string& what, int line) const {
  return Error{"line " + std::to_string(line == 0 ? current().line : line) + ": " + what};
}

Error Parser::unexpected(const std::string& expected) const {
  return fail("expected " + expected + ", found " + shown(current()));
}

Status Parser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) return unexpected("'" + std::string(text) + "'");
  return Ok();
}

Status Parser::expect(Token::Kind kind, std::string_view shown) {
  if (current().kind != kind) return unexpected(std::string(shown));
  take();
  return Ok();
}

Result<std::string> Parser::expect_name() {
  if (current().kind != Token::Kind::kName) return unexpected("a name");
  return take().text;
}

NodePtr Parser::node(NodeKind kind) const {
  return std::make_unique<Node>(Node{kind, current().line});
}

Result<Body> Parser::all() {
  S3D_ASSIGN(Body body, body_until({}));
  return body;
}

// Up to a tag named in `ends`, whose name is then current; `ends` empty: up to the end of the template.
Result<Body> Parser::body_until(const std::vector<std::string_view>& ends) {
  const Deeper deeper(depth_);
  if (depth_ > kDepth) return fail("blocks are nested more than " + std::to_string(kDepth) + " deep");
  Body body;
  while (current().kind != Token::Kind::kEnd) {
    if (current().kind == Token::Kind::kData) {
      body.push_back(node(NodeKind::kText));
      body.back()->text = Value::trusted(take().text);
    } else if (current().kind == Token::Kind::kPrintBegin) {
      take();
      body.push_back(node(NodeKind::kPrint));
      S3D_ASSIGN(body.back()->expr, tuple(true));
      S3D_TRY(expect(Token::Kind::kPrintEnd, "}}"));
    } else {
      S3D_TRY(expect(Token::Kind::kBlockBegin, "{%"));
      const Token& tag = current();
      const bool ends_here = tag.kind == Token::Kind::kName && among(ends, tag.text);
      if (ends_here) return body;
      S3D_ASSIGN(NodePtr next, statement());
      body.push_back(std::move(next));
      S3D_TRY(expect(Token::Kind::kBlockEnd, "%}"));
    }
  }
  if (ends.empty()) return body;
  return fail("the template ends where {% " + std::string(ends.back()) + " %} is expected");
}

Result<NodePtr> Parser::statement() {
  const Token tag = current();
  if (tag.kind != Token::Kind::kName) return unexpected("the name of a tag");
  if (tag.text == "if") return if_statement();
  if (tag.text == "for") return for_statement();
  if (tag.text == "set") return set_statement();
  if (tag.text == "macro") return macro_statement();
  if (tag.text == "call") return call_statement();
  if (tag.text == "filter") return filter_statement();
  if (tag.text == "with") return with_statement();
  if (tag.text == "break" || tag.text == "continue") return jump_statement();
  return other_statement(tag);
}

Result<NodePtr> Parser::other_statement(const Token& tag) {
  if (tag.text == "generation") {  // transformers marks the assistant's words by it, for training
    NodePtr out = node(NodeKind::kScope);
    take();
    S3D_TRY(function_body(*out, "endgeneration"));
    return out;
  }
  if (among(kRefused, tag.text)) {
    return fail("the tag {% " + tag.text + " %} is not supported in chat templates");
  }
  return fail("unknown tag {% " + tag.text + " %}");
}

Status Parser::block_of(Node& node, std::string_view end) {
  skip_operator(":");
  S3D_TRY(expect(Token::Kind::kBlockEnd, "%}"));
  S3D_ASSIGN(node.body, body_until({end}));
  take();
  return Ok();
}

// A body that becomes a function of its own: a loop around it cannot be left from inside.
Status Parser::function_body(Node& node, std::string_view end) {
  const int loops = std::exchange(loops_, 0);
  functions_.push_back(&node);
  S3D_TRY(block_of(node, end));
  functions_.pop_back();
  loops_ = loops;
  return Ok();
}

Result<NodePtr> Parser::if_statement() {
  NodePtr out = node(NodeKind::kIf);
  Node* branch = out.get();
  take();
  for (int branches = 0; branches < kExprDepth; ++branches) {
    S3D_ASSIGN(branch->expr, tuple(false));
    skip_operator(":");
    S3D_TRY(expect(Token::Kind::kBlockEnd, "%}"));
    S3D_ASSIGN(branch->body, body_until({"elif", "else", "endif"}));
    const Token end = take();
    if (end.text == "endif") return out;
    if (end.text == "else") {
      skip_operator(":");
      S3D_TRY(expect(Token::Kind::kBlockEnd, "%}"));
      S3D_ASSIGN(branch->otherwise, body_until({"endif"}));
      take();
      return out;
    }
    branch->otherwise.push_back(node(NodeKind::kIf));
    branch = branch->otherwise.back().get();
  }
  return fail("{% if %} has more than " + std::to_string(kExprDepth) + " branches", out->line);
}

Result<NodePtr> Parser::for_statement() {
  NodePtr out = node(NodeKind::kFor);
  take();
  ++all_loops_;
  S3D_ASSIGN(out->target, target(false));
  if (!skip_name("in")) return unexpected("'in'");
  S3D_ASSIGN(out->expr, tuple(false));
  if (skip_name("if")) {
    S3D_ASSIGN(out->test, expression());
  }
  out->recursive = skip_name("recursive");
  skip_operator(":");
  S3D_TRY(expect(Token::Kind::kBlockEnd, "%}"));
  ++loops_;
  S3D_ASSIGN(out->body, body_until({"else", "endfor"}));
  --loops_;
  if (take().text == "else") {
    skip_operator(":");
    S3D_TRY(expect(Token::Kind::kBlockEnd, "%}"));
    S3D_ASSIGN(out->otherwise, body_until({"endfor"}));
    take();
  }
  --all_loops_;
  return out;
}

Result<NodePtr> Parser::set_statement() {
  NodePtr out = node(NodeKind::kSet);
  take();
  S3D_ASSIGN(out->target, target(true));
  if (skip_operator("=")) {
    S3D_ASSIGN(out->expr, tuple(true));
    return out;
  }
  out->kind = NodeKind::kSetBlock;
  if (skip_operator("|")) {
    S3D_ASSIGN(out->expr, filter_chain());
  }
  S3D_TRY(block_of(*out, "endset"));
  return out;
}

Status Parser::parameters(Node& node) {
  S3D_TRY(expect_operator("("));
  while (!current().is_operator(")")) {
    Parameter parameter;
    S3D_ASSIGN(parameter.name, expect_name());
    if (skip_operator("=")) {
      S3D_ASSIGN(parameter.value, expression());
    } else if (!node.parameters.empty() && node.parameters.back().value != nullptr) {
      return fail("a parameter without a default follows one with a default");
    }
    node.parameters.push_back(std::move(parameter));
    if (!skip_operator(",")) break;
  }
  return expect_operator(")");
}

Result<NodePtr> Parser::macro_statement() {
  NodePtr out = node(NodeKind::kMacro);
  take();
  S3D_ASSIGN(out->name, expect_name());
  S3D_TRY(parameters(*out));
  S3D_TRY(function_body(*out, "endmacro"));
  return out;
}

Result<NodePtr> Parser::call_statement() {
  NodePtr out = node(NodeKind::kCallBlock);
  take();
  out->name = "caller";
  if (current().is_operator("(")) S3D_TRY(parameters(*out));
  S3D_ASSIGN(out->expr, expression());
  if (out->expr->kind != Expr::Kind::kCall) return fail("{% call %} needs a call of a macro", out->line);
  S3D_TRY(function_body(*out, "endcall"));
  return out;
}

Result<NodePtr> Parser::filter_statement() {
  NodePtr out = node(NodeKind::kFilterBlock);
  take();
  S3D_ASSIGN(out->expr, filter_chain());
  S3D_TRY(block_of(*out, "endfilter"));
  return out;
}

Result<NodePtr> Parser::with_statement() {
  NodePtr out = node(NodeKind::kWith);
  take();
  while (current().kind != Token::Kind::kBlockEnd) {
    if (!out->assignments.empty()) S3D_TRY(expect_operator(","));
    S3D_ASSIGN(Target name, target_item(false));
    S3D_TRY(expect_operator("="));
    S3D_ASSIGN(ExprPtr value, expression());
    out->assignments.emplace_back(std::move(name), std::move(value));
  }
  S3D_TRY(block_of(*out, "endwith"));
  return out;
}

Result<NodePtr> Parser::jump_statement() {
  NodePtr out = node(current().text == "break" ? NodeKind::kBreak : NodeKind::kContinue);
  const Token tag = take();
  if (loops_ == 0) return fail("{% " + tag.text + " %} stands outside of a loop", tag.line);
  return out;
}

Result<Target> Parser::target(bool with_attribute) {
  const Deeper deeper(depth_);
  if (depth_ > kDepth) return fail("nested more than " + std::to_string(kDepth) + " deep");
  Target out;
  bool several = false;
  while (!at_tuple_end() && !current().is_name("in")) {
    S3D_ASSIGN(Target item, target_item(with_attribute));
    out.parts.push_back(std::move(item));
    if (!skip_operator(",")) break;
    several = true;
  }
  if (out.parts.empty()) return unexpected("a name to assign to");
  if (several) return out;
  Target single = std::move(out.parts[0]);
  return single;
}

Result<Target> Parser::target_item(bool with_attribute) {
  if (skip_operator("(")) {
    S3D_ASSIGN(Target inner, target(false));
    S3D_TRY(expect_operator(")"));
    return inner;
  }
  static constexpr std::string_view kConstants[] = {"true", "True", "false", "False", "none", "None"};
  Target out;
  const int line = current().line;
  S3D_ASSIGN(out.name, expect_name());
  if (among(kConstants, out.name)) {
    return fail("cannot assign to " + out.name, line);
  }
  if (with_attribute && skip_operator(".")) {
    S3D_ASSIGN(out.attribute, expect_name());
  } else if (out.name == "loop" && all_loops_ > 0) {
    return fail("cannot assign to the variable loop inside of a loop", line);
  }
  return out;
}

}  // namespace s3d::jinja
