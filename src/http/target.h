// The target of a request ("/v1/models?limit=3") and its percent-encoding. Pure functions on outside text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace s3d::http {

struct Target {
  std::string path;   // percent-decoded, begins with '/'; "*" for the asterisk form
  std::string query;  // as written, without the '?'
};

// Takes the origin form ("/path?query"), the absolute form ("http://host/path?query"; scheme and host are left out, as
// RFC 9112 asks of a server) and "*". Error: another form, a byte that must be percent-encoded, a wrong escape, an
// encoded zero or control character, a segment "." or "..".
Result<Target> parse_target(std::string_view text);

// `text` with its %XX undone. Error: an escape that is cut or not hexadecimal.
Result<std::string> percent_decoded(std::string_view text);

// The value of the first parameter of that name in "a=1&b=two%20words" ('+' is a blank); "" for a name alone. Nothing
// if it is missing or its escapes are wrong.
std::optional<std::string> query_value(std::string_view query, std::string_view name);

}  // namespace s3d::http
