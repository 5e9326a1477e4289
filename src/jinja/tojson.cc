#include "jinja/tojson.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "jinja/python_text.h"
#include "jinja/unicode.h"

namespace s3d::jinja {
namespace {

using ValueKind = Value::Kind;

std::string unit(char32_t code) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(code));
  return buffer;
}

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_text(value);
}

class Writer {
 public:
  Writer(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  Status write(const Value& value, int depth) {
    if (!budget_.take_steps(1)) return Ok();  // the interpreter sees that the budget is spent
    switch (value.kind()) {
      case ValueKind::kText:
        text(value.as_text().view());
        return Ok();
      case ValueKind::kList:
        return list(value.as_list(), depth);
      case ValueKind::kDict:
        return dict(value.as_dict(), depth);
      default: {
        S3D_ASSIGN(const std::string word, scalar(value));
        put(word);
        return Ok();
      }
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void put(std::string_view piece) {
    if (budget_.take_bytes(piece.size())) out_ += piece;
  }

  static Result<std::string> scalar(const Value& value) {
    if (value.is_none()) return std::string("null");
    if (value.is(ValueKind::kBool)) return std::string(value.as_bool() ? "true" : "false");
    if (value.is(ValueKind::kInt)) return std::to_string(value.as_int());
    if (value.is(ValueKind::kFloat)) return json_float(value.as_double());
    if (value.is_undefined()) return Error{value.why_undefined() + ", and JSON has no form for that"};
    return Error{"JSON has no form for a " + std::string(value.type_name())};
  }

  void text(std::string_view bytes) {
    std::string quoted = "\"";
    for (size_t i = 0; i < bytes.size();) {
      const Character c = first_character(bytes.substr(i));
      i += c.length;
      character(quoted, c.code);
    }
    put(quoted + '"');
  }

  void character(std::string& out, char32_t c) const {
    static constexpr std::string_view kFrom = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kTo = "\"\\nrtfb";
    const size_t known = c < 0x80 ? kFrom.find(static_cast<char>(c)) : std::string_view::npos;
    if (known != std::string_view::npos) {
      out += '\\';
      out += kTo[known];
    } else if (c < 0x20 || (style_.ensure_ascii && c >= 0x7F && c < 0x10000)) {
      out += unit(c);
    } else if (style_.ensure_ascii && c >= 0x10000) {
      out += unit(0xD800 + ((c - 0x10000) >> 10));
      out += unit(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      append_utf8(out, c);
    }
  }

  void new_line(int depth) {
    if (!style_.indent) return;
    put("\n");
    for (int i = 0; i < depth; ++i) put(*style_.indent);
  }

  Status list(const List& list, int depth) {
    if (list.kind != ListKind::kList && list.kind != ListKind::kTuple) {
      return Error{"JSON has no form for a " + std::string(Value::list({}, list.kind).type_name()) +
                   ": put `| list` before tojson"};
    }
    if (list.items.empty()) {
      put("[]");
      return Ok();
    }
    put("[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) put(style_.item_separator);
      new_line(depth + 1);
      S3D_TRY(write(list.items[i], depth + 1));
    }
    new_line(depth);
    put("]");
    return Ok();
  }

  Status dict(const Dict& dict, int depth) {
    if (dict.empty()) {
      put("{}");
      return Ok();
    }
    std::vector<const Dict::Entry*> entries;
    for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
    if (style_.sort_keys) S3D_TRY(sort(entries));
    put("{");
    bool first = true;
    for (const Dict::Entry* entry : entries) {
      if (!first) put(style_.item_separator);
      first = false;
      new_line(depth + 1);
      S3D_TRY(key(entry->first));
      put(style_.key_separator);
      S3D_TRY(write(entry->second, depth + 1));
    }
    new_line(depth);
    put("}");
    return Ok();
  }

  static Status sort(std::vector<const Dict::Entry*>& entries) {
    const auto all = [&](auto test) {
      return std::all_of(entries.begin(), entries.end(), [&](const Dict::Entry* e) { return test(e->first); });
    };
    if (all([](const Value& key) { return key.is_text(); })) {
      std::stable_sort(entries.begin(), entries.end(), [](const Dict::Entry* a, const Dict::Entry* b) {
        return a->first.as_text().view() < b->first.as_text().view();
      });
    } else if (all([](const Value& key) { return key.is_number(); })) {
      std::stable_sort(entries.begin(), entries.end(), [](const Dict::Entry* a, const Dict::Entry* b) {
        return a->first.as_double() < b->first.as_double();
      });
    } else {
      return Error{"keys of different types cannot be sorted"};
    }
    return Ok();
  }

  Status key(const Value& key) {
    if (key.is_text()) {
      text(key.as_text().view());
      return Ok();
    }
    if (!key.is_none() && !key.is_number()) {
      return Error{"JSON keys must be texts, numbers, booleans or none, found a " + std::string(key.type_name())};
    }
    S3D_ASSIGN(const std::string word, scalar(key));
    text(word);
    return Ok();
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string out_;
};

}  // namespace

Result<std::string> to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  Writer writer(style, budget);
  S3D_TRY(writer.write(value, 0));
  return writer.take();
}

}  // namespace s3d::jinja
