// Tokens -> the tree of a template.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jinja/ast.h"
#include "jinja/deeper.h"
#include "jinja/lexer.h"

namespace s3d::jinja {

// Error: what Jinja2 refuses when it parses, named with its line; nesting beyond what the stack can hold; and tags for
// which there is no use in a chat template (include, extends, block, import, autoescape).
Result<Body> parse(std::string_view source);

// Parses by recursive descent; each function reads what its name says and leaves the next token as current.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Result<Body> all();

 private:
  static constexpr int kDepth = 150;      // parentheses, blocks and the like in one another
  static constexpr int kExprDepth = 400;  // operators in one another; a + b + c + d has three

  // parser.cc: statements
  Result<Body> body_until(const std::vector<std::string_view>& ends);
  Result<std::unique_ptr<Node>> statement();
  Result<std::unique_ptr<Node>> other_statement(const Token& tag);
  Result<std::unique_ptr<Node>> if_statement();
  Result<std::unique_ptr<Node>> for_statement();
  Result<std::unique_ptr<Node>> set_statement();
  Result<std::unique_ptr<Node>> macro_statement();
  Result<std::unique_ptr<Node>> call_statement();
  Result<std::unique_ptr<Node>> filter_statement();
  Result<std::unique_ptr<Node>> with_statement();
  Result<std::unique_ptr<Node>> jump_statement();
  Status block_of(Node& node, std::string_view end);  // its body, and the tag that ends it
  Status function_body(Node& node, std::string_view end);
  Status parameters(Node& node);
  Result<Target> target(bool with_attribute);
  Result<Target> target_item(bool with_attribute);
  std::unique_ptr<Node> node(Node::Kind kind) const;

  // parser_expressions.cc and parser_calls.cc
  Result<ExprPtr> tuple(bool with_condition, bool parenthesized = false);
  Result<ExprPtr> expression(bool with_condition = true);
  Result<ExprPtr> logic(bool is_or);
  Result<ExprPtr> negation();
  Result<ExprPtr> comparison();
  Result<ExprPtr> arithmetic(size_t level);
  Result<ExprPtr> concatenation();
  Result<ExprPtr> unary(bool with_filter = true);
  Result<ExprPtr> primary();
  Result<ExprPtr> name_or_constant();
  Result<ExprPtr> list_display();
  Result<ExprPtr> dict_display();
  Result<ExprPtr> postfix(ExprPtr expr);
  Result<ExprPtr> subscript(ExprPtr expr);
  Result<ExprPtr> subscript_index();
  Result<ExprPtr> slice_bound();
  Result<ExprPtr> call(ExprPtr expr);
  Result<ExprPtr> filters_and_tests(ExprPtr expr);
  Result<ExprPtr> filter(ExprPtr expr);
  Result<ExprPtr> filter_chain();
  Result<ExprPtr> test(ExprPtr expr);
  Result<std::string> dotted_name();
  Status arguments(std::vector<Argument>& out);
  Result<ExprPtr> make(Expr::Kind kind, int line, std::vector<ExprPtr> kids, std::string name = "");
  Result<ExprPtr> made(ExprPtr expr) const;  // checked for depth
  bool at_tuple_end() const;

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  Status expect_operator(std::string_view text);
  Status expect(Token::Kind kind, std::string_view shown);
  Result<std::string> expect_name();
  Error fail(const std::string& what, int line = 0) const;  // line 0: of the current token
  Error unexpected(const std::string& expected) const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;                 // for blocks around, in the same macro
  int all_loops_ = 0;             // for blocks around
  std::vector<Node*> functions_;  // macros and call blocks around
};

}  // namespace s3d::jinja
