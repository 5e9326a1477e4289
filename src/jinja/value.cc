#include "jinja/value.h"

#include <algorithm>

#include "base/check.h"

namespace s3d::jinja {
namespace {

constexpr size_t kIndexFrom = 9;        // below it, a walk through the entries is as fast
constexpr uint64_t kKeySteps = 10'000;  // of comparing two keys: more than any sane tuple has

bool equal_lists(const List& a, const List& b, uint64_t& steps) {
  if ((a.kind == ListKind::kTuple) != (b.kind == ListKind::kTuple) || a.items.size() != b.items.size()) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(),
                    [&](const Value& x, const Value& y) { return equal(x, y, steps); });
}

bool equal_dicts(const Dict& a, const Dict& b, uint64_t& steps) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.entries().begin(), a.entries().end(), [&](const Dict::Entry& entry) {
    const Value* other = b.find(entry.first);
    return other != nullptr && equal(entry.second, *other, steps);
  });
}

}  // namespace

Value Value::undefined(std::string why) {
  return Value(std::make_shared<const std::string>(std::move(why)));
}

Value Value::text(MarkedText text) {
  return Value(std::make_shared<const MarkedText>(std::move(text)));
}

Value Value::list(std::vector<Value> items, ListKind kind) {
  List list{std::move(items), kind};
  for (const Value& item : list.items) list.nesting = std::max(list.nesting, item.nesting() + 1);
  return Value(std::make_shared<const List>(std::move(list)));
}

Value Value::dict(Dict dict) {
  return Value(std::make_shared<const Dict>(std::move(dict)));
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): its parts are moved out, which clang-tidy does not see
Value Value::dict(std::vector<std::pair<std::string, Value>> entries) {
  Dict dict;
  for (auto& [key, value] : entries) dict.set(text(std::move(key)), std::move(value));
  return Value::dict(std::move(dict));
}

std::string Value::why_undefined() const {
  const auto* why = std::get_if<std::shared_ptr<const std::string>>(&state_);
  if (why == nullptr) return "";
  return *why == nullptr ? "the value is undefined" : **why;
}

bool Value::truthy() const {
  switch (kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return as_bool();
    case Kind::kInt:
      return as_int() != 0;
    case Kind::kFloat:
      return as_double() != 0;
    case Kind::kText:
      return !as_text().empty();
    case Kind::kList:
      return as_list().kind == ListKind::kGenerator || !as_list().items.empty();
    case Kind::kDict:
      return !as_dict().empty();
    default:
      return true;
  }
}

int Value::nesting() const {
  if (is_list()) return as_list().nesting;
  return is_dict() ? as_dict().nesting() : 0;
}

bool Value::same_object(const Value& other) const {
  return is_undefined() ? other.is_undefined() : state_ == other.state_;
}

std::string_view Value::type_name() const {
  static constexpr std::string_view kNames[] = {"Undefined", "NoneType", "bool",      "int",         "float",   "str",
                                                "list",      "dict",     "Namespace", "LoopContext", "function"};
  static constexpr std::string_view kLists[] = {"list", "tuple", "range", "dict view", "generator"};
  if (is_list()) return kLists[static_cast<size_t>(as_list().kind)];
  return kNames[static_cast<size_t>(kind())];
}

size_t Dict::index_of(std::string_view key) const {
  if (!by_text_.empty()) {
    const auto found = by_text_.find(std::string(key));
    return found == by_text_.end() ? kNone : found->second;
  }
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].first.is_text() && entries_[i].first.as_text().view() == key) return i;
  }
  return kNone;
}

size_t Dict::index_of(const Value& key) const {
  if (key.is_text()) return index_of(key.as_text().view());
  for (size_t i = 0; i < entries_.size(); ++i) {
    uint64_t steps = kKeySteps;
    if (!entries_[i].first.is_text() && equal(entries_[i].first, key, steps)) return i;
  }
  return kNone;
}

const Value* Dict::find(std::string_view key) const {
  const size_t i = index_of(key);
  return i == kNone ? nullptr : &entries_[i].second;
}

const Value* Dict::find(const Value& key) const {
  const size_t i = index_of(key);
  return i == kNone ? nullptr : &entries_[i].second;
}

void Dict::set(Value key, Value value) {
  nesting_ = std::max({nesting_, value.nesting() + 1, key.nesting() + 1});
  const size_t i = index_of(key);
  if (i != kNone) {
    entries_[i].second = std::move(value);
    return;
  }
  entries_.emplace_back(std::move(key), std::move(value));
  if (entries_.size() < kIndexFrom) return;
  for (size_t n = by_text_.empty() ? 0 : entries_.size() - 1; n < entries_.size(); ++n) {
    if (entries_[n].first.is_text()) by_text_.emplace(entries_[n].first.as_text().bytes(), n);
  }
}

bool equal(const Value& a, const Value& b, uint64_t& steps) {
  if (steps == 0) return false;
  --steps;
  if (a.is_number() && b.is_number()) {
    return a.is_integral() && b.is_integral() ? a.as_int() == b.as_int() : a.as_double() == b.as_double();
  }
  if (a.kind() != b.kind()) return false;
  if (a.is_text()) return a.as_text().view() == b.as_text().view();
  if (a.same_object(b)) return true;
  if (a.is_list()) return equal_lists(a.as_list(), b.as_list(), steps);
  return a.is_dict() && equal_dicts(a.as_dict(), b.as_dict(), steps);
}

}  // namespace s3d::jinja
