#include "grammar/tags.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace s3d {
namespace {

using Json = nlohmann::ordered_json;  // the order of properties counts

Json schema_tag(const std::string& plain_schema) {
  return {{"type", "json_schema"},
          {"json_schema", Json::parse(plain_schema)},
          {"max_whitespace_cnt", GrammarCompiler::kMaxWhitespace}};
}

Result<Json> body(const AnswerForm& form) {
  switch (form.kind) {
    case AnswerForm::Kind::kJsonObject:
      return schema_tag(R"({"type": "object", "additionalProperties": true})");
    case AnswerForm::Kind::kJsonSchema: {
      S3D_ASSIGN(const std::string plain, plain_json_schema(form.text));
      return schema_tag(plain);
    }
    case AnswerForm::Kind::kGrammar: {
      S3D_ASSIGN(std::string ebnf, ebnf_of_gbnf(form.text));
      return Json{{"type", "grammar"}, {"grammar", std::move(ebnf)}};
    }
    case AnswerForm::Kind::kRegex: {
      S3D_ASSIGN(const std::string gbnf, gbnf_of_regex(form.text));
      S3D_ASSIGN(std::string ebnf, ebnf_of_gbnf(gbnf));
      return Json{{"type", "grammar"}, {"grammar", std::move(ebnf)}};
    }
    case AnswerForm::Kind::kTags:
      return Json::parse(form.text);
  }
  return Error{"an unknown kind of form"};
}

Json thoughts(const AnswerForm& form) {
  const bool open = form.thoughts == AnswerForm::Thoughts::kAreOpen;
  Json tag{{"type", "tag"},
           {"begin", open ? "" : form.think_begin},
           {"content", Json{{"type", "any_text"}}},
           {"end", form.think_end}};
  const Json blanks{{"type", "regex"}, {"pattern", "[ \\n]{0,4}"}};
  Json all{{"type", "sequence"}, {"elements", Json::array({std::move(tag), blanks})}};
  return open ? all : Json{{"type", "optional"}, {"content", std::move(all)}};
}

}  // namespace

Result<std::string> tags_of_form(const AnswerForm& form) {
  S3D_ASSIGN(Json format, body(form));
  if (!form.or_tags.empty()) {
    format = Json{{"type", "or"}, {"elements", Json::array({Json::parse(form.or_tags), std::move(format)})}};
  }
  if (form.thoughts != AnswerForm::Thoughts::kNone) {
    format = Json{{"type", "sequence"}, {"elements", Json::array({thoughts(form), std::move(format)})}};
  }
  return Json{{"type", "structural_tag"}, {"format", std::move(format)}}.dump();
}

}  // namespace s3d
