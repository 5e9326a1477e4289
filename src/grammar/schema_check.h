// Whether a JSON value is what a schema allows: for tests, by the plainest reading of the keywords that they use.
#pragma once

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>

namespace s3d {

class SchemaCheck {
 public:
  using Json = nlohmann::ordered_json;
  explicit SchemaCheck(Json root) : root_(std::move(root)) {}

  bool allows(const Json& value) const { return allows(root_, value); }

 private:
  static size_t characters(const std::string& text) {
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  }

  static bool has_type(const std::string& type, const Json& value) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_boolean();
    if (type == "null") return value.is_null();
    if (type == "integer") return value.is_number() && std::floor(value.get<double>()) == value.get<double>();
    return value.is_number();
  }

  bool allows(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    const auto any = [&](const char* name) {
      return std::any_of(schema[name].begin(), schema[name].end(), [&](const Json& one) { return allows(one, value); });
    };
    if (schema.contains("$ref") &&
        !allows(root_.at(Json::json_pointer(schema["$ref"].get<std::string>().substr(1))), value)) {
      return false;
    }
    if (schema.contains("enum") &&
        std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
      return false;
    }
    if (schema.contains("const") && schema["const"] != value) return false;
    if (schema.contains("anyOf") && !any("anyOf")) return false;
    if (schema.contains("oneOf") && !any("oneOf")) return false;
    if (schema.contains("type")) {
      const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
      const auto fits = [&](const Json& type) { return has_type(type.get<std::string>(), value); };
      if (std::none_of(types.begin(), types.end(), fits)) return false;
    }
    if (value.is_string()) return allows_string(schema, value.get<std::string>());
    if (value.is_number()) return allows_number(schema, value.get<double>());
    if (value.is_array()) return allows_array(schema, value);
    return !value.is_object() || allows_object(schema, value);
  }

  static bool allows_string(const Json& schema, const std::string& text) {
    if (characters(text) < schema.value("minLength", size_t{0})) return false;
    if (characters(text) > schema.value("maxLength", size_t{1} << 30U)) return false;
    return !schema.contains("pattern") || std::regex_search(text, std::regex(schema["pattern"].get<std::string>()));
  }

  static bool allows_number(const Json& schema, double number) {
    if (schema.contains("minimum") && number < schema["minimum"].get<double>()) return false;
    if (schema.contains("maximum") && number > schema["maximum"].get<double>()) return false;
    if (schema.contains("exclusiveMinimum") && number <= schema["exclusiveMinimum"].get<double>()) return false;
    if (schema.contains("exclusiveMaximum") && number >= schema["exclusiveMaximum"].get<double>()) return false;
    return !schema.contains("multipleOf") || std::fmod(number, schema["multipleOf"].get<double>()) == 0;
  }

  bool allows_array(const Json& schema, const Json& list) const {
    if (list.size() < schema.value("minItems", size_t{0})) return false;
    if (list.size() > schema.value("maxItems", size_t{1} << 30U)) return false;
    const Json first = schema.value("prefixItems", Json::array());
    for (size_t i = 0; i < list.size(); ++i) {
      if (!allows(i < first.size() ? first[i] : schema.value("items", Json(true)), list[i])) return false;
    }
    return true;
  }

  bool allows_object(const Json& schema, const Json& object) const {
    for (const Json& name : schema.value("required", Json::array())) {
      if (!object.contains(name.get<std::string>())) return false;
    }
    if (object.size() < schema.value("minProperties", size_t{0})) return false;
    if (object.size() > schema.value("maxProperties", size_t{1} << 30U)) return false;
    const Json properties = schema.value("properties", Json::object());
    for (const auto& [name, value] : object.items()) {
      const Json& one = properties.contains(name) ? properties[name] : schema.value("additionalProperties", Json(true));
      if (!allows(one, value)) return false;
    }
    return true;
  }

  Json root_;
};

}  // namespace s3d
