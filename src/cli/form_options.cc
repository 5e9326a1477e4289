#include "cli/form_options.h"

#include <CLI/CLI.hpp>

#include "base/text_file.h"

namespace s3d::cli {

void FormOptions::add_to(CLI::App& command) {
  const std::string group = "Form of the answer";
  const auto text = [&](const char* names, auto& value, const char* type, const char* help) {
    command.add_option(names, value, help)->type_name(type)->group(group);
  };
  text("-j,--json-schema", json_schema, "JSON", "The answer is JSON that this schema allows; {}: any JSON");
  text("--json-schema-file", json_schema_file, "FILE", "The same, the schema from a file");
  text("--grammar", grammar, "TEXT", "The answer is a text of this grammar, in GBNF");
  text("--grammar-file", grammar_file, "FILE", "The same, the grammar from a file");
}

Result<std::optional<AnswerForm>> FormOptions::form() const {
  const int given = static_cast<int>(json_schema.has_value()) + static_cast<int>(!json_schema_file.empty()) +
                    static_cast<int>(!grammar.empty()) + static_cast<int>(!grammar_file.empty());
  if (given > 1)
    return Error{"only one of --json-schema, --json-schema-file, --grammar and --grammar-file can be given"};
  if (given == 0) return std::optional<AnswerForm>();
  const bool is_schema = json_schema.has_value() || !json_schema_file.empty();
  AnswerForm form{.kind = is_schema ? AnswerForm::Kind::kJsonSchema : AnswerForm::Kind::kGrammar};
  if (json_schema.has_value()) {
    form.text = *json_schema;
  } else if (!grammar.empty()) {
    form.text = grammar;
  } else {
    S3D_ASSIGN(form.text, read_text_file(is_schema ? json_schema_file : grammar_file));
  }
  return std::optional(std::move(form));
}

Result<std::shared_ptr<Constraint>> constrain(GrammarCompiler& compiler, const std::optional<AnswerForm>& form) {
  if (!form) return std::shared_ptr<Constraint>();
  return compiler.compile(*form);
}

}  // namespace s3d::cli
