// What the interpreter changes for a while and puts back at the end of a block.
#pragma once

#include <memory>
#include <utility>

#include "jinja/deeper.h"
#include "jinja/interpreter.h"

namespace s3d::jinja {

// Puts a variable back to `before`.
template <typename T>
class Restore {
 public:
  Restore(T& variable, T before) : variable_(variable), before_(std::move(before)) {}
  ~Restore() { variable_ = std::move(before_); }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

 private:
  T& variable_;
  T before_;
};

// A new innermost scope inside `parent`.
class Interpreter::ScopeGuard {
 public:
  ScopeGuard(Interpreter& interpreter, Scope* parent)
      : interpreter_(interpreter), before_(interpreter.scope_), scope_(std::make_unique<Scope>()) {
    scope_->parent = parent;
    interpreter_.scope_ = scope_.get();
  }
  ~ScopeGuard() {
    interpreter_.scope_ = before_;
    if (!scope_->kept) return;
    interpreter_.budget_.take_bytes(sizeof(Scope) + scope_->variables.size() * sizeof(scope_->variables[0]));
    interpreter_.kept_.push_back(std::move(scope_));
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  Interpreter& interpreter_;
  Scope* before_;
  std::unique_ptr<Scope> scope_;
};

}  // namespace s3d::jinja
