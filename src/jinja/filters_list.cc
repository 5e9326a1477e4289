// Filters on lists and dicts, and those that apply other filters and tests to each item.
#include <algorithm>

#include "jinja/among.h"
#include "jinja/functions.h"
#include "jinja/interpreter.h"
#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/text_functions.h"

namespace s3d::jinja {
namespace {

using In = Interpreter&;
using Self = const Value&;
using Args = const Bound&;

Value without_case(const Value& value) {
  return value.is_text() ? Value::text(lowercase(value.as_text())) : value;
}

// What a filter compares instead of the item: its attribute, without case.
Result<Value> key_of(const Value& item, const Value* attribute, bool case_sensitive) {
  Value key = item;
  if (attribute != nullptr && !attribute->is_none()) {
    S3D_ASSIGN(key, attribute_path(item, *attribute));
  }
  return case_sensitive ? key : without_case(key);
}

struct Keyed {
  Value key;
  Value item;
};

Result<std::vector<Keyed>> keyed(In in, const Value& value, const Value* attribute, bool case_sensitive) {
  S3D_ASSIGN(const std::vector<Value> items, items_of(value, in.budget()));
  std::vector<Keyed> out;
  for (const Value& item : items) {
    S3D_ASSIGN(Value key, key_of(item, attribute, case_sensitive));
    out.push_back({std::move(key), item});
  }
  return out;
}

// Stable; a merge sort, for std::sort must not meet errors while it compares.
Status sort_keyed(std::vector<Keyed>& items, bool reverse, Budget& budget) {
  std::vector<Keyed> merged(items.size());
  for (size_t width = 1; width < items.size(); width *= 2) {
    for (size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, items.size());
      const size_t end = std::min(begin + 2 * width, items.size());
      size_t a = begin;
      size_t b = middle;
      for (size_t out = begin; out < end; ++out) {
        bool take_b = a == middle;
        if (a < middle && b < end) {
          S3D_ASSIGN(take_b,
                     reverse ? less(items[a].key, items[b].key, budget) : less(items[b].key, items[a].key, budget));
        }
        merged[out] = std::move(items[take_b ? b++ : a++]);
      }
    }
    items.swap(merged);
  }
  return Ok();
}

Value items_only(std::vector<Keyed> keyed, Budget& budget) {
  std::vector<Value> out;
  for (Keyed& k : keyed) out.push_back(std::move(k.item));
  return paid_list(std::move(out), budget);
}

Result<Value> length(In, Self self, Args) {
  S3D_ASSIGN(const int64_t count, length_of(self));
  return Value::integer(count);
}

Result<Value> list(In in, Self self, Args) {
  S3D_ASSIGN(std::vector<Value> items, items_of(self, in.budget()));
  return paid_list(std::move(items), in.budget());
}

Result<Value> first(In in, Self self, Args) {
  S3D_ASSIGN(const std::vector<Value> items, items_of(self, in.budget()));
  return items.empty() ? Value::undefined("the sequence is empty and has no first item") : items.front();
}

Result<Value> last(In in, Self self, Args) {
  if (self.is_list() && self.as_list().kind == ListKind::kGenerator) {
    return Error{"a generator has no last item: put `| list` before it"};
  }
  S3D_ASSIGN(const std::vector<Value> items, items_of(self, in.budget()));
  return items.empty() ? Value::undefined("the sequence is empty and has no last item") : items.back();
}

Result<Value> join(In in, Self self, Args args) {
  S3D_ASSIGN(const std::vector<Value> items, items_of(self, in.budget()));
  const MarkedText separator = to_text(args.value_or(0, Value::trusted("")), in.budget());
  const Value* attribute = args.at(1) != nullptr && !args.at(1)->is_none() ? args.at(1) : nullptr;
  MarkedText out;
  for (size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (attribute != nullptr) {
      S3D_ASSIGN(item, attribute_path(item, *attribute));
    }
    if (!in.budget().take_bytes(separator.size())) break;
    if (i > 0) out.append(separator);
    out.append(to_text(item, in.budget()));
  }
  return Value::text(std::move(out));
}

Result<Value> default_value(In, Self self, Args args) {
  const bool missing = self.is_undefined() || (args.flag(1) && !self.truthy());
  return missing ? args.value_or(0, Value::trusted("")) : self;
}

Result<Value> items(In in, Self self, Args) {
  std::vector<Value> out;
  if (self.is_undefined()) return paid_list({}, in.budget(), ListKind::kGenerator);
  if (!self.is_dict()) return Error{"it needs a dict, found a " + std::string(self.type_name())};
  for (const auto& [key, value] : self.as_dict().entries()) {
    out.push_back(paid_list({key, value}, in.budget(), ListKind::kTuple));
  }
  return paid_list(std::move(out), in.budget(), ListKind::kGenerator);
}

Result<Value> dictsort(In in, Self self, Args args) {
  if (!self.is_dict()) return Error{"it needs a dict, found a " + std::string(self.type_name())};
  S3D_ASSIGN(const MarkedText by, args.text(1, MarkedText("key", true)));
  if (by.view() != "key" && by.view() != "value") return Error{"it sorts by \"key\" or \"value\""};
  std::vector<Keyed> pairs;
  for (const auto& [key, value] : self.as_dict().entries()) {
    S3D_ASSIGN(Value sort_key, key_of(by.view() == "key" ? key : value, nullptr, args.flag(0)));
    pairs.push_back({std::move(sort_key), paid_list({key, value}, in.budget(), ListKind::kTuple)});
  }
  S3D_TRY(sort_keyed(pairs, args.flag(2), in.budget()));
  return items_only(std::move(pairs), in.budget());
}

// "age,name": by the first attribute, then by the second.
Result<Value> sort(In in, Self self, Args args) {
  const Value* attribute = args.at(2);
  std::vector<Value> names;
  if (attribute != nullptr && attribute->is_text()) {
    const MarkedText comma(",", true);
    for (MarkedText& name : split(attribute->as_text(), &comma, -1, in.budget())) {
      names.push_back(Value::text(std::move(name)));
    }
  }
  if (names.size() < 2) names = {attribute != nullptr ? *attribute : Value::none()};
  S3D_ASSIGN(std::vector<Keyed> all, keyed(in, self, nullptr, true));
  for (Keyed& k : all) {
    std::vector<Value> keys;
    for (const Value& name : names) {
      S3D_ASSIGN(Value key, key_of(k.item, &name, args.flag(1)));
      keys.push_back(std::move(key));
    }
    k.key = names.size() == 1 ? keys[0] : paid_list(std::move(keys), in.budget());
  }
  S3D_TRY(sort_keyed(all, args.flag(0), in.budget()));
  return items_only(std::move(all), in.budget());
}

Result<Value> unique(In in, Self self, Args args) {
  S3D_ASSIGN(const std::vector<Keyed> all, keyed(in, self, args.at(1), args.flag(0)));
  Dict seen;
  std::vector<Value> out;
  for (const Keyed& k : all) {
    if (!hashable(k.key)) return Error{"a " + std::string(k.key.type_name()) + " cannot be compared by unique"};
    if (!k.key.is_text()) in.budget().take_steps(seen.size());
    if (in.budget().spent()) break;
    if (seen.find(k.key) != nullptr) continue;
    seen.set(k.key, Value::none());
    out.push_back(k.item);
  }
  return paid_list(std::move(out), in.budget(), ListKind::kGenerator);
}

template <bool largest>
Result<Value> extreme(In in, Self self, Args args) {
  S3D_ASSIGN(const std::vector<Keyed> all, keyed(in, self, args.at(1), args.flag(0)));
  if (all.empty()) return Value::undefined("the sequence is empty");
  const Keyed* best = &all[0];
  for (const Keyed& k : all) {
    S3D_ASSIGN(const bool better, largest ? less(best->key, k.key, in.budget()) : less(k.key, best->key, in.budget()));
    if (better) best = &k;
  }
  return best->item;
}

Result<Value> sum(In in, Self self, Args args) {
  S3D_ASSIGN(const std::vector<Keyed> all, keyed(in, self, args.at(0), true));
  Value total = args.value_or(1, Value::integer(0));
  for (const Keyed& k : all) {
    if (total.is_text()) return Error{"texts are joined by the filter join, not by sum"};
    S3D_ASSIGN(total, binary("+", total, k.key, in.budget()));
    if (in.budget().spent()) break;
  }
  return total;
}

Result<Value> reverse(In in, Self self, Args) {
  if (self.is_text()) return slice_of(self, Value::none(), Value::none(), Value::integer(-1), in.budget());
  S3D_ASSIGN(std::vector<Value> all, items_of(self, in.budget()));
  std::reverse(all.begin(), all.end());
  return paid_list(std::move(all), in.budget(), ListKind::kGenerator);
}

Result<Value> attr(In, Self self, Args args) {
  S3D_ASSIGN(const MarkedText name, args.text(0));
  if (self.is_dict()) return item_of(Value::dict(Dict()), Value::text(name));  // methods, but no items
  return attribute_of(self, name.bytes());
}

constexpr Row kListFilters[] = {
    {"length", "", 0, length},
    {"count", "", 0, length},
    {"list", "", 0, list},
    {"first", "", 0, first},
    {"last", "", 0, last},
    {"join", "d attribute", 0, join},
    {"default", "default_value boolean", 0, default_value},
    {"d", "default_value boolean", 0, default_value},
    {"items", "", 0, items},
    {"dictsort", "case_sensitive by reverse", 0, dictsort},
    {"sort", "reverse case_sensitive attribute", 0, sort},
    {"unique", "case_sensitive attribute", 0, unique},
    {"min", "case_sensitive attribute", 0, extreme<false>},
    {"max", "case_sensitive attribute", 0, extreme<true>},
    {"sum", "attribute start", 0, sum},
    {"reverse", "", 0, reverse},
    {"attr", "name", 1, attr},
};

constexpr std::string_view kSequenceFilters[] = {"map", "select", "reject", "selectattr", "rejectattr"};
constexpr std::string_view kUnsupported[] = {"batch",     "filesizeformat", "groupby",   "pprint",
                                             "random",    "slice",          "striptags", "truncate",
                                             "urlencode", "urlize",         "wordwrap",  "xmlattr"};

// One item of map(...): a filter by name, or an attribute.
Result<Value> mapped(In in, const Value& item, const CallArguments& arguments, const Bound* attribute) {
  if (attribute != nullptr) {
    return attribute_path(item, *attribute->at(0), attribute->at(1));
  }
  CallArguments rest = arguments;
  const Value name = rest.positional[0];
  rest.positional.erase(rest.positional.begin());
  return in.filter(name.as_text().bytes(), item, rest);
}

Result<Value> map(In in, const Value& value, const CallArguments& arguments) {
  std::optional<Bound> attribute;
  if (arguments.positional.empty()) {
    S3D_ASSIGN(attribute, bind("attribute default", 1, arguments));
  } else if (!arguments.positional[0].is_text()) {
    return Error{"it needs the name of a filter"};
  }
  S3D_ASSIGN(const std::vector<Value> items, items_of(value, in.budget()));
  std::vector<Value> out;
  for (const Value& item : items) {
    if (!in.budget().take_steps(1)) break;
    S3D_ASSIGN(Value one, mapped(in, item, arguments, attribute ? &*attribute : nullptr));
    out.push_back(std::move(one));
  }
  return paid_list(std::move(out), in.budget(), ListKind::kGenerator);
}

Result<bool> passes(In in, const Value& item, const CallArguments& arguments, size_t used) {
  if (arguments.positional.size() <= used) return item.truthy();
  if (!arguments.positional[used].is_text()) return Error{"it needs the name of a test"};
  CallArguments rest = arguments;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + static_cast<long>(used) + 1);
  return in.test(arguments.positional[used].as_text().bytes(), item, rest);
}

Result<Value> select(In in, const Value& value, const CallArguments& arguments, bool keep, bool by_attribute) {
  if (by_attribute && arguments.positional.empty()) return Error{"it needs the name of an attribute"};
  S3D_ASSIGN(const std::vector<Value> items, items_of(value, in.budget()));
  std::vector<Value> out;
  for (const Value& item : items) {
    if (!in.budget().take_steps(1)) break;
    Value tested = item;
    if (by_attribute) {
      S3D_ASSIGN(tested, attribute_path(item, arguments.positional[0]));
    }
    S3D_ASSIGN(const bool passed, passes(in, tested, arguments, by_attribute ? 1 : 0));
    if (passed == keep) out.push_back(item);
  }
  return paid_list(std::move(out), in.budget(), ListKind::kGenerator);
}

}  // namespace

std::span<const Row> list_filters() {
  return kListFilters;
}

bool is_filter(std::string_view name) {
  return find_row(text_filters(), name) != nullptr || find_row(kListFilters, name) != nullptr ||
         among(kSequenceFilters, name);
}

bool is_unsupported_filter(std::string_view name) {
  return among(kUnsupported, name);
}

std::optional<Result<Value>> apply_sequence_filter(Interpreter& interpreter, std::string_view name, const Value& value,
                                                   const CallArguments& arguments) {
  if (!among(kSequenceFilters, name)) return std::nullopt;
  if (!value.truthy()) return Result<Value>(paid_list({}, interpreter.budget(), ListKind::kGenerator));
  if (name == "map") return map(interpreter, value, arguments);
  return select(interpreter, value, arguments, name.starts_with("select"), name.ends_with("attr"));
}

Result<Value> attribute_path(const Value& value, const Value& path, const Value* otherwise) {
  const auto step = [&](const Value& object, const Value& key) -> Result<Value> {
    S3D_ASSIGN(Value found, item_of(object, key));
    const bool missing = found.is_undefined() && otherwise != nullptr && !otherwise->is_none();
    return missing ? *otherwise : found;
  };
  if (!path.is_text()) return step(value, path);
  Value out = value;
  const std::string& names = path.as_text().bytes();
  for (size_t i = 0; i <= names.size();) {
    const size_t end = std::min(names.find('.', i), names.size());
    const std::string part = names.substr(i, end - i);
    const bool digits = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    S3D_ASSIGN(out, step(out, digits ? Value::integer(std::stoll(part)) : Value::trusted(part)));
    i = end + 1;
  }
  return out;
}

}  // namespace s3d::jinja
