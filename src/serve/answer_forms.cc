#include "serve/answer_forms.h"

#include <fmt/format.h>

#include <utility>

#include "serve/tool_form.h"

namespace s3d::serve {
namespace {

using Kind = ConstraintSpec::Kind;

constexpr size_t kMaxChoices = 1024;

WantedForm wanted(Kind kind, std::string text, std::string_view field) {
  return {{kind, std::move(text)}, std::string(field)};
}

// A schema: an object, or its JSON as a text.
std::optional<WantedForm> read_schema(Fields& fields, std::string_view name, std::string_view field) {
  const Json* schema = fields.find(name);
  if (schema == nullptr) return {};
  if (schema->is_object()) return wanted(Kind::kJsonSchema, to_text(*schema), field);
  if (schema->is_string()) return wanted(Kind::kJsonSchema, schema->get<std::string>(), field);
  fields.fail(name, fmt::format("expected a JSON schema, got {}", type_name(*schema)));
  return {};
}

std::optional<WantedForm> read_choice(Fields& fields, std::string_view name, std::string_view field) {
  const auto texts = fields.texts(name);
  if (!texts) return {};
  if (texts->empty() || texts->size() > kMaxChoices) {
    fields.fail(name, fmt::format("expected from 1 to {} texts, got {}", kMaxChoices, texts->size()));
    return {};
  }
  for (const std::string& text : *texts) {
    if (text.empty()) fields.fail(name, "an answer of no text is no choice");
  }
  return wanted(Kind::kTags, choice_tags(*texts), field);
}

// One of vLLM's forms: `prefix` and its name.
std::optional<WantedForm> read_vllm_forms(Fields& fields, const std::string& prefix, std::string_view field) {
  std::optional<WantedForm> form;
  const auto take = [&](std::string_view name, std::optional<WantedForm> next) {
    if (next && form) fields.fail(prefix + std::string(name), "a second form beside another one; leave one out");
    if (next) form = std::move(next);
  };
  const auto field_of = [&](const char* name) { return field.empty() ? prefix + name : std::string(field); };
  take("json", read_schema(fields, prefix + "json", field_of("json")));
  if (const auto regex = fields.text(prefix + "regex")) {
    take("regex", wanted(Kind::kRegex, *regex, field_of("regex")));
  }
  take("choice", read_choice(fields, prefix + "choice", field_of("choice")));
  if (const auto grammar = fields.text(prefix + "grammar")) {
    take("grammar", wanted(Kind::kGrammar, *grammar, field_of("grammar")));
  }
  return form;
}

std::optional<WantedForm> read_structured_outputs(Fields& fields) {
  constexpr std::string_view kName = "structured_outputs";
  const Json* object = fields.object(kName);
  if (object == nullptr) return {};
  Fields own(*object, std::string(kName) + ".");
  std::optional<WantedForm> form = read_vllm_forms(own, "", kName);
  if (own.boolean("json_object").value_or(false)) {
    if (form) own.fail("json_object", "a second form beside another one; leave one out");
    form = wanted(Kind::kJsonObject, "", kName);
  }
  own.refuse_unless("structural_tag", nullptr, "this server does not take xgrammar's own language");
  if (own.error()) fields.fail(*own.error());
  return form;
}

}  // namespace

std::optional<WantedForm> read_native_form(Fields& fields) {
  const Json* schema = fields.object("json_schema");
  const std::optional<std::string> grammar = fields.text("grammar");
  if (schema != nullptr && grammar && !grammar->empty()) {
    fields.fail("grammar", "cannot be had together with json_schema; leave one out");
  }
  if (schema != nullptr) return wanted(Kind::kJsonSchema, to_text(*schema), "json_schema");
  if (grammar && !grammar->empty()) return wanted(Kind::kGrammar, *grammar, "grammar");
  return {};
}

std::optional<WantedForm> read_response_format(Fields& fields, std::string_view name) {
  const Json* format = fields.object(name);
  if (format == nullptr) return {};
  Fields own(*format, std::string(name) + ".");
  const std::string type = own.text("type").value_or("");
  std::optional<WantedForm> form;
  if (type == "json_object") {
    // llama-server takes a schema here too.
    const Json* schema = own.object("schema");
    form = schema == nullptr ? wanted(Kind::kJsonObject, "", name) : wanted(Kind::kJsonSchema, to_text(*schema), name);
  } else if (type == "json_schema") {
    // Chat completions put the schema into a member "json_schema", the Responses interface beside the type.
    const Json* inner = own.object("json_schema");
    const Json& holder = inner == nullptr ? *format : *inner;
    if (!holder.contains("schema") || !holder["schema"].is_object()) {
      own.fail(inner == nullptr ? "schema" : "json_schema.schema", "expected a JSON schema, an object");
    } else {
      form = wanted(Kind::kJsonSchema, to_text(holder["schema"]), name);
    }
  } else if (type != "text") {
    own.fail("type", "expected text, json_object or json_schema");
  }
  if (own.error()) fields.fail(*own.error());
  return form;
}

std::optional<WantedForm> read_openai_form(Fields& fields) {
  std::optional<WantedForm> form;
  const auto take = [&](std::optional<WantedForm> next) {
    if (!next) return;
    if (form) fields.fail(next->field, fmt::format("a second form beside {}; leave one out", form->field));
    form = std::move(next);
  };
  take(read_response_format(fields, "response_format"));
  take(read_native_form(fields));
  take(read_structured_outputs(fields));
  take(read_vllm_forms(fields, "guided_", ""));
  return form;
}

std::optional<WantedForm> read_ollama_form(Fields& fields) {
  constexpr std::string_view kName = "format";
  const Json* format = fields.find(kName);
  if (format == nullptr || (format->is_string() && format->get_ref<const std::string&>().empty())) return {};
  if (*format == "json") return wanted(Kind::kJsonObject, "", kName);
  if (format->is_object()) return wanted(Kind::kJsonSchema, to_text(*format), kName);
  fields.fail(kName, fmt::format("expected \"json\" or a JSON schema, got {}", to_text(*format)));
  return {};
}

}  // namespace s3d::serve
