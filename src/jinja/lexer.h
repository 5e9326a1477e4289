// A template's text -> tokens, as Jinja2 cuts it with trim_blocks and lstrip_blocks on (which transformers sets).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace s3d::jinja {

struct Token {
  enum class Kind : uint8_t {
    kData,        // text between the tags
    kPrintBegin,  // {{
    kPrintEnd,    // }}
    kBlockBegin,  // {%
    kBlockEnd,    // %}
    kName,
    kText,  // a string literal, escapes resolved
    kInt,
    kFloat,
    kOperator,
    kEnd,
  };
  Kind kind;
  int line;          // from 1
  std::string text;  // data, name, literal, digits or operator

  bool is(Kind k, std::string_view t) const { return kind == k && text == t; }
  bool is_operator(std::string_view t) const { return is(Kind::kOperator, t); }
  bool is_name(std::string_view t) const { return is(Kind::kName, t); }
};

// The tokens, with kEnd at the end; comments and white space inside tags are left out. Error: something that Jinja2
// refuses too (an unclosed comment, an unexpected character, an unbalanced bracket), with its line.
Result<std::vector<Token>> lex(std::string_view source);

}  // namespace s3d::jinja
