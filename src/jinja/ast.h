// What a template's text is parsed into. Const after parsing; owned by Template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace s3d::jinja {

struct Expr;
struct Node;
using ExprPtr = std::unique_ptr<Expr>;
using Body = std::vector<std::unique_ptr<Node>>;

struct Argument {
  enum class Form : uint8_t { kPlain, kNamed, kSpreadList, kSpreadDict };
  Form form = Form::kPlain;
  std::string name;  // of kNamed
  ExprPtr value;
};

struct Expr {
  enum class Kind : uint8_t {
    kConst,      // constant
    kName,       // name
    kList,       // kids
    kTuple,      // kids
    kDict,       // kids: key, value, key, value, ...
    kAttribute,  // kids[0].name
    kItem,       // kids[0][kids[1]]
    kSlice,      // inside kItem: kids[0]:kids[1]:kids[2], each may be null
    kCall,       // kids[0](arguments)
    kFilter,     // kids[0] | name(arguments)
    kTest,       // kids[0] is name(arguments)
    kNot,
    kNegative,
    kPositive,
    kAnd,
    kOr,
    kCondition,  // kids[0] if kids[1] else kids[2]; kids[2] may be null
    kBinary,     // kids[0] name kids[1], an arithmetic operator
    kConcat,     // kids joined by ~
    kCompare,    // kids[0] operators[0] kids[1] operators[1] kids[2] ...
    kCaptured,   // the text of the block that a filter is put on
  };
  Kind kind;
  int line;
  int depth = 1;  // of expressions in one another
  std::string name;
  Value constant;
  std::vector<ExprPtr> kids;
  std::vector<std::string> operators;
  std::vector<Argument> arguments;
};

// What is assigned to: a name, an attribute of a namespace, or several targets.
struct Target {
  std::string name;       // empty: several
  std::string attribute;  // empty: the name itself
  std::vector<Target> parts;
};

struct Parameter {
  std::string name;
  ExprPtr value;  // the default; null: none
};

struct Node {
  enum class Kind : uint8_t {
    kText,         // text
    kPrint,        // expr
    kIf,           // expr, body, otherwise
    kFor,          // target in expr, if test; body, otherwise
    kSet,          // target = expr
    kSetBlock,     // target = body, through the filters of expr
    kMacro,        // name(parameters) body
    kCallBlock,    // expr is called; body is its caller(parameters)
    kFilterBlock,  // body, through the filters of expr
    kWith,         // assignments, body
    kScope,        // body with variables of its own
    kBreak,
    kContinue,
  };
  Kind kind;
  int line;
  Value text;
  ExprPtr expr;
  ExprPtr test;
  Target target;
  std::string name;
  std::vector<Parameter> parameters;
  std::vector<std::pair<Target, ExprPtr>> assignments;
  Body body;
  Body otherwise;
  bool recursive = false;    // kFor
  bool uses_caller = false;  // kMacro, kCallBlock: the body names `caller`, `varargs`, `kwargs`
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

}  // namespace s3d::jinja
