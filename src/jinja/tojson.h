// The filter tojson, as transformers defines it: Python's json.dumps without escaping for HTML.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "jinja/budget.h"
#include "jinja/value.h"

namespace s3d::jinja {

struct JsonStyle {
  bool ensure_ascii = false;  // \uXXXX for all but ASCII
  bool sort_keys = false;
  std::optional<std::string> indent;  // of one level; none: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// Error: a value that JSON has no form for (undefined, a namespace, a generator), or keys that cannot be sorted.
Result<std::string> to_json(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace s3d::jinja
