// The values that a template computes with: what Python has, cut down to what chat templates need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "jinja/marked_text.h"

namespace s3d::jinja {

class Value;
class Dict;
struct List;
struct Namespace;
struct LoopState;  // loop.h
struct Callable;   // callable.h

// What Python would have there. They differ in how they print and in what may be done with them.
enum class ListKind : uint8_t {
  kList,
  kTuple,
  kRange,
  kView,       // dict.items() and its kin: has a length, cannot be indexed
  kGenerator,  // of map, select, ...: no length, always true, and empty once it has been walked through
};

// Lists, texts and dicts are shared and never change; only a Namespace does, which belongs to one rendering. Copies are
// cheap. Thread rule: values without a Namespace (all that a caller can build) may be read by many threads.
class Value {
 public:
  enum class Kind : uint8_t {
    kUndefined,
    kNone,
    kBool,
    kInt,
    kFloat,
    kText,
    kList,
    kDict,
    kNamespace,
    kLoop,
    kCallable
  };

  Value() = default;  // undefined

  // `why`: what to say when it is used, "'x' is undefined".
  static Value undefined(std::string why);
  static Value none() { return Value(NoneTag{}); }
  static Value boolean(bool value) { return Value(value); }
  static Value integer(int64_t value) { return Value(value); }
  static Value number(double value) { return Value(value); }
  // Data: what a user or a document says. Never becomes a special token.
  static Value text(std::string utf8) { return text(MarkedText(std::move(utf8), false)); }
  // As if the template had written it: for bos_token and its kin.
  static Value trusted(std::string utf8) { return text(MarkedText(std::move(utf8), true)); }
  static Value text(MarkedText text);
  static Value list(std::vector<Value> items, ListKind kind = ListKind::kList);
  static Value dict(Dict dict);
  // Later entries win; the keys count as data.
  static Value dict(std::vector<std::pair<std::string, Value>> entries);

  static Value of(std::shared_ptr<Namespace> object) { return Value(std::move(object)); }
  static Value of(std::shared_ptr<LoopState> object) { return Value(std::move(object)); }
  static Value of(std::shared_ptr<const Callable> object) { return Value(std::move(object)); }

  Kind kind() const { return static_cast<Kind>(state_.index()); }
  bool is(Kind kind) const { return this->kind() == kind; }
  bool is_undefined() const { return is(Kind::kUndefined); }
  bool is_none() const { return is(Kind::kNone); }
  bool is_text() const { return is(Kind::kText); }
  bool is_list() const { return is(Kind::kList); }
  bool is_dict() const { return is(Kind::kDict); }
  bool is_integral() const { return is(Kind::kInt) || is(Kind::kBool); }  // as in Python, bool is a kind of int
  bool is_number() const { return is_integral() || is(Kind::kFloat); }

  // Each needs the right kind. as_int() also takes bool, as_double() any number.
  bool as_bool() const { return std::get<bool>(state_); }
  int64_t as_int() const { return is(Kind::kBool) ? int64_t{as_bool()} : std::get<int64_t>(state_); }
  double as_double() const { return is(Kind::kFloat) ? std::get<double>(state_) : static_cast<double>(as_int()); }
  const MarkedText& as_text() const { return *std::get<std::shared_ptr<const MarkedText>>(state_); }
  const List& as_list() const { return *std::get<std::shared_ptr<const List>>(state_); }
  const Dict& as_dict() const { return *std::get<std::shared_ptr<const Dict>>(state_); }
  Namespace& as_namespace() const { return *std::get<std::shared_ptr<Namespace>>(state_); }
  LoopState& as_loop() const { return *std::get<std::shared_ptr<LoopState>>(state_); }
  const Callable& as_callable() const { return *std::get<std::shared_ptr<const Callable>>(state_); }

  // Why an undefined value is undefined; empty for others.
  std::string why_undefined() const;

  // Python's bool(value).
  bool truthy() const;
  // Lists and dicts inside one another: 0 for a plain value, 1 for a list of plain values.
  int nesting() const;
  // Both are the same object (Python's `is`); plain values: the same kind and value.
  bool same_object(const Value& other) const;
  // Python's name of the type, for messages.
  std::string_view type_name() const;

 private:
  struct NoneTag {
    bool operator==(const NoneTag&) const = default;
  };
  using State =
      std::variant<std::shared_ptr<const std::string>, NoneTag, bool, int64_t, double,
                   std::shared_ptr<const MarkedText>, std::shared_ptr<const List>, std::shared_ptr<const Dict>,
                   std::shared_ptr<Namespace>, std::shared_ptr<LoopState>, std::shared_ptr<const Callable>>;

  template <typename T>
  explicit Value(T value) : state_(std::in_place_type<T>, std::move(value)) {}

  State state_;
};

struct List {
  std::vector<Value> items;
  ListKind kind = ListKind::kList;
  int nesting = 1;
  mutable bool walked = false;  // of a generator, which only one rendering sees
};

// Keeps the order in which keys were first set. A key is any plain value, or a tuple.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  int nesting() const { return nesting_; }

  // Null: not there.
  const Value* find(std::string_view key) const;
  const Value* find(const Value& key) const;
  void set(Value key, Value value);

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  size_t index_of(std::string_view key) const;
  size_t index_of(const Value& key) const;

  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> by_text_;  // from the ninth text key on
  int nesting_ = 1;
};

// namespace(...): the one thing that a template may change.
struct Namespace {
  Dict attributes;
};

// Python's ==. Stops early, with false, when `steps` of lists and dicts in one another are used up.
bool equal(const Value& a, const Value& b, uint64_t& steps);

}  // namespace s3d::jinja
