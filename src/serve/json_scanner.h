// Where a JSON value ends, told byte by byte.
#pragma once

#include <cstdint>
#include <string>

namespace s3d::serve {

// White space of JSON.
inline bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// Follows one JSON value, which may come in pieces. Only its form is checked, not that strings are UTF-8 nor that
// numbers fit. Thread rule: one call at a time.
class JsonScanner {
 public:
  enum class Step : uint8_t {
    kMore,      // the byte belongs to the value, which goes on
    kDone,      // the byte is the value's last
    kDoneUpTo,  // the value ended before this byte, which is not part of it (numbers have no end of their own)
    kBad,       // the byte cannot stand here
  };
  Step push(char c);

  int depth() const { return static_cast<int>(open_.size()); }  // objects and arrays that are open
  bool in_string() const { return state_ == State::kString || state_ == State::kEscape || state_ == State::kHex; }
  bool after_value() const { return state_ == State::kAfter || state_ == State::kEnd; }  // the last byte ended one

 private:
  enum class State : uint8_t {
    kValue,       // before a value
    kFirstValue,  // before the first value of an array, or its end
    kFirstKey,    // before the first key of an object, or its end
    kKey,         // before a key
    kColon,
    kAfter,  // after a value inside of something
    kString,
    kEscape,
    kHex,
    kLiteral,
    kNumber,
    kEnd,
  };
  Step value(char c);
  Step close(char c);
  Step after_value(Step at_the_end);
  Step string(char c);
  Step number(char c);
  static constexpr int kMaxDepth = 128;

  State state_ = State::kValue;
  std::string open_;            // '{' and '[' that are open
  bool key_ = false;            // the string is a key
  int hex_ = 0;                 // digits of \u that are still to come
  const char* rest_ = nullptr;  // of true, false or null
  std::string number_;          // so far
};

}  // namespace s3d::serve
