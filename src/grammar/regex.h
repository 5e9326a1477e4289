// Regular expressions as forms of answers.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace s3d {

// The GBNF grammar (grammar/gbnf.h) of all texts that the expression fits as a whole: ^ and $ may stand where a text
// begins and ends anyway. Taken are alternatives, groups (also with names or ?:), classes, `.` (all but line ends), the
// escapes \d \w \s (of ASCII) and their opposites, \n \r \t \f \v \xHH \uHHHH \u{H…}, and the repetitions * + ? {n}
// {n,} {n,m}, also with a ? behind them, which changes nothing. Time and size: linear in the text.
//
// Errors, each with the place: what cannot be read, and what grammars cannot serve: references back, looking around,
// word boundaries, flags, \p. More than 4,096 bytes, groups nested deeper than 50, repetitions above 2,000.
Result<std::string> gbnf_of_regex(std::string_view pattern);

}  // namespace s3d
