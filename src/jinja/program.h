// A parsed and checked template.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "jinja/ast.h"

namespace s3d::jinja {

struct Program {
  Body body;
  std::vector<std::string> hidden;  // see hidden_names()
};

// Finds what Jinja2 refuses when it compiles: filters and tests that do not exist, unless they stand in a branch that
// may never be taken (Jinja2 then complains when it is). Error: with line and name.
Status check_names(const Body& body);

// The names that the template assigns, outside of all blocks, before it reads them there. Jinja2 takes them for
// variables of the template from its first line on: a variable of the same name that the caller gives is never seen.
std::vector<std::string> hidden_names(const Body& body);

}  // namespace s3d::jinja
