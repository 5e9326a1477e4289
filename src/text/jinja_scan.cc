#include "text/jinja_scan.h"

#include <cstddef>

namespace s3d {
namespace {

bool is_quote(char c) {
  return c == '\'' || c == '"';
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

size_t skip_blanks(std::string_view text, size_t at) {
  while (at < text.size() && is_blank(text[at])) ++at;
  return at;
}

// Reads the string literal whose opening quote is text[at]; `at` is moved behind it.
std::string read_literal(std::string_view text, size_t& at) {
  const char quote = text[at++];
  std::string out;
  while (at < text.size() && text[at] != quote) {
    if (text[at] != '\\' || at + 1 == text.size()) {
      out += text[at++];
      continue;
    }
    const char escaped = text[at + 1];
    out += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped == 'r' ? '\r' : escaped;
    at += 2;
  }
  if (at < text.size()) ++at;
  return out;
}

// Where the next {{, {% or {# begins, or the end of the text.
size_t find_tag(std::string_view jinja, size_t at) {
  for (; at + 1 < jinja.size(); ++at) {
    const char kind = jinja[at + 1];
    if (jinja[at] == '{' && (kind == '{' || kind == '%' || kind == '#')) return at;
  }
  return jinja.size();
}

// Adds the literals of the tag that begins at `at`; returns where it ends.
size_t read_tag(std::string_view jinja, size_t at, std::vector<std::string>& texts) {
  const char kind = jinja[at + 1];
  const std::string_view close = kind == '{' ? "}}" : kind == '%' ? "%}" : "#}";
  at += 2;
  while (at < jinja.size()) {
    if (jinja.substr(at, 2) == close) return at + 2;
    if (kind != '#' && is_quote(jinja[at])) {
      texts.push_back(read_literal(jinja, at));
    } else {
      ++at;
    }
  }
  return at;
}

// Where `part` ends if it stands at `at`, npos if it does not.
size_t match_part(std::string_view text, size_t at, std::string_view part) {
  for (const char c : part) {
    if (at == text.size()) return std::string_view::npos;
    if (c != text[at] && !(c == '\'' && text[at] == '"')) return std::string_view::npos;
    ++at;
  }
  return at;
}

}  // namespace

std::vector<std::string> jinja_texts(std::string_view jinja) {
  std::vector<std::string> texts;
  size_t at = 0;
  while (at < jinja.size()) {
    const size_t tag = find_tag(jinja, at);
    if (tag > at) texts.emplace_back(jinja.substr(at, tag - at));
    at = tag < jinja.size() ? read_tag(jinja, tag, texts) : tag;
  }
  return texts;
}

bool jinja_has_sequence(std::string_view jinja, std::initializer_list<std::string_view> parts) {
  for (size_t start = 0; start < jinja.size(); ++start) {
    if (is_blank(jinja[start])) continue;
    size_t at = start;
    for (const std::string_view part : parts) {
      at = match_part(jinja, skip_blanks(jinja, at), part);
      if (at == std::string_view::npos) break;
    }
    if (at != std::string_view::npos) return true;
  }
  return false;
}

std::string jinja_assigned(std::string_view jinja, std::string_view variable) {
  for (size_t at = jinja.find("set "); at != std::string_view::npos; at = jinja.find("set ", at + 1)) {
    size_t i = match_part(jinja, skip_blanks(jinja, at + 4), variable);
    if (i == std::string_view::npos) continue;
    i = skip_blanks(jinja, i);
    if (i == jinja.size() || jinja[i] != '=') continue;
    i = skip_blanks(jinja, i + 1);
    if (i < jinja.size() && is_quote(jinja[i])) {
      std::string value = read_literal(jinja, i);
      if (!value.empty()) return value;
    }
  }
  return {};
}

}  // namespace s3d
