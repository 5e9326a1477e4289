#include "file/gguf_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace s3d {
namespace {

// One number of type `type` at `data`, which need not be aligned.
template <typename T>
T load(const void* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

std::optional<int64_t> load_integer(gguf_type type, const void* data) {
  switch (type) {
    case GGUF_TYPE_UINT8:
      return load<uint8_t>(data);
    case GGUF_TYPE_INT8:
      return load<int8_t>(data);
    case GGUF_TYPE_UINT16:
      return load<uint16_t>(data);
    case GGUF_TYPE_INT16:
      return load<int16_t>(data);
    case GGUF_TYPE_UINT32:
      return load<uint32_t>(data);
    case GGUF_TYPE_INT32:
      return load<int32_t>(data);
    case GGUF_TYPE_INT64:
      return load<int64_t>(data);
    case GGUF_TYPE_UINT64: {
      const auto value = load<uint64_t>(data);
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> load_real(gguf_type type, const void* data) {
  if (type == GGUF_TYPE_FLOAT32) return load<float>(data);
  if (type == GGUF_TYPE_FLOAT64) return load<double>(data);
  if (type == GGUF_TYPE_UINT64) return static_cast<double>(load<uint64_t>(data));
  const auto integer = load_integer(type, data);
  if (!integer) return std::nullopt;
  return static_cast<double>(*integer);
}

// Every element of an array of numbers, or nullopt if one does not convert.
template <typename T, typename Load>
std::optional<std::vector<T>> load_array(const gguf_context* gguf, int64_t id, Load load_one) {
  if (gguf_get_kv_type(gguf, id) != GGUF_TYPE_ARRAY) return std::nullopt;
  const gguf_type type = gguf_get_arr_type(gguf, id);
  if (scalar_bytes(type) == 0) return std::nullopt;
  const size_t count = gguf_get_arr_n(gguf, id);
  std::vector<T> values;
  values.reserve(count);
  if (count == 0) return values;
  const auto* data = static_cast<const char*>(gguf_get_arr_data(gguf, id));
  for (size_t i = 0; i < count; ++i) {
    const auto value = load_one(type, data + i * scalar_bytes(type));
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

// `text` with control characters escaped, cut before `max_chars` at the start of a UTF-8 character.
std::string escaped(std::string_view text, size_t max_chars) {
  size_t end = std::min(text.size(), max_chars);
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  std::string out;
  for (const char c : text.substr(0, end)) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  if (end < text.size()) out += "...";
  return out;
}

std::string number_text(gguf_type type, const void* data) {
  if (type == GGUF_TYPE_BOOL) return load<int8_t>(data) != 0 ? "true" : "false";
  if (type == GGUF_TYPE_FLOAT32) return fmt::format("{}", load<float>(data));
  if (type == GGUF_TYPE_FLOAT64) return fmt::format("{}", load<double>(data));
  if (type == GGUF_TYPE_UINT64) return fmt::format("{}", load<uint64_t>(data));
  const auto integer = load_integer(type, data);
  S3D_CHECK(integer.has_value());
  return fmt::format("{}", *integer);
}

std::string array_text(const gguf_context* gguf, int64_t id, size_t max_chars) {
  const gguf_type type = gguf_get_arr_type(gguf, id);
  const size_t count = gguf_get_arr_n(gguf, id);
  std::string out = "[";
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out += ", ";
    if (out.size() >= max_chars) return out + fmt::format("...] ({} values)", count);
    if (type == GGUF_TYPE_STRING) {
      out += fmt::format("\"{}\"", escaped(gguf_get_arr_str(gguf, id, i), max_chars));
    } else {
      out += number_text(type, static_cast<const char*>(gguf_get_arr_data(gguf, id)) + i * scalar_bytes(type));
    }
  }
  return out + "]";
}

}  // namespace

size_t scalar_bytes(uint32_t type) {
  switch (type) {
    case GGUF_TYPE_UINT8:
    case GGUF_TYPE_INT8:
    case GGUF_TYPE_BOOL:
      return 1;
    case GGUF_TYPE_UINT16:
    case GGUF_TYPE_INT16:
      return 2;
    case GGUF_TYPE_UINT32:
    case GGUF_TYPE_INT32:
    case GGUF_TYPE_FLOAT32:
      return 4;
    case GGUF_TYPE_UINT64:
    case GGUF_TYPE_INT64:
    case GGUF_TYPE_FLOAT64:
      return 8;
    default:
      return 0;
  }
}

std::optional<int64_t> integer_value(const gguf_context* gguf, int64_t id) {
  const gguf_type type = gguf_get_kv_type(gguf, id);
  if (scalar_bytes(type) == 0) return std::nullopt;
  return load_integer(type, gguf_get_val_data(gguf, id));
}

std::optional<double> real_value(const gguf_context* gguf, int64_t id) {
  const gguf_type type = gguf_get_kv_type(gguf, id);
  if (scalar_bytes(type) == 0) return std::nullopt;
  return load_real(type, gguf_get_val_data(gguf, id));
}

std::optional<std::vector<int64_t>> integer_values(const gguf_context* gguf, int64_t id) {
  return load_array<int64_t>(gguf, id, [](gguf_type type, const void* data) {
    return type == GGUF_TYPE_BOOL ? std::optional<int64_t>(load<int8_t>(data) != 0) : load_integer(type, data);
  });
}

std::optional<std::vector<double>> real_values(const gguf_context* gguf, int64_t id) {
  return load_array<double>(gguf, id, load_real);
}

std::string type_text(const gguf_context* gguf, int64_t id) {
  const gguf_type type = gguf_get_kv_type(gguf, id);
  if (type != GGUF_TYPE_ARRAY) return gguf_type_name(type);
  return fmt::format("array of {}", gguf_type_name(gguf_get_arr_type(gguf, id)));
}

std::string value_text(const gguf_context* gguf, int64_t id, size_t max_chars) {
  const gguf_type type = gguf_get_kv_type(gguf, id);
  if (type == GGUF_TYPE_STRING) return escaped(gguf_get_val_str(gguf, id), max_chars);
  if (type == GGUF_TYPE_ARRAY) return array_text(gguf, id, max_chars);
  return number_text(type, gguf_get_val_data(gguf, id));
}

}  // namespace s3d
