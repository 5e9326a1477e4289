// What is known of a template before it runs.
#include <string>

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
    if (node.expr != nullptr) S3D_TRY(expression(*node.expr, soft || branch));
    if (node.test != nullptr) S3D_TRY(expression(*node.test, false));
    for (const Parameter& parameter : node.parameters) {
      if (parameter.value != nullptr) S3D_TRY(expression(*parameter.value, false));
    }
    S3D_TRY(body(node.body, branch));
    return body(node.otherwise, branch);
  }

  Status expression(const Expr& expr, bool soft) {
    const bool inner = soft || expr.kind == Expr::Kind::kCondition;
    for (const ExprPtr& kid : expr.kids) {
      if (kid != nullptr) S3D_TRY(expression(*kid, inner));
    }
    for (const Argument& argument : expr.arguments) S3D_TRY(expression(*argument.value, inner));
    const std::string line = "line " + std::to_string(expr.line) + ": ";
    if (expr.kind == Expr::Kind::kFilter && !soft && !is_filter(expr.name)) {
      return Error{line + "there is no filter '" + expr.name + "'"};
    }
    if (expr.kind == Expr::Kind::kTest && !soft && find_row(tests(), expr.name) == nullptr) {
      return Error{line + "there is no test '" + expr.name + "'"};
    }
    return Ok();
  }
};

}  // namespace

Status check_names(const Body& body) {
  return NameCheck().body(body, false);
}

}  // namespace s3d::jinja
