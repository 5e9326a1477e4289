#include "jinja/format.h"

#include <algorithm>
#include <cstdio>

#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

constexpr size_t kMostWidth = 1'000'000;

// How one value is to look; both ways of formatting are brought to this.
struct Spec {
  bool zeros = false;  // fill numbers with 0 behind the sign
  bool left = false;   // fill on the right
  size_t width = 0;
  int precision = -1;
  char type = '\0';  // s, d or f; 0: by the value
};

// Digits at `i`, which moves behind them. Large numbers stay at a value that is refused later.
size_t read_number(std::string_view text, size_t& i) {
  size_t value = 0;
  while (i < text.size() && is_digit(static_cast<unsigned char>(text[i]))) {
    value = std::min<size_t>(value * 10 + static_cast<size_t>(text[i++] - '0'), kMostWidth + 1);
  }
  return value;
}

// [0][width][.precision]
void read_sizes(std::string_view text, size_t& i, Spec& spec) {
  if (i < text.size() && text[i] == '0') spec.zeros = (++i, true);
  spec.width = read_number(text, i);
  if (i < text.size() && text[i] == '.') spec.precision = static_cast<int>(read_number(text, ++i));
}

Result<MarkedText> padded(const MarkedText& body, const Spec& spec, bool number, Budget& budget) {
  if (spec.width > kMostWidth) return Error{"the width of a format is too large"};
  const size_t length = length_in_characters(body.view());
  if (length >= spec.width || !budget.take_bytes(spec.width)) return body;
  const bool zeros = number && spec.zeros && !spec.left;
  const size_t sign = zeros && body.bytes().starts_with('-') ? 1 : 0;
  const MarkedText fill(std::string(spec.width - length, zeros ? '0' : ' '), true);
  MarkedText out = body.substr(0, spec.left ? body.size() : sign);
  out.append(fill);
  if (!spec.left) out.append(body, sign, body.size());
  return out;
}

Result<MarkedText> format_number(const Value& value, const Spec& spec, Budget& budget) {
  if (!value.is_number()) {
    return Error{std::string("a format of type ") + spec.type + " needs a number, found a " +
                 std::string(value.type_name())};
  }
  if (spec.precision > 500) return Error{"the precision of a format is too large"};
  if (spec.type != 'f') {
    const bool cut = !value.is_integral();
    return padded({std::to_string(cut ? static_cast<int64_t>(value.as_double()) : value.as_int()), true}, spec, true,
                  budget);
  }
  char buffer[1024];
  std::snprintf(buffer, sizeof buffer, "%.*f", spec.precision < 0 ? 6 : spec.precision, value.as_double());
  return padded({buffer, true}, spec, true, budget);
}

Result<MarkedText> format_text(const MarkedText& text, const Spec& spec, Budget& budget) {
  if (spec.precision < 0) return padded(text, spec, false, budget);
  const std::vector<size_t> offsets = character_offsets(text.view());
  const size_t count = std::min(offsets.size() - 1, static_cast<size_t>(spec.precision));
  return padded(text.substr(0, offsets[count]), spec, false, budget);
}

// "%s" % values, step by step.
class PercentFormatter {
 public:
  PercentFormatter(const MarkedText& format, const Value& values, Budget& budget)
      : format_(format), values_(values), budget_(budget) {
    const bool tuple = values.is_list() && values.as_list().kind == ListKind::kTuple;
    if (tuple) {
      positional_ = values.as_list().items;
    } else {
      positional_ = {values};
    }
    all_used_ = values.is_dict() || (values.is_list() && !tuple);  // Python takes them for mappings
  }

  Result<Value> run() {
    const std::string_view text = format_.view();
    for (size_t i = 0; i < text.size();) {
      const size_t percent = std::min(text.find('%', i), text.size());
      out_.append(format_, i, percent);
      i = percent;
      if (i < text.size()) S3D_TRY(conversion(text, i));
      if (budget_.spent()) break;
    }
    if (!all_used_ && next_ < positional_.size()) return Error{"not all values were used by the format"};
    return paid_text(std::move(out_), budget_);
  }

 private:
  Status conversion(std::string_view text, size_t& i) {
    ++i;
    Value value;
    const bool named = i < text.size() && text[i] == '(';
    if (named) {
      const size_t end = text.find(')', i);
      if (end == std::string_view::npos || !values_.is_dict()) return Error{"a format with %(name) needs a dict"};
      const Value* found = values_.as_dict().find(text.substr(i + 1, end - i - 1));
      if (found == nullptr) return Error{"the format names a key that is not there"};
      value = *found;
      i = end + 1;
    }
    Spec spec;
    spec.left = i < text.size() && text[i] == '-' && (++i, true);
    read_sizes(text, i, spec);
    if (i >= text.size()) return Error{"the format ends within a conversion"};
    spec.type = text[i++];
    if (spec.type == '%') {
      out_.append("%", true);
      return Ok();
    }
    if (!named) {
      if (next_ >= positional_.size()) return Error{"there are fewer values than the format needs"};
      value = positional_[next_++];
    }
    S3D_ASSIGN(const MarkedText piece, converted(value, spec));
    out_.append(piece);
    return Ok();
  }

  Result<MarkedText> converted(const Value& value, Spec spec) {
    if (spec.type == 's') return format_text(to_text(value, budget_), spec, budget_);
    if (spec.type == 'r') return format_text({repr(value, budget_), false}, spec, budget_);
    if (spec.type == 'i') spec.type = 'd';
    if (spec.type == 'd' || spec.type == 'f') return format_number(value, spec, budget_);
    return Error{std::string("the conversion %") + spec.type + " is not supported: s, r, d, i, f and % are"};
  }

  const MarkedText& format_;
  const Value& values_;
  Budget& budget_;
  std::vector<Value> positional_;
  size_t next_ = 0;
  bool all_used_ = false;
  MarkedText out_;
};

// "{}".format(...), step by step.
class BraceFormatter {
 public:
  BraceFormatter(const MarkedText& format, const CallArguments& arguments, Budget& budget)
      : format_(format), arguments_(arguments), budget_(budget) {}

  Result<Value> run() {
    const std::string_view text = format_.view();
    for (size_t i = 0; i < text.size();) {
      const size_t brace = std::min(text.find_first_of("{}", i), text.size());
      out_.append(format_, i, brace);
      i = brace;
      if (i >= text.size()) break;
      if (i + 1 < text.size() && text[i + 1] == text[i]) {
        out_.append(format_, i, i + 1);
        i += 2;
        continue;
      }
      const size_t end = text.find('}', i);
      if (text[i] == '}' || end == std::string_view::npos) return Error{"the format has a lone brace"};
      S3D_TRY(field(text.substr(i + 1, end - i - 1)));
      i = end + 1;
      if (budget_.spent()) break;
    }
    return paid_text(std::move(out_), budget_);
  }

 private:
  Status field(std::string_view inside) {
    const size_t colon = std::min(inside.find(':'), inside.size());
    S3D_ASSIGN(const Value value, argument(inside.substr(0, colon)));
    S3D_ASSIGN(const Spec spec, specification(colon < inside.size() ? inside.substr(colon + 1) : ""));
    S3D_ASSIGN(const MarkedText piece, spec.type == 'd' || spec.type == 'f'
                                           ? format_number(value, spec, budget_)
                                           : format_text(to_text(value, budget_), spec, budget_));
    out_.append(piece);
    return Ok();
  }

  Result<Value> argument(std::string_view name) {
    size_t i = 0;
    size_t index = name.empty() ? next_++ : read_number(name, i);
    if (i == name.size()) {
      if (index >= arguments_.positional.size()) return Error{"there are fewer values than the format needs"};
      return arguments_.positional[index];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    return Error{"the format names '" + std::string(name) +
                 "', which was not given (attributes, items and conversions of fields are not supported)"};
  }

  static Result<Spec> specification(std::string_view text) {
    Spec spec;
    size_t i = 0;
    read_sizes(text, i, spec);
    if (i < text.size() && std::string_view("sdf").find(text[i]) != std::string_view::npos) spec.type = text[i++];
    spec.left = spec.type != 'd' && spec.type != 'f';
    const bool typed = text.empty() || (spec.type != '\0' && (spec.type != 'd' || spec.precision < 0));
    if (i == text.size() && typed) return spec;
    return Error{"the format specification '" + std::string(text) +
                 "' is not supported: 0, a width, a precision and s, d or f are"};
  }

  const MarkedText& format_;
  const CallArguments& arguments_;
  Budget& budget_;
  size_t next_ = 0;
  MarkedText out_;
};

}  // namespace

Result<Value> percent_format(const MarkedText& format, const Value& values, Budget& budget) {
  return PercentFormatter(format, values, budget).run();
}

Result<Value> brace_format(const MarkedText& format, const CallArguments& arguments, Budget& budget) {
  return BraceFormatter(format, arguments, budget).run();
}

}  // namespace s3d::jinja
