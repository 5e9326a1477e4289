// JSON -> the values of a template, for tests.
#pragma once

#include <nlohmann/json.hpp>

#include "jinja/value.h"

namespace s3d {

// Keeps the order of keys. All texts are data.
inline jinja::Value jinja_value(const nlohmann::ordered_json& json) {
  using jinja::Value;
  if (json.is_boolean()) return Value::boolean(json.get<bool>());
  if (json.is_number_integer()) return Value::integer(json.get<int64_t>());
  if (json.is_number()) return Value::number(json.get<double>());
  if (json.is_string()) return Value::text(json.get<std::string>());
  if (json.is_array()) {
    std::vector<Value> items;
    for (const auto& item : json) items.push_back(jinja_value(item));
    return Value::list(std::move(items));
  }
  if (!json.is_object()) return Value::none();
  std::vector<std::pair<std::string, Value>> entries;
  for (const auto& [key, value] : json.items()) entries.emplace_back(key, jinja_value(value));
  return Value::dict(std::move(entries));
}

}  // namespace s3d
