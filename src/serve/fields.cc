#include "serve/fields.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <utility>

#include "base/index.h"

namespace s3d::serve {
namespace {

// A whole number, also one that is written as 3.0, as some clients do.
std::optional<int64_t> whole(const Json& json) {
  if (json.is_number_unsigned()) {
    const auto value = json.get<uint64_t>();
    if (value > uint64_t{std::numeric_limits<int64_t>::max()}) return {};
    return static_cast<int64_t>(value);
  }
  if (json.is_number_integer()) return json.get<int64_t>();
  if (!json.is_number_float()) return {};
  const double value = json.get<double>();
  constexpr double kExact = 9007199254740992;  // 2^53: beyond it doubles skip whole numbers
  if (std::floor(value) != value || std::abs(value) > kExact) return {};
  return static_cast<int64_t>(value);
}

}  // namespace

std::string_view type_name(const Json& json) {
  if (json.is_string()) return "a text";
  if (json.is_array()) return "a list";
  if (json.is_object()) return "an object";
  if (json.is_boolean()) return "true or false";
  if (json.is_number()) return "a number";
  return "null";
}

Fields::Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (object_.is_object()) return;
  const std::string name = where_.empty() ? "the body" : where_.substr(0, where_.size() - 1);
  fail(
      bad_request(where_.empty() ? "" : name, fmt::format("{}: expected an object, got {}", name, type_name(object_))));
}

const Json* Fields::find(std::string_view name) const {
  if (!object_.is_object()) return nullptr;
  const auto at = object_.find(name);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const Json* json = find(name);
  if (json == nullptr) return {};
  if (json->is_boolean()) return json->get<bool>();
  fail_type(name, "true or false", *json);
  return {};
}

const Json* Fields::find_number(std::string_view name, std::string_view expected) {
  const Json* json = find(name);
  if (json == nullptr || json->is_number()) return json;
  fail_type(name, expected, *json);
  return nullptr;
}

std::optional<int64_t> Fields::integer(std::string_view name, int64_t least, int64_t most) {
  const Json* json = find_number(name, "a whole number");
  if (json == nullptr) return {};
  const std::optional<int64_t> value = whole(*json);
  if (value && *value >= least && *value <= most) return value;
  fail(name, fmt::format("expected a whole number from {} to {}, got {}", least, most, to_text(*json)));
  return {};
}

std::optional<double> Fields::number(std::string_view name, double least, double most) {
  const Json* json = find_number(name, "a number");
  if (json == nullptr) return {};
  const double value = json->get<double>();
  if (value >= least && value <= most) return value;
  fail(name, fmt::format("expected a number from {} to {}, got {}", least, most, to_text(*json)));
  return {};
}

std::optional<std::string> Fields::text(std::string_view name) {
  const Json* json = find(name);
  if (json == nullptr) return {};
  if (json->is_string()) return json->get<std::string>();
  fail_type(name, "a text", *json);
  return {};
}

std::optional<std::vector<std::string>> Fields::texts(std::string_view name) {
  const Json* json = find(name);
  if (json == nullptr) return {};
  if (json->is_string()) return std::vector{json->get<std::string>()};
  if (!json->is_array()) {
    fail_type(name, "a text or a list of texts", *json);
    return {};
  }
  std::vector<std::string> list;
  for (const Json& item : *json) {
    if (!item.is_string()) {
      fail_type(fmt::format("{}[{}]", name, list.size()), "a text", item);
      return {};
    }
    list.push_back(item.get<std::string>());
  }
  return list;
}

std::vector<TokenId> Fields::tokens(std::string_view name) {
  const Json* json = array(name);
  std::vector<TokenId> list;
  if (json == nullptr) return list;
  list.reserve(json->size());
  for (const Json& item : *json) {
    const std::optional<int64_t> id = whole(item);
    if (!id || *id < 0 || *id > std::numeric_limits<TokenId>::max()) {
      fail(fmt::format("{}[{}]", name, list.size()), fmt::format("expected the id of a token, got {}", to_text(item)));
      return {};
    }
    list.push_back(static_cast<TokenId>(*id));
  }
  return list;
}

const Json* Fields::object(std::string_view name) {
  const Json* json = find(name);
  if (json == nullptr || json->is_object()) return json;
  fail_type(name, "an object", *json);
  return nullptr;
}

const Json* Fields::array(std::string_view name) {
  const Json* json = find(name);
  if (json == nullptr || json->is_array()) return json;
  fail_type(name, "a list", *json);
  return nullptr;
}

void Fields::refuse_unless(std::string_view name, const Json& neutral, std::string_view why) {
  const Json* json = find(name);
  if (json == nullptr || *json == neutral) return;
  fail(name, fmt::format("{}; leave it out", why));
}

void Fields::fail(std::string_view name, const std::string& what) {
  fail(bad_request(full(name), fmt::format("{}: {}", full(name), what)));
}

void Fields::fail(ApiError error) {
  if (!error_) error_ = std::move(error);
}

std::string Fields::full(std::string_view name) const {
  return where_ + std::string(name);
}

void Fields::fail_type(std::string_view name, std::string_view expected, const Json& found) {
  fail(name, fmt::format("expected {}, got {}", expected, type_name(found)));
}

}  // namespace s3d::serve
