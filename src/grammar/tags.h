// Forms in xgrammar's language of structural tags. Internal to this folder.
#pragma once

#include <string>

#include "base/result.h"
#include "grammar/grammar.h"

namespace s3d {

// All of a form in one text of JSON. Errors: those of GrammarCompiler::compile but for what only xgrammar finds.
Result<std::string> tags_of_form(const AnswerForm& form);

}  // namespace s3d
