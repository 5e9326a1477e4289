#include <xgrammar/xgrammar.h>

#include <exception>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include "grammar/grammar.h"
#include "grammar/tags.h"
#include "grammar/xgrammar/matcher_constraint.h"
#include "grammar/xgrammar/patterns.h"
#include "grammar/xgrammar/warnings.h"

namespace s3d {
namespace {

// Tokens by their bytes; those without any (control tokens) can never come.
xgrammar::TokenizerInfo vocabulary_of(const Tokenizer& tokenizer) {
  std::vector<std::string> pieces;
  std::vector<int32_t> ends;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    pieces.push_back(tokenizer.is_end(id) ? std::string() : tokenizer.piece(id));
    if (tokenizer.is_end(id)) ends.push_back(id);
  }
  return {pieces, xgrammar::VocabType::RAW, tokenizer.vocab_size(), ends, /*add_prefix_space=*/false};
}

// xgrammar's errors are sentences for its developers; the last part says what is wrong.
Error error_of(const std::string& message) {
  return Error{"this form cannot be made into a grammar: " + message};
}

}  // namespace

struct GrammarCompiler::Impl {
  explicit Impl(const Tokenizer& t) : tokenizer(t) {}

  struct Entry {
    std::string tags;
    xgrammar::CompiledGrammar grammar;
  };

  Result<xgrammar::CompiledGrammar> find_or_compile(const std::string& tags);
  Result<xgrammar::CompiledGrammar> compile(const std::string& tags);

  const Tokenizer& tokenizer;
  std::mutex mutex;                                   // guards all below
  std::optional<xgrammar::GrammarCompiler> compiler;  // made when it is first needed: it sorts the whole vocabulary
  std::list<Entry> entries;                           // the last used first; at most kMaxCached
};

Result<xgrammar::CompiledGrammar> GrammarCompiler::Impl::find_or_compile(const std::string& tags) {
  const std::lock_guard lock(mutex);
  for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
    if (entry->tags != tags) continue;
    entries.splice(entries.begin(), entries, entry);
    return entry->grammar;
  }
  S3D_ASSIGN(xgrammar::CompiledGrammar grammar, compile(tags));
  entries.push_front({tags, grammar});
  if (entries.size() > kMaxCached) entries.pop_back();
  return grammar;
}

// What xgrammar only warns of would be left out of the grammar, so it is an error here.
Result<xgrammar::CompiledGrammar> GrammarCompiler::Impl::compile(const std::string& tags) {
  const XGrammarWarnings warnings;
  try {
    S3D_TRY(check_patterns(tags));
    if (!compiler) compiler.emplace(vocabulary_of(tokenizer), /*max_threads=*/1, /*cache_enabled=*/false);
    xgrammar::CompiledGrammar grammar = compiler->CompileStructuralTag(tags);
    if (!warnings.first().empty()) return error_of(warnings.first());
    return grammar;
  } catch (const std::exception& error) {
    return error_of(error.what());
  }
}

bool has_grammars() {
  return true;
}

GrammarCompiler::GrammarCompiler(const Tokenizer& tokenizer) : impl_(std::make_unique<Impl>(tokenizer)) {}
GrammarCompiler::GrammarCompiler(GrammarCompiler&&) noexcept = default;
GrammarCompiler& GrammarCompiler::operator=(GrammarCompiler&&) noexcept = default;
GrammarCompiler::~GrammarCompiler() = default;

Result<std::shared_ptr<Constraint>> GrammarCompiler::compile(const AnswerForm& form) {
  S3D_ASSIGN(const std::string tags, tags_of_form(form));
  S3D_ASSIGN(const xgrammar::CompiledGrammar grammar, impl_->find_or_compile(tags));
  return make_matcher_constraint(grammar, impl_->tokenizer);
}

}  // namespace s3d
