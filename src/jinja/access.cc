// Iterating, indexing and looking up attributes.
#include <algorithm>

#include "jinja/among.h"
#include "jinja/callable.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

using ValueKind = Value::Kind;

constexpr std::string_view kTextMethods[] = {
    "capitalize",   "casefold",   "center",    "count",       "encode",    "endswith",     "expandtabs",   "find",
    "format",       "format_map", "index",     "isalnum",     "isalpha",   "isascii",      "isdecimal",    "isdigit",
    "isidentifier", "islower",    "isnumeric", "isprintable", "isspace",   "istitle",      "isupper",      "join",
    "ljust",        "lower",      "lstrip",    "maketrans",   "partition", "removeprefix", "removesuffix", "replace",
    "rfind",        "rindex",     "rjust",     "rpartition",  "rsplit",    "rstrip",       "split",        "splitlines",
    "startswith",   "strip",      "swapcase",  "title",       "translate", "upper",        "zfill"};
constexpr std::string_view kListMethods[] = {"copy", "count", "index"};
constexpr std::string_view kListChanges[] = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};
constexpr std::string_view kDictMethods[] = {"copy", "fromkeys", "get", "items", "keys", "values"};
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};

Value method(const Value& self, const std::string& name) {
  return Value::of(std::make_shared<const Callable>(Callable{Callable::Form::kMethod, name, self}));
}

Value missing(const Value& value, const std::string& name) {
  return Value::undefined("'" + shown_object(value) + "' has no attribute '" + name + "'");
}

Value unsafe(const Value& value, const std::string& name) {
  return Value::undefined("a template may not change a " + std::string(value.type_name()) + " (method " + name + ")");
}

Value loop_attribute(const Value& value, const std::string& name) {
  const LoopState& loop = value.as_loop();
  const int64_t index = static_cast<int64_t>(loop.index);
  const int64_t length = static_cast<int64_t>(loop.items.size());
  if (name == "index") return Value::integer(index + 1);
  if (name == "index0") return Value::integer(index);
  if (name == "revindex") return Value::integer(length - index);
  if (name == "revindex0") return Value::integer(length - index - 1);
  if (name == "first") return Value::boolean(index == 0);
  if (name == "last") return Value::boolean(index + 1 == length);
  if (name == "length") return Value::integer(length);
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "cycle") return method(value, name);
  if (name == "previtem") {
    return index == 0 ? Value::undefined("there is no previous item") : loop.items[loop.index - 1];
  }
  if (name == "nextitem") {
    return index + 1 == length ? Value::undefined("there is no next item") : loop.items[loop.index + 1];
  }
  return missing(value, name);
}

// Python's getattr(); nothing: no such attribute.
const Value* own_attribute(const Value& value, const std::string& name, Value& found) {
  const bool list = value.is_list();
  const bool tuple = list && value.as_list().kind != ListKind::kList;
  const bool reads = (value.is_text() && among(kTextMethods, name)) ||
                     (list && among(kListMethods, name) && !(tuple && name == "copy")) ||
                     (value.is_dict() && among(kDictMethods, name));
  const bool changes = (list && !tuple && among(kListChanges, name)) || (value.is_dict() && among(kDictChanges, name));
  if (reads) {
    found = method(value, name);
  } else if (changes) {
    found = unsafe(value, name);
  } else if (value.is(ValueKind::kLoop)) {
    found = loop_attribute(value, name);
  } else if (value.is(ValueKind::kNamespace)) {
    return value.as_namespace().attributes.find(name);
  } else if (value.is(ValueKind::kCallable) && name == "name" && value.as_callable().form == Callable::Form::kMacro) {
    found = Value::trusted(value.as_callable().name);
  } else {
    return nullptr;
  }
  return &found;
}

// Where Python's index lies among `size` items; nothing: outside.
bool wrap(int64_t& index, size_t size) {
  if (index < 0) index += static_cast<int64_t>(size);
  return index >= 0 && index < static_cast<int64_t>(size);
}

Value character_at(const Value& value, int64_t index) {
  const MarkedText& text = value.as_text();
  const std::vector<size_t> offsets = character_offsets(text.view());
  if (!wrap(index, offsets.size() - 1)) return Value::undefined("the text has no character " + std::to_string(index));
  const size_t i = static_cast<size_t>(index);
  return Value::text(text.substr(offsets[i], offsets[i + 1]));
}

// One bound of a slice, cut to what the sequence has.
Result<int64_t> bound(const Value& value, int64_t size, bool backwards, int64_t if_none) {
  if (value.is_none()) return if_none;
  if (!value.is_integral()) return Error{"a slice needs whole numbers, found a " + std::string(value.type_name())};
  const int64_t lowest = backwards ? -1 : 0;
  const int64_t highest = backwards ? size - 1 : size;
  const int64_t i = value.as_int();
  return i < 0 ? std::max(i < -size ? lowest : i + size, lowest) : std::min(i, highest);
}

// The indices that a slice picks.
Result<std::vector<size_t>> picked(const Value& begin, const Value& end, const Value& step, size_t count) {
  if (!step.is_none() && !step.is_integral()) return Error{"the step of a slice must be a whole number"};
  const int64_t by = step.is_none() ? 1 : step.as_int();
  if (by == 0) return Error{"the step of a slice cannot be zero"};
  const int64_t size = static_cast<int64_t>(count);
  S3D_ASSIGN(const int64_t first, bound(begin, size, by < 0, by < 0 ? size - 1 : 0));
  S3D_ASSIGN(const int64_t stop, bound(end, size, by < 0, by < 0 ? -1 : size));
  std::vector<size_t> out;
  for (int64_t i = first; by > 0 ? i < stop : i > stop;) {
    out.push_back(static_cast<size_t>(i));
    if (by >= size || by <= -size) break;  // the next would be outside; also keeps i + by from overflowing
    i += by;
  }
  return out;
}

Result<Value> text_slice(const MarkedText& text, const Value& begin, const Value& end, const Value& step,
                         Budget& budget) {
  const std::vector<size_t> offsets = character_offsets(text.view());
  S3D_ASSIGN(const std::vector<size_t> indices, picked(begin, end, step, offsets.size() - 1));
  budget.take_steps(offsets.size() / 64);
  MarkedText out;
  if (step.is_none() && !indices.empty()) {
    out = text.substr(offsets[indices.front()], offsets[indices.back() + 1]);
  } else {
    for (const size_t i : indices) out.append(text, offsets[i], offsets[i + 1]);
  }
  out.set_markup(text.markup());
  return paid_text(std::move(out), budget);
}

std::vector<Value> characters(const MarkedText& text) {
  std::vector<Value> out;
  const std::vector<size_t> offsets = character_offsets(text.view());
  for (size_t i = 0; i + 1 < offsets.size(); ++i) out.push_back(Value::text(text.substr(offsets[i], offsets[i + 1])));
  return out;
}

}  // namespace

Result<std::vector<Value>> items_of(const Value& value, Budget& budget) {
  std::vector<Value> out;
  if (value.is_list()) {
    const List& list = value.as_list();
    if (list.kind == ListKind::kGenerator && std::exchange(list.walked, true)) return out;
    if (!budget.take_steps(list.items.size() / 8)) return out;
    return list.items;
  }
  if (value.is_text()) {
    if (!budget.take_bytes(value.as_text().size() * sizeof(MarkedText))) return out;
    return characters(value.as_text());
  }
  if (value.is_dict()) {
    for (const auto& [key, item] : value.as_dict().entries()) out.push_back(key);
    budget.take_steps(out.size() / 8);
    return out;
  }
  if (value.is_undefined()) return out;
  if (value.is(ValueKind::kLoop)) return Error{"the variable loop cannot be walked through"};
  return Error{"a " + std::string(value.type_name()) + " cannot be walked through"};
}

Result<int64_t> length_of(const Value& value) {
  if (value.is_text()) return static_cast<int64_t>(length_in_characters(value.as_text().view()));
  if (value.is_dict()) return static_cast<int64_t>(value.as_dict().size());
  if (value.is_list() && value.as_list().kind != ListKind::kGenerator) {
    return static_cast<int64_t>(value.as_list().items.size());
  }
  if (value.is(ValueKind::kLoop)) return static_cast<int64_t>(value.as_loop().items.size());
  if (value.is_undefined()) return int64_t{0};
  return Error{"a " + std::string(value.type_name()) + " has no length"};
}

Result<Value> attribute_of(const Value& value, const std::string& name) {
  if (value.is_undefined()) return Error{value.why_undefined()};
  Value found;
  if (const Value* own = own_attribute(value, name, found)) return *own;
  if (value.is_dict()) {
    if (const Value* item = value.as_dict().find(name)) return *item;
  }
  return missing(value, name);
}

Result<Value> item_of(const Value& value, const Value& key) {
  if (value.is_undefined()) return Error{value.why_undefined()};
  if (value.is_dict()) {
    const Value* item = hashable(key) ? value.as_dict().find(key) : nullptr;
    if (item != nullptr) return *item;
  } else if (key.is_integral() && value.is_text()) {
    return character_at(value, key.as_int());
  } else if (key.is_integral() && value.is_list()) {
    const List& list = value.as_list();
    int64_t index = key.as_int();
    const bool indexed = list.kind != ListKind::kGenerator && list.kind != ListKind::kView;
    if (indexed && wrap(index, list.items.size())) return list.items[static_cast<size_t>(index)];
    return Value::undefined("the " + std::string(value.type_name()) + " has no element " +
                            std::to_string(key.as_int()));
  }
  if (!key.is_text()) return Value::undefined("the " + shown_object(value) + " has no such element");
  Value found;
  if (const Value* own = own_attribute(value, key.as_text().bytes(), found)) return *own;
  return missing(value, key.as_text().bytes());
}

Result<Value> slice_of(const Value& value, const Value& begin, const Value& end, const Value& step, Budget& budget) {
  if (value.is_undefined()) return Error{value.why_undefined()};
  if (value.is_text()) return text_slice(value.as_text(), begin, end, step, budget);
  const bool list =
      value.is_list() && value.as_list().kind != ListKind::kGenerator && value.as_list().kind != ListKind::kView;
  if (!list) return Error{"a " + std::string(value.type_name()) + " cannot be sliced"};
  const std::vector<Value>& items = value.as_list().items;
  S3D_ASSIGN(const std::vector<size_t> indices, picked(begin, end, step, items.size()));
  std::vector<Value> out;
  for (const size_t i : indices) out.push_back(items[i]);
  return paid_list(std::move(out), budget, value.as_list().kind);
}

}  // namespace s3d::jinja
