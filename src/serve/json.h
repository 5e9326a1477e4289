// JSON of requests and answers: keys keep their order, so that answers read as people expect.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace s3d::serve {

using Json = nlohmann::ordered_json;

// What a request's JSON may hold. Far more than any client sends; the sum of keys bounds the time of reading them, as
// each new key of an object is compared with those before it.
struct JsonLimits {
  int depth = 64;            // lists and objects inside one another
  int keys = 4096;           // of one object
  int64_t values = 4 << 20;  // in all
};

// Reads outside bytes. Errors: bytes that are not UTF-8, no JSON (says where), numbers that no double can hold, more
// than the limits.
Result<Json> parse_json(std::string_view text, const JsonLimits& limits = {});

// On one line. Bytes that are not UTF-8 become U+FFFD; they cannot come from parse_json().
std::string to_text(const Json& json);

}  // namespace s3d::serve
