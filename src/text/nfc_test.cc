#include "text/nfc.h"

#include <gtest/gtest.h>

#include <string>

namespace s3d {
namespace {

std::string nfc(std::string_view text) {
  return compose(text).value_or(std::string(text));
}

// Right values: Unicode's NormalizationTest.txt, and Python's unicodedata.
TEST(Nfc, ComposesLettersAndMarks) {
  EXPECT_EQ(nfc("cafe\u0301"), "caf\u00E9");
  EXPECT_EQ(nfc("\u1112\u1161\u11AB"), "\uD55C");             // Hangul
  EXPECT_EQ(nfc("Vie\u0323\u0302t"), "Vi\u1EC7t");            // two marks
  EXPECT_EQ(nfc("Vie\u0302\u0323t"), "Vi\u1EC7t");            // in either order
  EXPECT_EQ(nfc("\u212B \u2126 \u212A"), "\u00C5 \u03A9 K");  // signs that are letters
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093C");                   // excluded from composition
  EXPECT_EQ(nfc("\U0001D15E"), "\U0001D157\U0001D165");       // and beyond the basic plane
  EXPECT_EQ(nfc("\u0344"), "\u0308\u0301");
  EXPECT_EQ(nfc("a\u0315\u0300\u05AE\u0300b"), "\u00E0\u05AE\u0300\u0315b");
  EXPECT_EQ(nfc("\uFB01 \u00BD"), "\uFB01 \u00BD");  // no compatibility forms
}

TEST(Nfc, LeavesComposedTextAlone) {
  EXPECT_FALSE(compose("").has_value());
  EXPECT_FALSE(compose("plain ASCII\n").has_value());
  EXPECT_FALSE(compose("na\u00EFve \u02FF").has_value());
  for (const char* text : {"\u4E2D\u6587", "\uD55C\uAE00", "\u0915\u0940", "\U0001F44D\U0001F3FD\u200D", "\uFFFD"}) {
    EXPECT_EQ(nfc(text), text);
  }
}

// Half a million marks in the worst order: hours if each moved by one place at a time.
TEST(Nfc, LongRunsOfMarksTakeNoQuadraticTime) {
  std::string text = "a", expected = "\u00E1";
  constexpr int kPairs = 1 << 18;
  for (int i = 0; i < kPairs; ++i) text += "\u0301\u0323";
  const std::string composed = nfc(text);
  EXPECT_EQ(composed.substr(0, 5), "\u1EA1\u0323");  // the marks below come first
  EXPECT_EQ(composed.substr(composed.size() - 2), "\u0301");
  EXPECT_EQ(composed.size(), text.size());
}

}  // namespace
}  // namespace s3d
