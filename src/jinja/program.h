// A parsed and checked template.
#pragma once

#include "base/result.h"
#include "jinja/ast.h"

namespace s3d::jinja {

struct Program {
  Body body;
};

// Finds what Jinja2 refuses when it compiles: filters and tests that do not exist, unless they stand in a branch that
// may never be taken (Jinja2 then complains when it is). Error: with line and name.
Status check_names(const Body& body);

}  // namespace s3d::jinja
