// Result<T>: a value or an Error, for everything that can fail because of the outside world.
//
// Three kinds of failure, never mixed:
//   * input from outside (files, prompts, options, requests) -> Result<T>, returned, must be used;
//   * a bug in the calling program (value() of an error)      -> the program stops, with a message on stderr;
//   * a bug in this library                                   -> likewise.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace s3d {

// What went wrong, for a person: names the thing, what was expected, what was found, what to try.
struct Error {
  std::string message;

  // The same error with "context: " put before it. Used on the way up, where more is known.
  [[nodiscard]] Error within(const std::string& context) const { return Error{context + ": " + message}; }
};

// Prints "file:line: check failed: condition: message" to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

// Holds either a T or an Error. T may be move-only. Thread rule: as std::variant.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // The value; calling it on an error is a bug.
  T& value() & {
    require_value();
    return std::get<0>(state_);
  }
  const T& value() const& {
    require_value();
    return std::get<0>(state_);
  }
  T&& value() && {
    require_value();
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // The error; calling it on a value is a bug.
  const Error& error() const {
    if (ok()) [[unlikely]]
      check_failed(__FILE__, __LINE__, "!ok()", "error() of a value");
    return std::get<1>(state_);
  }

 private:
  void require_value() const {
    if (!ok()) [[unlikely]] {
      check_failed(__FILE__, __LINE__, "ok()", "value() of an error: " + std::get<1>(state_).message);
    }
  }

  std::variant<T, Error> state_;
};

// Result of an operation that yields nothing: `return Ok();` or `return Error{...};`.
struct Nothing {};
using Status = Result<Nothing>;
inline Status Ok() {
  return Nothing{};
}

}  // namespace s3d

#define S3D_CONCAT_INNER(a, b) a##b
#define S3D_CONCAT(a, b) S3D_CONCAT_INNER(a, b)

// `S3D_TRY(expr);` returns the error of a Status or Result from the current function.
#define S3D_TRY(expr)                                         \
  do {                                                        \
    if (auto s3d_try_result = (expr); !s3d_try_result.ok()) { \
      return s3d_try_result.error();                          \
    }                                                         \
  } while (false)

// `S3D_ASSIGN(auto x, expr);` binds the value of a Result or returns its error.
#define S3D_ASSIGN(lhs, expr) S3D_ASSIGN_IMPL(S3D_CONCAT(s3d_result_, __LINE__), lhs, expr)
#define S3D_ASSIGN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                    \
  if (!tmp.ok()) return tmp.error();    \
  lhs = std::move(tmp).value()
