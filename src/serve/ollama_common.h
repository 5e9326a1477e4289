// What the routes of Ollama's interface have in common.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "serve/fields.h"
#include "serve/model_service.h"
#include "serve/request.h"

namespace s3d::serve {

// "model", or the older "name", and "keep_alive". Errors stay in `fields`.
RequestHead read_ollama_head(Fields& fields);

// "5m", "1h30m", "300s", "-1" or a number of seconds. Nothing: something else.
std::optional<int64_t> parse_duration_seconds(std::string_view text);

// A name with its tag: "smollm2-135m:latest".
std::string tagged(const std::string& name);

std::string rfc3339(int64_t seconds, int64_t nanoseconds = 0);  // UTC
std::string rfc3339_now();

// {"format", "family", "families", "parameter_size", "quantization_level", …}
Json ollama_details(const ModelCard& card);

// "134.5M"
std::string short_count(int64_t count);

}  // namespace s3d::serve
