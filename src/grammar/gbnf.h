// GBNF, the language in which llama.cpp's users write grammars.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace s3d {

inline constexpr int kMaxGrammarRepeat = 2000;  // of one repetition, as llama.cpp has it

// The grammar in the form that xgrammar reads. Taken are rules (`name ::= …`, root first of all by name), alternatives,
// groups, literals, character classes, `.`, the repetitions * + ? {n} {n,} {n,m}, comments, and rules over several
// lines where an alternative or a group is open. Time and size: linear in the text.
//
// Errors, each with its line: what cannot be read; a rule that is missing, defined twice or can never end; no rule
// root; more than 64 KiB of text, repetitions above 2,000, or of repetitions, more than 100,000 things in all.
Result<std::string> ebnf_of_gbnf(std::string_view text);

}  // namespace s3d
