// What is known of a template before it runs.
#include <string>
#include <unordered_set>

#include "jinja/functions.h"
#include "jinja/program.h"

namespace s3d::jinja {
namespace {

// Walks through the tree. `soft`: directly inside a branch, where an unknown name is complained about only when it is
// used.
class NameCheck {
 public:
  Status body(const Body& nodes, bool soft) {
    for (const auto& node : nodes) S3D_TRY(statement(*node, soft));
    return Ok();
  }

 private:
  Status statement(const Node& node, bool soft) {
    const bool branch = node.kind == Node::Kind::kIf;
    const bool own_frame = !branch;
    if (node.expr != nullptr) S3D_TRY(expression(*node.expr, soft || branch));
    if (node.test != nullptr) S3D_TRY(expression(*node.test, false));
    for (const Parameter& parameter : node.parameters) {
      if (parameter.value != nullptr) S3D_TRY(expression(*parameter.value, false));
    }
    for (const auto& [target, value] : node.assignments) S3D_TRY(expression(*value, soft));
    S3D_TRY(body(node.body, own_frame ? false : true));
    return body(node.otherwise, own_frame ? false : true);
  }

  Status expression(const Expr& expr, bool soft) {
    const bool inner = soft || expr.kind == Expr::Kind::kCondition;
    for (const ExprPtr& kid : expr.kids) {
      if (kid != nullptr) S3D_TRY(expression(*kid, inner));
    }
    for (const Argument& argument : expr.arguments) S3D_TRY(expression(*argument.value, inner));
    const std::string line = "line " + std::to_string(expr.line) + ": ";
    if (expr.kind == Expr::Kind::kFilter && !is_filter(expr.name)) {
      if (is_unsupported_filter(expr.name)) return Error{line + "the filter '" + expr.name + "' is not supported"};
      if (!soft) return Error{line + "there is no filter '" + expr.name + "'"};
    }
    if (expr.kind == Expr::Kind::kTest && !soft && find_row(tests(), expr.name) == nullptr) {
      return Error{line + "there is no test '" + expr.name + "'"};
    }
    return Ok();
  }
};

// Notes for each name at the top level whether it is read or assigned first.
class FirstUse {
 public:
  void body(const Body& nodes, bool branch) {
    for (const auto& node : nodes) statement(*node, branch);
  }
  std::vector<std::string> take() { return std::move(hidden_); }

 private:
  void statement(const Node& node, bool branch) {
    if (node.expr != nullptr) expression(*node.expr);
    for (const auto& [target, value] : node.assignments) expression(*value);
    switch (node.kind) {
      case Node::Kind::kIf:
        body(node.body, true);
        body(node.otherwise, true);
        break;
      case Node::Kind::kSet:
      case Node::Kind::kSetBlock:
        target(node.target, branch);
        break;
      case Node::Kind::kMacro:
        assigned(node.name, branch);
        break;
      default:
        break;  // what lies inside has variables of its own
    }
  }

  void target(const Target& to, bool branch) {
    for (const Target& part : to.parts) target(part, branch);
    if (to.name.empty()) return;
    to.attribute.empty() ? assigned(to.name, branch) : read(to.name);
  }

  void expression(const Expr& expr) {
    if (expr.kind == Expr::Kind::kName) read(expr.name);
    for (const ExprPtr& kid : expr.kids) {
      if (kid != nullptr) expression(*kid);
    }
    for (const Argument& argument : expr.arguments) expression(*argument.value);
  }

  bool is_new(const std::string& name) { return seen_.insert(name).second; }
  void read(const std::string& name) { is_new(name); }
  // In a branch that may not be taken, the caller's variable is still to be seen.
  void assigned(const std::string& name, bool branch) {
    if (is_new(name) && !branch) hidden_.push_back(name);
  }

  std::unordered_set<std::string> seen_;
  std::vector<std::string> hidden_;
};

}  // namespace

Status check_names(const Body& body) {
  return NameCheck().body(body, false);
}

std::vector<std::string> hidden_names(const Body& body) {
  FirstUse use;
  use.body(body, false);
  return use.take();
}

}  // namespace s3d::jinja
