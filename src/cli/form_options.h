// --json-schema and --grammar: the form that an answer must have.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "grammar/grammar.h"

namespace CLI {
class App;
}

namespace s3d::cli {

struct FormOptions {
  std::optional<std::string> json_schema;  // the schema itself
  std::string json_schema_file;            //
  std::string grammar;                     // in GBNF, the grammar itself
  std::string grammar_file;                //

  void add_to(CLI::App& command);

  // Nothing: answers may have any form. Errors: more than one of the options; a file that cannot be read.
  Result<std::optional<AnswerForm>> form() const;
};

// A new constraint for one answer, or null where there is no form. Errors: those of GrammarCompiler::compile().
Result<std::shared_ptr<Constraint>> constrain(GrammarCompiler& compiler, const std::optional<AnswerForm>& form);

}  // namespace s3d::cli
