// The form that a request wants its answer to have, under the names of several interfaces.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "serve/fields.h"
#include "serve/settings.h"

namespace s3d::serve {

// llama-server's "json_schema" and "grammar". All of these put what is wrong into `fields`; nothing: no form is wanted.
std::optional<WantedForm> read_native_form(Fields& fields);
// What OpenAI's routes take: "response_format" and llama-server's names; vLLM's "structured_outputs" (with json,
// json_object, regex, choice or grammar in it) and "guided_json", "guided_regex", "guided_choice", "guided_grammar".
std::optional<WantedForm> read_openai_form(Fields& fields);
// The Responses interface's "text.format", which is the field `name` of `fields`.
std::optional<WantedForm> read_response_format(Fields& fields, std::string_view name);
// Ollama's "format": "json" or a schema.
std::optional<WantedForm> read_ollama_form(Fields& fields);

}  // namespace s3d::serve
