// Python's two ways of putting values into a text: "%s" % x and "{}".format(x).
#pragma once

#include "base/result.h"
#include "jinja/budget.h"
#include "jinja/callable.h"
#include "jinja/marked_text.h"
#include "jinja/value.h"

namespace s3d::jinja {

// `values`: one value, a tuple of them, or a dict for %(name)s. Conversions: d i u s r f F e E g G x X o c %.
Result<Value> percent_format(const MarkedText& format, const Value& values, Budget& budget);

// Fields {}, {0}, {name}, {0.attribute[key]}, with !s and !r and the usual specifications ([fill]align, sign, 0, width,
// comma, precision, type).
Result<Value> brace_format(const MarkedText& format, const CallArguments& arguments, Budget& budget);

}  // namespace s3d::jinja
