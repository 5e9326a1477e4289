// What one rendering may use. A template is a program from outside: it must not hang, fill memory or overflow the
// stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace s3d::jinja {

struct Limits {
  uint64_t steps = 20'000'000;    // parts of the template executed, and items that loops inside functions look at
  uint64_t bytes = 512ULL << 20;  // bytes of all texts and lists that are made, output included, added up
  int depth = 500;                // expressions, statements and macros that are being executed at once
  int nesting = 200;              // lists in lists
  uint64_t output = 64ULL << 20;  // bytes of the result
};

// Counts down. Once something is spent, every further take fails, and the interpreter stops at the next expression; so
// code that works on values need only stop early and may return whatever it has.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits), steps_(limits.steps), bytes_(limits.bytes) {}

  bool take_steps(uint64_t count) { return take(steps_, count, "steps", limits_.steps); }
  bool take_bytes(uint64_t count) { return take(bytes_, count, "bytes of texts and lists", limits_.bytes); }
  bool spent() const { return !what_.empty(); }
  const Limits& limits() const { return limits_; }

  // What is spent, for a message: "more than 1000 steps".
  const std::string& what() const { return what_; }

 private:
  bool take(uint64_t& left, uint64_t count, const char* name, uint64_t all) {
    if (count > left && what_.empty()) what_ = "it needs more than " + std::to_string(all) + " " + name;
    if (!what_.empty()) return false;
    left -= count;
    return true;
  }

  Limits limits_;
  uint64_t steps_;
  uint64_t bytes_;
  std::string what_;
};

}  // namespace s3d::jinja
