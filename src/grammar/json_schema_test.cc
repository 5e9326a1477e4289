#include "grammar/json_schema.h"

#include <gtest/gtest.h>

#include <string>

namespace s3d {
namespace {

std::string plain(const std::string& text) {
  const auto result = plain_json_schema(text);
  return result.ok() ? *result : "error: " + result.error().message;
}

std::string error(const std::string& text) {
  const auto result = plain_json_schema(text);
  return result.ok() ? "" : result.error().message;
}

TEST(JsonSchema, NotesAreDropped) {
  EXPECT_EQ(plain(R"({"title": "A", "type": "string", "description": "b", "x-own": 1, "default": "c"})"),
            R"({"type":"string"})");
}

TEST(JsonSchema, AnObjectWithPropertiesHasNoOthers) {
  EXPECT_EQ(plain(R"({"type": "object", "properties": {"b": {}, "a": true}, "required": ["b"]})"),
            R"({"type":"object","properties":{"b":{},"a":{}},"additionalProperties":false,"required":["b"]})");
}

TEST(JsonSchema, AnObjectWithoutPropertiesHasAny) {
  EXPECT_EQ(plain(R"({"type": "object"})"), R"({"type":"object","additionalProperties":true})");
  EXPECT_EQ(plain(R"({"type": "array"})"), R"({"type":"array","items":true})");
}

TEST(JsonSchema, ListsOfTypesAreAlternatives) {
  EXPECT_EQ(plain(R"({"type": ["string", "null"], "maxLength": 3})"),
            R"({"anyOf":[{"type":"string","pattern":"^[^\"\\\\\\x00-\\x1f]{0,3}$"},{"type":"null"}]})");
  EXPECT_EQ(plain(R"({"type": ["integer", "number"]})"), R"({"type":"number"})");
}

TEST(JsonSchema, KeywordsOfOneTypeMeanThatType) {
  EXPECT_EQ(plain(R"({"minLength": 2})"), R"({"type":"string","pattern":"^[^\"\\\\\\x00-\\x1f]{2,}$"})");
  EXPECT_NE(error(R"({"minLength": 2, "minimum": 1})").find("need the keyword 'type'"), std::string::npos);
}

TEST(JsonSchema, ReferencesAreKept) {
  EXPECT_EQ(plain(R"({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}})"),
            R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"null"}}})");
}

struct Refused {
  const char* schema;
  const char* names;  // what the message must name
};

class RefusedSchema : public testing::TestWithParam<Refused> {};

TEST_P(RefusedSchema, IsNamed) {
  EXPECT_NE(error(GetParam().schema).find(GetParam().names), std::string::npos)
      << GetParam().schema << " gave: " << plain(GetParam().schema);
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedSchema,
    testing::Values(
        Refused{"{", "not JSON"}, Refused{"[]", "a schema is an object"}, Refused{"false", "allows no value"},
        Refused{R"({"type": "text"})", "unknown type \"text\""}, Refused{R"({"type": []})", "lists no type"},
        Refused{R"({"not": {}})", "'not'"}, Refused{R"({"if": {}})", "'if'"},
        Refused{R"({"type": "object", "patternProperties": {}})", "'patternProperties'"},
        Refused{R"({"type": "array", "uniqueItems": true})", "'uniqueItems'"},
        Refused{R"({"type": "array", "contains": {}})", "'contains'"},
        Refused{R"({"properties": {"a": {"nullable": true}}})", "at #/properties/a: the keyword 'nullable'"},
        Refused{R"({"anyOf": [{}], "type": "string"})", "'type' beside 'anyOf'"},
        Refused{R"({"$ref": "#", "maxLength": 1})", "'maxLength' beside '$ref'"},
        Refused{R"({"anyOf": [{}], "oneOf": [{}]})", "'oneOf' beside 'anyOf'"},
        Refused{R"({"allOf": [{}, {}]})", "'allOf'"}, Refused{R"({"anyOf": []})", "'anyOf' must list"},
        Refused{R"({"enum": []})", "'enum' must list"}, Refused{R"({"enum": [1], "type": "string"})", "value 1"},
        Refused{R"({"$ref": "other.json"})", "other.json"}, Refused{R"({"$ref": "#/$defs/a"})", "leads to no schema"},
        Refused{R"({"$ref": "#/properties", "properties": {}})", "'properties' beside '$ref'"},
        Refused{R"({"properties": {"a": {"$ref": "#/properties"}}})", "leads to no schema"},
        Refused{R"({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})", "circle"},
        Refused{R"({"type": "object", "required": ["a"]})", "\"a\" is not in 'properties'"},
        Refused{R"({"type": "string", "pattern": "a", "minLength": 1})", "beside 'pattern'"},
        Refused{R"({"type": "string", "format": "colour"})", "\"colour\""},
        Refused{R"({"type": "string", "minLength": -1})", "'minLength'"},
        Refused{R"({"type": "string", "maxLength": 1000000})", "'maxLength'"},
        Refused{R"({"type": "string", "maxLength": 1, "minLength": 2})", "'minLength' is above"},
        Refused{R"({"type": "number", "multipleOf": 2})", "'multipleOf'"},
        Refused{R"({"type": "integer", "minimum": "1"})", "'minimum'"},
        Refused{R"({"type": "array", "items": [{}]})", "at #/items"}));

TEST(JsonSchema, LimitsDepthAndSize) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += R"({"items":)";
  EXPECT_NE(error(deep).find("deeper"), std::string::npos);
  EXPECT_NE(error(std::string(300'000, ' ')).find("bytes"), std::string::npos);
}

}  // namespace
}  // namespace s3d
