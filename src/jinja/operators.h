// Python's operators on values, and what iterating, indexing and asking for an attribute gives.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jinja/budget.h"
#include "jinja/value.h"

namespace s3d::jinja {

// Errors of all of these are Python's: a wrong type, a division by zero, a number beyond 64 bits, an undefined value.

// op: + - * / // % **
Result<Value> binary(std::string_view op, const Value& a, const Value& b, Budget& budget);
Result<Value> negative(const Value& value);

// op: == != < <= > >= in, not in
Result<bool> compare(std::string_view op, const Value& a, const Value& b, Budget& budget);
bool equal(const Value& a, const Value& b, Budget& budget);
// Python's a < b, for sorting.
Result<bool> less(const Value& a, const Value& b, Budget& budget);

// What a for loop walks through: items, keys of a dict, characters of a text. A generator is walked through once.
Result<std::vector<Value>> items_of(const Value& value, Budget& budget);

// len(value).
Result<int64_t> length_of(const Value& value);

// value.name: attributes and methods first, then items, as Jinja looks things up. Methods that would change a list or a
// dict are undefined, as in Jinja's sandbox.
Result<Value> attribute_of(const Value& value, const std::string& name);

// value[key]: items first, then attributes.
Result<Value> item_of(const Value& value, const Value& key);

// value[begin:end:step]; bounds may be none.
Result<Value> slice_of(const Value& value, const Value& begin, const Value& end, const Value& step, Budget& budget);

// Values that are paid for.
Value paid_text(MarkedText text, Budget& budget);
Value paid_list(std::vector<Value> items, Budget& budget, ListKind kind = ListKind::kList);

// Pays for looking through a value once.
void pay_for(const Value& value, Budget& budget);
// Pays for looking up a key: only texts have an index.
void pay_for_key(const Dict& dict, const Value& key, Budget& budget);

// Can be a key of a dict.
bool hashable(const Value& value);

// "<" -> "&lt;" and so on: what `safe` texts do to the texts added to them.
MarkedText html_escaped(const MarkedText& text);

}  // namespace s3d::jinja
