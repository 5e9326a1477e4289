// Python's two ways of putting values into a text: "%s" % x and "{}".format(x).
#pragma once

#include "base/result.h"
#include "jinja/budget.h"
#include "jinja/callable.h"
#include "jinja/marked_text.h"
#include "jinja/value.h"

namespace s3d::jinja {

// `values`: one value, a tuple of them, or a dict for %(name)s. Conversions: s r d i f %, with -, 0, width and
// precision. Others are errors.
Result<Value> percent_format(const MarkedText& format, const Value& values, Budget& budget);

// Fields {}, {0} and {name}, with specifications of 0, width and precision before s, d or f. Others are errors.
Result<Value> brace_format(const MarkedText& format, const CallArguments& arguments, Budget& budget);

}  // namespace s3d::jinja
