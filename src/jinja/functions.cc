#include "jinja/functions.h"

#include <algorithm>

#include "jinja/interpreter.h"

namespace s3d::jinja {

Result<int64_t> Bound::integer(size_t i, int64_t otherwise) const {
  if (at(i) == nullptr || at(i)->is_none()) return otherwise;
  if (at(i)->is_undefined()) return Error{at(i)->why_undefined()};
  if (!at(i)->is_integral()) return Error{"expected a whole number, found a " + std::string(at(i)->type_name())};
  return at(i)->as_int();
}

Result<MarkedText> Bound::text(size_t i, const MarkedText& otherwise) const {
  if (at(i) == nullptr || at(i)->is_none()) return otherwise;
  if (at(i)->is_undefined()) return Error{at(i)->why_undefined()};
  if (!at(i)->is_text()) return Error{"expected a text, found a " + std::string(at(i)->type_name())};
  return at(i)->as_text();
}

Result<Bound> bind(std::string_view parameters, size_t required, const CallArguments& arguments) {
  std::vector<std::string_view> names;
  for (size_t i = 0; i < parameters.size();) {
    const size_t end = std::min(parameters.find(' ', i), parameters.size());
    names.push_back(parameters.substr(i, end - i));
    i = end + 1;
  }
  if (arguments.positional.size() > names.size()) {
    return Error{"it takes at most " + std::to_string(names.size()) + " arguments, found " +
                 std::to_string(arguments.positional.size())};
  }
  Bound out;
  out.values_.assign(arguments.positional.begin(), arguments.positional.end());
  out.values_.resize(names.size());
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return Error{"it has no parameter '" + name + "'"};
    auto& slot = out.values_[static_cast<size_t>(found - names.begin())];
    if (slot) return Error{"the argument '" + name + "' is given twice"};
    slot = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!out.values_[i]) return Error{"it needs the argument '" + std::string(names[i]) + "'"};
  }
  return out;
}

const Row* find_row(std::span<const Row> rows, std::string_view name) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

Result<Value> call_row(Interpreter& interpreter, const Row& row, const Value& self, const CallArguments& arguments) {
  S3D_ASSIGN(const Bound bound, bind(row.parameters, row.required, arguments));
  return row.function(interpreter, self, bound);
}

}  // namespace s3d::jinja
