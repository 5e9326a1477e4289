// Typed reading of one metadata value through ggml's getters, which abort on a wrong type: so the type is always
// looked at first. Internal to this folder.
#pragma once

#include <gguf.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace s3d {

// Bytes of one value of a scalar type; 0 for strings, arrays and types that the format does not have.
size_t scalar_bytes(uint32_t type);

// The value as int64, from any integer type whose value fits; nullopt otherwise. `id` is a valid key index.
std::optional<int64_t> integer_value(const gguf_context* gguf, int64_t id);
// From float32, float64 and every integer type.
std::optional<double> real_value(const gguf_context* gguf, int64_t id);
// From an array of integers or booleans, or of numbers.
std::optional<std::vector<int64_t>> integer_values(const gguf_context* gguf, int64_t id);
std::optional<std::vector<double>> real_values(const gguf_context* gguf, int64_t id);

// "uint32", "array of string": for messages.
std::string type_text(const gguf_context* gguf, int64_t id);

// The value for people, cut to about `max_chars`.
std::string value_text(const gguf_context* gguf, int64_t id, size_t max_chars);

}  // namespace s3d
