#include "text/utf8.h"

#include <cstdint>

namespace s3d {
namespace {

// What the first byte of a character says: how many bytes follow, and the range that the first of them must be in
// (narrower than 80..BF where overlong forms, surrogates and values above U+10FFFF would begin).
struct Lead {
  int following;
  uint8_t low;
  uint8_t high;
};

Lead lead_of(uint8_t byte) {
  if (byte < 0x80) return {0, 0, 0};
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {-1, 0, 0};
}

}  // namespace

Utf8Prefix utf8_prefix(std::string_view bytes) {
  const Lead lead = lead_of(static_cast<uint8_t>(bytes[0]));
  if (lead.following < 0) return {1, false, false};
  const size_t want = static_cast<size_t>(lead.following) + 1;
  for (size_t i = 1; i < want; ++i) {
    if (i == bytes.size()) return {i, false, true};
    const auto byte = static_cast<uint8_t>(bytes[i]);
    const uint8_t low = i == 1 ? lead.low : 0x80;
    const uint8_t high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) return {i, false, false};
  }
  return {want, true, false};
}

char32_t utf8_decode(std::string_view character) {
  const auto byte = [character](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(character[i])); };
  if (character.size() == 1) return byte(0);
  char32_t code = byte(0) & (0x7FU >> character.size());
  for (size_t i = 1; i < character.size(); ++i) code = code << 6U | (byte(i) & 0x3FU);
  return code;
}

bool utf8_valid(std::string_view bytes) {
  while (!bytes.empty()) {
    const Utf8Prefix prefix = utf8_prefix(bytes);
    if (!prefix.whole) return false;
    bytes.remove_prefix(prefix.length);
  }
  return true;
}

std::string utf8_replace_broken(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Prefix prefix = utf8_prefix(bytes);
    if (prefix.whole) {
      out += bytes.substr(0, prefix.length);
      bytes.remove_prefix(prefix.length);
    } else {
      out += kReplacementChar;
      bytes.remove_prefix(1);
    }
  }
  return out;
}

std::string utf8_encode(char32_t code_point) {
  const auto cp = static_cast<uint32_t>(code_point);
  const auto tail = [cp](int shift) { return static_cast<char>(0x80 | ((cp >> shift) & 0x3F)); };
  if (cp < 0x80) return {static_cast<char>(cp)};
  if (cp < 0x800) return {static_cast<char>(0xC0 | (cp >> 6)), tail(0)};
  if (cp < 0x10000) return {static_cast<char>(0xE0 | (cp >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | (cp >> 18)), tail(12), tail(6), tail(0)};
}

}  // namespace s3d
