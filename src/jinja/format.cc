#include "jinja/format.h"

#include <algorithm>
#include <cstdio>

#include "jinja/operators.h"
#include "jinja/python_text.h"
#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

// How one value is to look; both ways of formatting are brought to this.
struct Spec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =, or 0: by the type
  char sign = '-';    // - + or blank
  bool alternate = false;
  bool comma = false;
  size_t width = 0;
  int precision = -1;
  char type = '\0';
};

constexpr size_t kMostWidth = 1'000'000;

// Digits at `i`, which moves behind them. Large numbers stay at a value that is refused later.
size_t read_number(std::string_view text, size_t& i) {
  size_t value = 0;
  while (i < text.size() && is_digit(static_cast<unsigned char>(text[i]))) {
    value = std::min<size_t>(value * 10 + static_cast<size_t>(text[i++] - '0'), kMostWidth + 1);
  }
  return value;
}

// sign + digits, filled up to the width.
Result<MarkedText> padded(const MarkedText& body, const Spec& spec, bool number, Budget& budget) {
  if (spec.width > kMostWidth) return Error{"the width of a format is too large"};
  const size_t length = length_in_characters(body.view());
  if (length >= spec.width || !budget.take_bytes(spec.width * spec.fill.size())) return body;
  const size_t missing = spec.width - length;
  const char align = spec.align != '\0' ? spec.align : number ? '>' : '<';
  const size_t before = align == '>' || align == '=' ? missing : align == '^' ? missing / 2 : 0;
  const size_t sign = align == '=' && !body.empty() && (body.bytes()[0] == '-' || body.bytes()[0] == '+') ? 1 : 0;
  MarkedText out = body.substr(0, sign);
  for (size_t i = 0; i < before; ++i) out.append(spec.fill, true);
  out.append(body, sign, body.size());
  for (size_t i = before; i < missing; ++i) out.append(spec.fill, true);
  return out;
}

std::string with_commas(const std::string& digits) {
  const size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
  std::string out = digits;
  for (size_t i = end; i > 3; i -= 3) out.insert(i - 3, ",");
  return out;
}

Result<std::string> integer_digits(int64_t value, const Spec& spec) {
  const uint64_t size = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  char buffer[96];
  const char* format = spec.type == 'x' ? "%llx" : spec.type == 'X' ? "%llX" : spec.type == 'o' ? "%llo" : "%llu";
  std::snprintf(buffer, sizeof buffer, format, static_cast<unsigned long long>(size));
  std::string digits = buffer;
  if (spec.alternate && (spec.type == 'x' || spec.type == 'X' || spec.type == 'o')) {
    digits = std::string("0") + spec.type + digits;
  }
  return digits;
}

Result<std::string> float_digits(double value, const Spec& spec) {
  if (spec.precision > 500) return Error{"the precision of a format is too large"};
  if (spec.type == '\0' && spec.precision < 0) return float_text(value < 0 ? -value : value);
  const char type = spec.type == '\0' || spec.type == '%' ? (spec.type == '%' ? 'f' : 'g') : spec.type;
  const std::string format = std::string("%.*") + type;
  const double shown = (value < 0 ? -value : value) * (spec.type == '%' ? 100 : 1);
  char buffer[1024];
  std::snprintf(buffer, sizeof buffer, format.c_str(), spec.precision < 0 ? 6 : spec.precision, shown);
  return std::string(buffer) + (spec.type == '%' ? "%" : "");
}

Result<MarkedText> format_number(const Value& value, const Spec& spec, Budget& budget) {
  const bool as_float = value.is(Value::Kind::kFloat) ||
                        (spec.type != '\0' && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos);
  const bool negative = as_float ? value.as_double() < 0 : value.as_int() < 0;
  S3D_ASSIGN(std::string digits,
             as_float ? float_digits(value.as_double(), spec) : integer_digits(value.as_int(), spec));
  if (spec.comma) digits = with_commas(digits);
  if (negative) {
    digits.insert(0, "-");
  } else if (spec.sign != '-') {
    digits.insert(0, 1, spec.sign);
  }
  return padded(MarkedText(std::move(digits), true), spec, true, budget);
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
    Spec spec = flags(text, i);
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

  static Spec flags(std::string_view text, size_t& i) {
    Spec spec;
    spec.align = '>';
    for (; i < text.size() && std::string_view("-+ #0").find(text[i]) != std::string_view::npos; ++i) {
      if (text[i] == '-') spec.align = '<';
      if (text[i] == '+' || (text[i] == ' ' && spec.sign != '+')) spec.sign = text[i];
      if (text[i] == '#') spec.alternate = true;
      if (text[i] == '0' && spec.align != '<') spec.fill = "0";
    }
    if (spec.fill == "0") spec.align = '=';
    spec.width = read_number(text, i);
    if (i < text.size() && text[i] == '.') spec.precision = static_cast<int>(read_number(text, ++i));
    return spec;
  }

  Result<MarkedText> converted(const Value& value, Spec spec) {
    if (spec.type == 's' || spec.type == 'r' || spec.type == 'c') {
      spec.fill = " ";
      if (spec.align == '=') spec.align = '>';
      if (spec.type == 'r') return format_text({repr(value, budget_), false}, spec, budget_);
      return format_text(to_text(value, budget_), spec, budget_);
    }
    if (std::string_view("diuxXoeEfFgG").find(spec.type) == std::string_view::npos) {
      return Error{std::string("the format has an unknown conversion %") + spec.type};
    }
    if (!value.is_number()) {
      return Error{std::string("%") + spec.type + " needs a number, found a " + std::string(value.type_name())};
    }
    const bool whole = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (whole) spec.type = 'd';
    const bool cut = whole && !value.is_integral();
    return format_number(cut ? Value::integer(static_cast<int64_t>(value.as_double())) : value, spec, budget_);
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
    std::string_view name = inside.substr(0, colon);
    char conversion = '\0';
    if (name.size() >= 2 && name[name.size() - 2] == '!') {
      conversion = name.back();
      name.remove_suffix(2);
    }
    S3D_ASSIGN(const Value value, lookup(name));
    S3D_ASSIGN(const Spec spec, specification(colon < inside.size() ? inside.substr(colon + 1) : ""));
    if (conversion == 'r') {
      S3D_ASSIGN(const MarkedText piece, format_text({repr(value, budget_), false}, spec, budget_));
      out_.append(piece);
      return Ok();
    }
    const bool number = value.is(Value::Kind::kInt) || value.is(Value::Kind::kFloat);
    S3D_ASSIGN(const MarkedText piece, number&& conversion == '\0' && spec.type != 's'
                                           ? format_number(value, spec, budget_)
                                           : format_text(to_text(value, budget_), spec, budget_));
    out_.append(piece);
    return Ok();
  }

  // {0.name[key]}: the first part is an argument, the others are looked up in it.
  Result<Value> lookup(std::string_view name) {
    size_t i = std::min(name.find_first_of(".["), name.size());
    S3D_ASSIGN(Value value, argument(name.substr(0, i)));
    while (i < name.size()) {
      const bool attribute = name[i] == '.';
      const size_t end = attribute ? std::min(name.find_first_of(".[", i + 1), name.size()) : name.find(']', i);
      if (end == std::string_view::npos) return Error{"the format has a lone bracket"};
      const std::string part(name.substr(i + 1, end - i - 1));
      const bool digits =
          !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
      S3D_ASSIGN(value, attribute ? attribute_of(value, part)
                                  : item_of(value, digits ? Value::integer(std::stoll(part)) : Value::trusted(part)));
      i = attribute ? end : end + 1;
    }
    return value;
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
    return Error{"the format names '" + std::string(name) + "', which was not given"};
  }

  static Result<Spec> specification(std::string_view text) {
    Spec spec;
    size_t i = 0;
    const auto is_align = [&](size_t at) {
      return at < text.size() && std::string_view("<>^=").find(text[at]) != std::string_view::npos;
    };
    const size_t first = text.empty() ? 0 : first_character(text).length;
    if (first > 0 && is_align(first)) {
      spec.fill = text.substr(0, first);
      spec.align = text[first];
      i = first + 1;
    } else if (is_align(0)) {
      spec.align = text[i++];
    }
    if (i < text.size() && std::string_view("+- ").find(text[i]) != std::string_view::npos) spec.sign = text[i++];
    if (i < text.size() && text[i] == '#') spec.alternate = (++i, true);
    if (i < text.size() && text[i] == '0' && spec.align == '\0') {
      spec.fill = "0";
      spec.align = '=';
    }
    spec.width = read_number(text, i);
    if (i < text.size() && text[i] == ',') spec.comma = (++i, true);
    if (i < text.size() && text[i] == '.') spec.precision = static_cast<int>(read_number(text, ++i));
    if (i < text.size() && std::string_view("sdxXoeEfFgG%").find(text[i]) != std::string_view::npos)
      spec.type = text[i++];
    if (i < text.size()) return Error{"the format specification '" + std::string(text) + "' is not understood"};
    return spec;
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
