// Forms for answers: JSON, a JSON schema, a grammar, calls of tools.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "decode/constraint.h"
#include "text/tokenizer.h"

namespace s3d {

// A form that an answer must have. A value.
struct AnswerForm {
  enum class Kind : uint8_t {
    kJsonObject,  // any JSON object
    kJsonSchema,  // a value that the JSON schema `text` allows (grammar/json_schema.h)
    kGrammar,     // a text of the GBNF grammar `text` (grammar/gbnf.h)
    kRegex,       // a text that the regular expression `text` fits as a whole (grammar/regex.h)
    kTags,  // what `text` says in xgrammar's language of structural tags; for forms that this program makes itself
  };
  // Thoughts, which end with the text `think_end`, and white space may stand before the form.
  enum class Thoughts : uint8_t {
    kNone,
    kMayCome,  // they begin with the text `think_begin`, or do not come
    kAreOpen,  // the prompt has begun them
  };
  Kind kind = Kind::kJsonObject;
  std::string text = {};
  std::string or_tags = {};  // texts that these tags allow, as kTags has them, may come instead; empty: none
  Thoughts thoughts = Thoughts::kNone;
  std::string think_begin = "<think>";
  std::string think_end = "</think>";
};

// Whether this program was built with grammars; without them every compile() fails.
bool has_grammars();

// Turns forms into constraints over the tokens of one vocabulary, and keeps the last ones that were used.
//
// Tokens count by their bytes. Control tokens never come inside of a form; end tokens come where it may end.
// Runs of white space in JSON are at most kMaxWhitespace long, as small models fall into endless ones.
// Thread rule: any thread, any number at a time; they wait for one another.
class GrammarCompiler {
 public:
  static constexpr int kMaxWhitespace = 20;
  static constexpr int kMaxCached = 64;  // forms that are kept

  // `tokenizer` must live as long as the compiler and all its constraints.
  explicit GrammarCompiler(const Tokenizer& tokenizer);
  GrammarCompiler(GrammarCompiler&&) noexcept;
  GrammarCompiler& operator=(GrammarCompiler&&) noexcept;
  ~GrammarCompiler();

  // A new constraint, at the beginning of an answer. Errors: those of plain_json_schema(), ebnf_of_gbnf() and
  // gbnf_of_regex(); what only the making of the grammar finds (a pattern that cannot be served); a program built
  // without grammars, which says how to build one with them.
  Result<std::shared_ptr<Constraint>> compile(const AnswerForm& form);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace s3d
