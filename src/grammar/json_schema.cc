#include "grammar/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

namespace s3d {
namespace {

// Properties come in the order in which the schema names them.
using Json = nlohmann::ordered_json;

// Far above what people write, and low enough that a hostile schema cannot hold up a server.
constexpr size_t kMaxSchemaBytes = size_t{256} << 10U;
constexpr int kMaxSchemaDepth = 64;
constexpr size_t kMaxSchemas = 4096;
constexpr int64_t kMaxCount = 2000;  // of characters, items or properties

enum class Role : uint8_t { kNote, kForm, kType, kObject, kArray, kString, kNumber };

struct Keyword {
  std::string_view name;
  Role role;
};

// What is not here is refused by its name.
constexpr Keyword kKeywords[] = {
    {"title", Role::kNote},
    {"description", Role::kNote},
    {"default", Role::kNote},
    {"examples", Role::kNote},
    {"example", Role::kNote},
    {"$schema", Role::kNote},
    {"$id", Role::kNote},
    {"$comment", Role::kNote},
    {"$defs", Role::kNote},
    {"definitions", Role::kNote},
    {"deprecated", Role::kNote},
    {"readOnly", Role::kNote},
    {"writeOnly", Role::kNote},
    {"discriminator", Role::kNote},
    {"$ref", Role::kForm},
    {"const", Role::kForm},
    {"enum", Role::kForm},
    {"anyOf", Role::kForm},
    {"oneOf", Role::kForm},
    {"allOf", Role::kForm},
    {"type", Role::kType},
    {"properties", Role::kObject},
    {"required", Role::kObject},
    {"additionalProperties", Role::kObject},
    {"minProperties", Role::kObject},
    {"maxProperties", Role::kObject},
    {"items", Role::kArray},
    {"prefixItems", Role::kArray},
    {"minItems", Role::kArray},
    {"maxItems", Role::kArray},
    {"minLength", Role::kString},
    {"maxLength", Role::kString},
    {"pattern", Role::kString},
    {"format", Role::kString},
    {"minimum", Role::kNumber},
    {"maximum", Role::kNumber},
    {"exclusiveMinimum", Role::kNumber},
    {"exclusiveMaximum", Role::kNumber},
    {"multipleOf", Role::kNumber},
};

constexpr std::string_view kStringFormats[] = {"email", "date", "time",     "date-time", "duration",
                                               "ipv4",  "ipv6", "hostname", "uuid",      "uri"};
constexpr std::string_view kNumberFormats[] = {"int32", "int64", "float", "double"};  // say nothing that binds
constexpr std::string_view kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};

template <typename List>
bool contains(const List& list, std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

const Keyword* find_keyword(std::string_view name) {
  const auto* at = std::find_if(std::begin(kKeywords), std::end(kKeywords),
                                [name](const Keyword& keyword) { return keyword.name == name; });
  return at == std::end(kKeywords) ? nullptr : at;
}

// Keywords that say nothing where they stand, though others of their name would.
bool says_nothing(const std::string& name, const Json& value) {
  if (name == "uniqueItems" || name == "nullable") return value == Json(false);
  return name.starts_with("x-");
}

Role role_of_type(std::string_view type) {
  if (type == "object") return Role::kObject;
  if (type == "array") return Role::kArray;
  if (type == "string") return Role::kString;
  if (type == "number" || type == "integer") return Role::kNumber;
  return Role::kNote;  // boolean and null have no keywords
}

bool is_of_type(const Json& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  return type == "number" ? value.is_number() : value.is_number_integer();
}

// How deep brackets are nested, those in strings aside.
int nesting(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') ++i;
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
    if (c == '}' || c == ']') --depth;
  }
  return deepest;
}

class Reader {
 public:
  explicit Reader(const Json& root) : root_(root) {}

  Result<Json> read() {
    S3D_ASSIGN(Json plain, schema(root_, "#"));
    S3D_TRY(check_references());
    return plain;
  }

 private:
  // A schema with what its keywords are for.
  struct Parts {
    std::string form;                // its keyword $ref, const, …; empty: none
    std::vector<std::string> types;  // as `type` says; empty: it does not
    std::set<Role> roles;            // of keywords that belong to a type
  };

  static Error refuse(const std::string& where, const std::string& what) {
    return Error{fmt::format("JSON schema, at {}: {}", where, what)};
  }

  Result<Json> schema(const Json& in, const std::string& where);
  Result<Parts> parts(const Json& in, const std::string& where) const;
  static Result<std::vector<std::string>> types(const Json& type, const std::string& where);
  static Status check_alone(const Json& in, const Parts& parts, const std::string& where);
  Result<Json> form(const Json& in, const Parts& parts, const std::string& where);
  Result<Json> values(const Json& in, const Parts& parts, const std::string& where) const;
  Result<Json> reference(const Json& in, const std::string& where);
  Result<Json> typed(const Json& in, const std::string& type, const std::string& where);
  Status object(const Json& in, const std::string& where, Json& out);
  static Status required(const Json& in, const std::string& where, Json& out);
  Status array(const Json& in, const std::string& where, Json& out);
  static Status string(const Json& in, const std::string& where, Json& out);
  static Status number(const Json& in, const std::string& type, const std::string& where, Json& out);
  static Status counts(const Json& in, const char* least, const char* most, const std::string& where, Json& out);
  static void bound_length(Json& out);
  Status definitions(const Json& in, const std::string& where, Json& out);
  Status check_references() const;

  const Json& root_;
  std::set<std::string> places_;                   // of all schemas, as references name them
  std::map<std::string, std::string> references_;  // from the place of a $ref to what it names
};

Result<Json> Reader::schema(const Json& in, const std::string& where) {
  if (!places_.insert(where).second) return refuse(where, "two schemas have the same place");
  if (places_.size() > kMaxSchemas) return refuse(where, fmt::format("more than {} schemas in all", kMaxSchemas));
  if (in == Json(true)) return Json::object();
  if (in == Json(false)) return refuse(where, "the schema false allows no value");
  if (!in.is_object()) return refuse(where, "a schema is an object or true, not " + std::string(in.type_name()));
  S3D_ASSIGN(const Parts found, parts(in, where));
  Json out;
  if (!found.form.empty()) {
    S3D_TRY(check_alone(in, found, where));
    S3D_ASSIGN(out, form(in, found, where));
  } else if (found.types.size() == 1) {
    S3D_ASSIGN(out, typed(in, found.types[0], where));
  } else if (found.types.empty()) {
    out = Json::object();
  } else {
    out["anyOf"] = Json::array();
    for (size_t i = 0; i < found.types.size(); ++i) {
      S3D_ASSIGN(Json option, typed(in, found.types[i], fmt::format("{}/anyOf/{}", where, i)));
      out["anyOf"].push_back(std::move(option));
    }
  }
  S3D_TRY(definitions(in, where, out));
  return out;
}

Result<Reader::Parts> Reader::parts(const Json& in, const std::string& where) const {
  Parts found;
  for (const auto& [name, value] : in.items()) {
    const Keyword* keyword = find_keyword(name);
    if (keyword == nullptr) {
      if (says_nothing(name, value)) continue;
      return refuse(where, "the keyword '" + name + "' is not supported");
    }
    if (keyword->role == Role::kNote) continue;
    if (keyword->role == Role::kForm) {
      if (!found.form.empty()) return refuse(where, fmt::format("'{}' beside '{}' is not supported", name, found.form));
      found.form = name;
    } else if (keyword->role == Role::kType) {
      S3D_ASSIGN(found.types, types(value, where));
    } else if (name != "format") {  // a format is for strings or for numbers
      found.roles.insert(keyword->role);
    }
  }
  if (!found.types.empty() || !found.form.empty()) return found;
  if (found.roles.empty() && in.contains("format")) found.roles.insert(Role::kString);
  if (found.roles.size() > 1) return refuse(where, "keywords of several types need the keyword 'type'");
  // Without `type`, values of other types would be allowed too; the one that the keywords are about is enough.
  for (std::string_view type : kTypes) {
    if (found.types.empty() && !found.roles.empty() && role_of_type(type) == *found.roles.begin()) {
      found.types.emplace_back(type);
    }
  }
  return found;
}

Result<std::vector<std::string>> Reader::types(const Json& type, const std::string& where) {
  std::vector<std::string> list;
  for (const Json& one : type.is_array() ? type : Json::array({type})) {
    if (!one.is_string() || !contains(kTypes, one.get<std::string>())) {
      return refuse(where, "unknown type " + one.dump() + "; types are " + fmt::format("{}", fmt::join(kTypes, ", ")));
    }
    list.push_back(one.get<std::string>());
  }
  if (list.empty()) return refuse(where, "'type' lists no type");
  // An integer is a number: as an alternative to it, it adds nothing.
  if (contains(list, "number")) std::erase(list, "integer");
  return list;
}

// Beside $ref, enum, anyOf, … a keyword that binds would be a second condition, and both would have to hold.
Status Reader::check_alone(const Json& in, const Parts& parts, const std::string& where) {
  const bool lists_values = parts.form == "enum" || parts.form == "const";
  for (const auto& [name, value] : in.items()) {
    const Keyword* keyword = find_keyword(name);
    if (keyword == nullptr || keyword->role == Role::kNote || name == parts.form) continue;
    if (keyword->role == Role::kType && lists_values) continue;
    return refuse(where, fmt::format("'{}' beside '{}' is not supported", name, parts.form));
  }
  return Ok();
}

Result<Json> Reader::form(const Json& in, const Parts& parts, const std::string& where) {
  if (parts.form == "$ref") return reference(in, where);
  if (parts.form == "enum" || parts.form == "const") return values(in, parts, where);
  const Json& options = in[parts.form];
  if (!options.is_array() || options.empty()) return refuse(where, "'" + parts.form + "' must list schemas");
  if (parts.form == "allOf") {
    if (options.size() > 1) return refuse(where, "'allOf' of several schemas is not supported");
    return schema(options[0], where + "/allOf/0");
  }
  Json out;
  for (size_t i = 0; i < options.size(); ++i) {
    S3D_ASSIGN(Json option, schema(options[i], fmt::format("{}/{}/{}", where, parts.form, i)));
    out[parts.form].push_back(std::move(option));
  }
  return out;
}

Result<Json> Reader::values(const Json& in, const Parts& parts, const std::string& where) const {
  const Json list = parts.form == "enum" ? in["enum"] : Json::array({in["const"]});
  if (!list.is_array() || list.empty()) return refuse(where, "'enum' must list values");
  for (const Json& value : list) {
    const bool fits = parts.types.empty() || std::any_of(parts.types.begin(), parts.types.end(),
                                                         [&](const auto& type) { return is_of_type(value, type); });
    if (!fits) return refuse(where, "the value " + value.dump() + " is not of the type that 'type' names");
  }
  return Json{{"enum", list}};
}

Result<Json> Reader::reference(const Json& in, const std::string& where) {
  if (!in["$ref"].is_string()) return refuse(where, "'$ref' must be a string");
  const auto target = in["$ref"].get<std::string>();
  if (target != "#" && !target.starts_with("#/")) {
    return refuse(where, "the reference '" + target + "' leads out of the schema; only # and #/… are supported");
  }
  references_[where] = target;
  return Json{{"$ref", target}};
}

Result<Json> Reader::typed(const Json& in, const std::string& type, const std::string& where) {
  Json out{{"type", type}};
  if (type == "object") S3D_TRY(object(in, where, out));
  if (type == "array") S3D_TRY(array(in, where, out));
  if (type == "string") S3D_TRY(string(in, where, out));
  if (type == "number" || type == "integer") S3D_TRY(number(in, type, where, out));
  return out;
}

Status Reader::object(const Json& in, const std::string& where, Json& out) {
  const Json properties = in.value("properties", Json::object());
  if (!properties.is_object()) return refuse(where, "'properties' must be an object");
  for (const auto& [name, value] : properties.items()) {
    S3D_ASSIGN(out["properties"][name], schema(value, where + "/properties/" + name));
  }
  const Json others = in.value("additionalProperties", Json(properties.empty()));
  if (others.is_boolean()) {
    out["additionalProperties"] = others;
  } else {
    S3D_ASSIGN(out["additionalProperties"], schema(others, where + "/additionalProperties"));
  }
  if (in.contains("required")) S3D_TRY(required(in, where, out));
  const bool counted = in.contains("minProperties") || in.contains("maxProperties");
  if (counted && !properties.empty()) {
    return refuse(where, "'minProperties' and 'maxProperties' beside 'properties' are not supported");
  }
  return counts(in, "minProperties", "maxProperties", where, out);
}

Status Reader::required(const Json& in, const std::string& where, Json& out) {
  const Json& names = in["required"];
  if (!names.is_array()) return refuse(where, "'required' must be a list of names");
  out["required"] = Json::array();
  for (const Json& name : names) {
    if (!name.is_string()) return refuse(where, "'required' must be a list of names");
    if (!out.contains("properties") || !out["properties"].contains(name.get<std::string>())) {
      return refuse(where, "the required property " + name.dump() + " is not in 'properties'");
    }
    if (!contains(out["required"], name.get<std::string>())) out["required"].push_back(name);
  }
  return Ok();
}

Status Reader::array(const Json& in, const std::string& where, Json& out) {
  const Json first = in.value("prefixItems", Json::array());
  if (!first.is_array()) return refuse(where, "'prefixItems' must be a list of schemas");
  for (size_t i = 0; i < first.size(); ++i) {
    S3D_ASSIGN(Json item, schema(first[i], fmt::format("{}/prefixItems/{}", where, i)));
    out["prefixItems"].push_back(std::move(item));
  }
  const Json items = in.value("items", Json(first.empty()));
  if (items.is_boolean()) {
    out["items"] = items;
  } else {
    S3D_ASSIGN(out["items"], schema(items, where + "/items"));
  }
  return counts(in, "minItems", "maxItems", where, out);
}

Status Reader::string(const Json& in, const std::string& where, Json& out) {
  const bool counted = in.contains("minLength") || in.contains("maxLength");
  for (const char* name : {"pattern", "format"}) {
    if (!in.contains(name)) continue;
    if (!in[name].is_string()) return refuse(where, fmt::format("'{}' must be a string", name));
    if (counted) return refuse(where, fmt::format("'minLength' and 'maxLength' beside '{}' are not supported", name));
    out[name] = in[name];
  }
  if (out.contains("pattern") && out.contains("format"))
    return refuse(where, "'format' beside 'pattern' is not supported");
  if (out.contains("format") && !contains(kStringFormats, out["format"].get<std::string>())) {
    return refuse(where, fmt::format("the format {} is not supported; formats are {}", out["format"].dump(),
                                     fmt::join(kStringFormats, ", ")));
  }
  S3D_TRY(counts(in, "minLength", "maxLength", where, out));
  if (counted) bound_length(out);
  return Ok();
}

// A length is written as a pattern: xgrammar's own strings of bounded length may hold control characters, which are no
// JSON. Neither has escapes.
void Reader::bound_length(Json& out) {
  const auto least = out.value("minLength", int64_t{0});
  const std::string most = out.contains("maxLength") ? std::to_string(out["maxLength"].get<int64_t>()) : "";
  out.erase("minLength");
  out.erase("maxLength");
  if (least > 0 || !most.empty()) out["pattern"] = fmt::format("^[^\"\\\\\\x00-\\x1f]{{{},{}}}$", least, most);
}

Status Reader::number(const Json& in, const std::string& type, const std::string& where, Json& out) {
  for (const char* name : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
    if (!in.contains(name)) continue;
    if (!in[name].is_number()) return refuse(where, fmt::format("'{}' must be a number", name));
    out[name] = in[name];
  }
  if (type == "number" && in.contains("multipleOf")) {
    return refuse(where, "'multipleOf' is supported for integers only");
  }
  const Json format = in.value("format", Json("double"));
  if (!format.is_string() || !contains(kNumberFormats, format.get<std::string>())) {
    return refuse(where, fmt::format("the format {} is not supported for numbers", format.dump()));
  }
  return Ok();
}

Status Reader::counts(const Json& in, const char* least, const char* most, const std::string& where, Json& out) {
  for (const char* name : {least, most}) {
    if (!in.contains(name)) continue;
    const Json& count = in[name];
    if (!count.is_number_integer() || count.get<int64_t>() < 0 || count.get<int64_t>() > kMaxCount) {
      return refuse(where,
                    fmt::format("'{}' must be a whole number from 0 to {}, not {}", name, kMaxCount, count.dump()));
    }
    out[name] = count;
  }
  if (out.contains(least) && out.contains(most) && out[least] > out[most]) {
    return refuse(where, fmt::format("'{}' is above '{}'", least, most));
  }
  return Ok();
}

Status Reader::definitions(const Json& in, const std::string& where, Json& out) {
  for (const char* name : {"$defs", "definitions"}) {
    if (!in.contains(name)) continue;
    if (!in[name].is_object()) return refuse(where, fmt::format("'{}' must be an object of schemas", name));
    for (const auto& [key, value] : in[name].items()) {
      S3D_ASSIGN(out[name][key], schema(value, fmt::format("{}/{}/{}", where, name, key)));
    }
  }
  return Ok();
}

// A chain of references must reach a schema that says something.
Status Reader::check_references() const {
  for (const auto& [where, first] : references_) {
    std::string target = first;
    for (size_t steps = 0;; ++steps) {
      if (!places_.contains(target)) return refuse(where, "the reference '" + target + "' leads to no schema");
      const auto next = references_.find(target);
      if (next == references_.end()) break;
      if (steps > references_.size()) return refuse(where, "the reference '" + first + "' leads in a circle");
      target = next->second;
    }
  }
  return Ok();
}

}  // namespace

Result<std::string> plain_json_schema(std::string_view text) {
  if (text.size() > kMaxSchemaBytes)
    return Error{fmt::format("JSON schema: {} bytes; at most {} are taken", text.size(), kMaxSchemaBytes)};
  if (nesting(text) > kMaxSchemaDepth)
    return Error{fmt::format("JSON schema: nested deeper than {} levels", kMaxSchemaDepth)};
  Json root = Json::parse(text, /*callback=*/nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return Error{"JSON schema: this is not JSON"};
  S3D_ASSIGN(const Json plain, Reader(root).read());
  return plain.dump();
}

}  // namespace s3d
