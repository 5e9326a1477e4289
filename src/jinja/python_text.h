// How Python prints values: str() and repr().
#pragma once

#include <string>

#include "jinja/budget.h"
#include "jinja/marked_text.h"
#include "jinja/value.h"

namespace s3d::jinja {

// str(value). A text keeps its marks. Numbers, booleans and none count as the template's words: they hold no special
// token by themselves, and templates number their marks (<|image_1|>). Lists and dicts count as data, whatever is in
// them.
MarkedText to_text(const Value& value, Budget& budget);

// repr(value).
std::string repr(const Value& value, Budget& budget);

// repr() of a text: in quotes, with escapes.
std::string quoted(std::string_view text);

// The shortest digits that give the same number again, laid out as Python does: 1.0, 1e-05, 1e+16, inf, nan.
std::string float_text(double value);

// The object as Jinja's messages name it: "dict object", "None".
std::string shown_object(const Value& value);

}  // namespace s3d::jinja
