// A constraint by one of xgrammar's matchers. Internal to this folder.
#pragma once

#include <xgrammar/compiler.h>

#include <memory>

#include "base/result.h"
#include "decode/constraint.h"
#include "text/tokenizer.h"

namespace s3d {

// `tokenizer` must live as long as the constraint. Error: xgrammar cannot make a matcher.
Result<std::shared_ptr<Constraint>> make_matcher_constraint(const xgrammar::CompiledGrammar& grammar,
                                                            const Tokenizer& tokenizer);

}  // namespace s3d
