#include <algorithm>

#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/text_functions.h"

namespace s3d::jinja {
namespace {

// -1, 0 or 1; 2: not a number.
int three_way(double a, double b) {
  return a < b ? -1 : a > b ? 1 : a == b ? 0 : 2;
}

Result<int> order(const Value& a, const Value& b, Budget& budget);

// The first difference decides, then the length.
Result<int> order_lists(const List& a, const List& b, Budget& budget) {
  const size_t common = std::min(a.items.size(), b.items.size());
  for (size_t i = 0; i < common; ++i) {
    if (equal(a.items[i], b.items[i], budget)) continue;
    return order(a.items[i], b.items[i], budget);
  }
  return three_way(static_cast<double>(a.items.size()), static_cast<double>(b.items.size()));
}

Result<int> order(const Value& a, const Value& b, Budget& budget) {
  budget.take_steps(1);
  if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int() ? 1 : 0;
  if (a.is_number() && b.is_number()) return three_way(a.as_double(), b.as_double());
  if (a.is_text() && b.is_text()) {
    const int sign = a.as_text().view().compare(b.as_text().view());  // order of bytes = order of code points
    return sign < 0 ? -1 : sign > 0 ? 1 : 0;
  }
  const bool lists = a.is_list() && b.is_list() && a.as_list().kind == b.as_list().kind &&
                     (a.as_list().kind == ListKind::kList || a.as_list().kind == ListKind::kTuple);
  if (lists) return order_lists(a.as_list(), b.as_list(), budget);
  for (const Value* v : {&a, &b}) {
    if (v->is_undefined()) return Error{v->why_undefined()};
  }
  return Error{"cannot order a " + std::string(a.type_name()) + " and a " + std::string(b.type_name())};
}

Result<bool> contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is_text()) {
    if (!item.is_text()) return Error{"'in' a text needs a text, found a " + std::string(item.type_name())};
    pay_for(container, budget);
    return find_bytes(container.as_text().view(), item.as_text().view(), 0) != std::string_view::npos;
  }
  if (container.is_dict()) {
    if (!hashable(item)) return Error{"a " + std::string(item.type_name()) + " cannot be a key"};
    return container.as_dict().find(item) != nullptr;
  }
  if (container.is_list() && container.as_list().kind != ListKind::kGenerator) {
    const auto& items = container.as_list().items;
    return std::any_of(items.begin(), items.end(), [&](const Value& v) { return equal(v, item, budget); });
  }
  S3D_ASSIGN(const std::vector<Value> items, items_of(container, budget));
  return std::any_of(items.begin(), items.end(), [&](const Value& v) { return equal(v, item, budget); });
}

bool hashable_within(const Value& value, int& left) {
  if (--left < 0 || value.is_dict()) return false;
  if (!value.is_list()) return true;
  const List& list = value.as_list();
  if (list.kind == ListKind::kList || list.kind == ListKind::kView) return false;
  if (list.kind != ListKind::kTuple) return true;
  return std::all_of(list.items.begin(), list.items.end(), [&](const Value& v) { return hashable_within(v, left); });
}

}  // namespace

bool equal(const Value& a, const Value& b, Budget& budget) {
  constexpr uint64_t kMany = 1'000'000;
  uint64_t left = kMany;
  const bool result = equal(a, b, left);
  budget.take_steps(left == 0 ? budget.limits().steps + 1 : kMany - left);
  return result;
}

Result<bool> less(const Value& a, const Value& b, Budget& budget) {
  S3D_ASSIGN(const int sign, order(a, b, budget));
  return sign == -1;
}

Result<bool> compare(std::string_view op, const Value& a, const Value& b, Budget& budget) {
  if (op == "==") return equal(a, b, budget);
  if (op == "!=") return !equal(a, b, budget);
  if (op == "in") return contains(b, a, budget);
  if (op == "not in") {
    S3D_ASSIGN(const bool inside, contains(b, a, budget));
    return !inside;
  }
  S3D_ASSIGN(const int sign, order(a, b, budget));
  if (op == "<") return sign == -1;
  if (op == "<=") return sign == -1 || sign == 0;
  if (op == ">") return sign == 1;
  return sign == 1 || sign == 0;
}

bool hashable(const Value& value) {
  int left = 1000;  // parts of tuples in tuples: more than any key has
  return hashable_within(value, left);
}

}  // namespace s3d::jinja
