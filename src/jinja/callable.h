// What a template can call, and the state of its loops and variables while it runs.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jinja/ast.h"
#include "jinja/value.h"

namespace s3d::jinja {

// The variables of one block. Owned by the interpreter; a scope that a macro was defined in lives until the end of the
// rendering, others until their block ends.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string, Value>> variables;
  bool kept = false;  // a macro refers to it

  // In this scope only; null: not there.
  Value* find(const std::string& name) {
    for (auto& [own, value] : variables) {
      if (own == name) return &value;
    }
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    if (Value* own = find(name)) {
      *own = std::move(value);
    } else {
      variables.emplace_back(name, std::move(value));
    }
  }
};

// A running {% for %}: the variable `loop`.
struct LoopState {
  std::vector<Value> items;
  size_t index = 0;
  int depth0 = 0;              // recursive calls around
  const Node* node = nullptr;  // of a recursive loop, whose body loop(...) runs again
  Scope* scope = nullptr;      // what lies around that body
};

struct Callable {
  enum class Form : uint8_t { kMacro, kMethod, kFunction };
  Form form;
  std::string name;
  Value self;                   // of a method
  const Node* macro = nullptr;  // of a macro or a call block
  Scope* scope = nullptr;       // where it was defined
};

struct CallArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

}  // namespace s3d::jinja
