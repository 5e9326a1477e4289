#include "text/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace s3d {
namespace {

// The code point of a character that utf8_prefix() calls whole.
char32_t decode(std::string_view c) {
  if (c.size() == 1) return static_cast<unsigned char>(c[0]);
  char32_t cp = static_cast<unsigned char>(c[0]) & (0xFFU >> (c.size() + 1));
  for (const char byte : c.substr(1)) cp = cp << 6 | (static_cast<unsigned char>(byte) & 0x3FU);
  return cp;
}

TEST(Utf8, EveryCodePointIsWholeButSurrogates) {
  for (char32_t cp = 0; cp <= 0x10FFFF; ++cp) {
    const std::string bytes = utf8_encode(cp);
    const Utf8Prefix prefix = utf8_prefix(bytes);
    const bool surrogate = cp >= 0xD800 && cp <= 0xDFFF;
    ASSERT_EQ(prefix.whole, !surrogate) << static_cast<uint32_t>(cp);
    if (!surrogate) {
      ASSERT_EQ(prefix.length, bytes.size());
      ASSERT_EQ(decode(bytes), cp);
    }
  }
}

TEST(Utf8, BeginningsAreIncomplete) {
  for (const char32_t cp : {U'é', U'€', U'😀', U'\U0010FFFF'}) {
    const std::string bytes = utf8_encode(cp);
    for (size_t n = 1; n < bytes.size(); ++n) {
      const Utf8Prefix prefix = utf8_prefix(bytes.substr(0, n));
      EXPECT_TRUE(prefix.incomplete);
      EXPECT_FALSE(prefix.whole);
      EXPECT_EQ(prefix.length, n);
    }
  }
}

TEST(Utf8, BrokenBytesAreReplacedOneByOne) {
  const std::string r(kReplacementChar);
  EXPECT_EQ(utf8_replace_broken("a\x80z"), "a" + r + "z");
  EXPECT_EQ(utf8_replace_broken("\xE2\x82x"), r + r + "x");
  EXPECT_EQ(utf8_replace_broken("\xC0\x80"), r + r);               // overlong
  EXPECT_EQ(utf8_replace_broken("\xED\xA0\x80"), r + r + r);       // surrogate
  EXPECT_EQ(utf8_replace_broken("\xF4\x90\x80\x80").size(), 12U);  // above U+10FFFF
  EXPECT_EQ(utf8_replace_broken("é€😀"), "é€😀");
  EXPECT_TRUE(utf8_valid(utf8_replace_broken("\xFF\xE2\x82\xF0\x9F\x98")));
}

}  // namespace
}  // namespace s3d
