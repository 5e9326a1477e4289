#include "jinja/unicode.h"

#include <locale.h>
#include <wctype.h>

#include <algorithm>

namespace s3d::jinja {
namespace {

// glibc has C.UTF-8 built in. Where it is missing, only ASCII has upper and lower case.
locale_t utf8_locale() {
  static const locale_t kLocale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return kLocale;
}

// Bytes of the character that begins with `lead`; 0: no character does.
size_t length_by_lead(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return lead < 0xF5 ? 4 : 0;
}

bool shortest_and_real(char32_t code, size_t length) {
  if (length == 3) return code >= 0x800 && (code < 0xD800 || code > 0xDFFF);
  return length != 4 || (code >= 0x10000 && code <= 0x10FFFF);
}

struct Wide {
  char32_t from;
  const char* upper;
};

// Characters whose upper case is more than one character and that occur in running text.
constexpr Wide kWideUpper[] = {{0xDF, "SS"},   {0x149, "\u02BCN"}, {0x1F0, "J\u030C"},     {0xFB00, "FF"},
                               {0xFB01, "FI"}, {0xFB02, "FL"},     {0xFB03, "FFI"},        {0xFB04, "FFL"},
                               {0xFB05, "ST"}, {0xFB06, "ST"},     {0x587, "\u0535\u0552"}};

}  // namespace

Character first_character(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const Character broken{0xDC00U + at(0), 1};
  const size_t length = length_by_lead(at(0));
  if (length == 1) return {at(0), 1};
  if (length == 0 || length > bytes.size()) return broken;
  char32_t code = at(0) & (0xFFU >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0U) != 0x80U) return broken;
    code = code << 6 | (at(i) & 0x3FU);
  }
  return shortest_and_real(code, length) ? Character{code, length} : broken;
}

Character last_character(std::string_view bytes) {
  const size_t most = std::min<size_t>(4, bytes.size());
  for (size_t n = most; n > 1; --n) {
    const Character c = first_character(bytes.substr(bytes.size() - n));
    if (c.length == n) return c;
  }
  return first_character(bytes.substr(bytes.size() - 1));
}

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code >= 0xDC80 && code <= 0xDCFF) {
    put(code - 0xDC00);
  } else if (code < 0x800) {
    put(0xC0U | code >> 6);
    put(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    put(0xE0U | code >> 12);
    put(0x80U | (code >> 6 & 0x3FU));
    put(0x80U | (code & 0x3FU));
  } else {
    put(0xF0U | code >> 18);
    put(0x80U | (code >> 12 & 0x3FU));
    put(0x80U | (code >> 6 & 0x3FU));
    put(0x80U | (code & 0x3FU));
  }
}

size_t length_in_characters(std::string_view bytes) {
  size_t count = 0;
  for (size_t i = 0; i < bytes.size(); ++count) i += first_character(bytes.substr(i)).length;
  return count;
}

std::vector<size_t> character_offsets(std::string_view bytes) {
  std::vector<size_t> out;
  out.reserve(bytes.size() + 1);
  for (size_t i = 0; i < bytes.size(); i += first_character(bytes.substr(i)).length) out.push_back(i);
  out.push_back(bytes.size());
  return out;
}

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_end(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

char32_t simple_upper(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
  if (c == 0x131) return 'I';
  return utf8_locale() == nullptr ? c : static_cast<char32_t>(towupper_l(static_cast<wint_t>(c), utf8_locale()));
}

char32_t simple_lower(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  return utf8_locale() == nullptr ? c : static_cast<char32_t>(towlower_l(static_cast<wint_t>(c), utf8_locale()));
}

void append_upper(std::string& out, char32_t c) {
  if (c >= 0x80) {
    for (const Wide& wide : kWideUpper) {
      if (wide.from == c) {
        out += wide.upper;
        return;
      }
    }
  }
  append_utf8(out, simple_upper(c));
}

void append_lower(std::string& out, char32_t c) {
  if (c == 0x130) {
    out += "i\u0307";
  } else {
    append_utf8(out, simple_lower(c));
  }
}

bool is_upper(char32_t c) {
  return simple_lower(c) != c;
}

bool is_lower(char32_t c) {
  return simple_upper(c) != c || c == 0xDF;
}

bool is_letter(char32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return utf8_locale() != nullptr && iswalpha_l(static_cast<wint_t>(c), utf8_locale()) != 0;
}

bool is_digit(char32_t c) {
  return c >= '0' && c <= '9';
}

size_t space_prefix(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    const Character c = first_character(bytes.substr(i));
    if (!is_space(c.code)) break;
    i += c.length;
  }
  return i;
}

size_t space_suffix(std::string_view bytes) {
  size_t end = bytes.size();
  while (end > 0) {
    const Character c = last_character(bytes.substr(0, end));
    if (!is_space(c.code)) break;
    end -= c.length;
  }
  return bytes.size() - end;
}

}  // namespace s3d::jinja
