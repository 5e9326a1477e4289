// A program that was built without xgrammar.
#include "grammar/grammar.h"

namespace s3d {

struct GrammarCompiler::Impl {};

bool has_grammars() {
  return false;
}

GrammarCompiler::GrammarCompiler(const Tokenizer& /*tokenizer*/) {}
GrammarCompiler::GrammarCompiler(GrammarCompiler&&) noexcept = default;
GrammarCompiler& GrammarCompiler::operator=(GrammarCompiler&&) noexcept = default;
GrammarCompiler::~GrammarCompiler() = default;

Result<std::shared_ptr<Constraint>> GrammarCompiler::compile(const AnswerForm& /*form*/) {
  return Error{
      "this program was built without JSON schemas and grammars; to have them, run scripts/setup --grammar and build "
      "again (docs/install.md)"};
}

}  // namespace s3d
