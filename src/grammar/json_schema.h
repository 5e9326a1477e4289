// JSON Schema as grammars can serve it: read, checked, and brought into a plain form.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace s3d {

// The schema in a form that means the same to every reader: one type to a schema, `additionalProperties` and `items`
// always said, no keyword that only explains. What the form says is never less than what `text` says.
//
// Where JSON Schema leaves room, the narrower reading is taken: an object with `properties` has no others unless
// `additionalProperties` allows them; properties come in the order of the schema; a pattern holds for the whole string.
//
// Errors, each with the keyword and its place (#/properties/name): no JSON; a keyword, a combination of keywords or a
// value that cannot be served; a reference that leads nowhere or in a circle; a schema that is too large.
Result<std::string> plain_json_schema(std::string_view text);

}  // namespace s3d
