#include "text/stream.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace s3d {
namespace {

// All ways to cut a short text into pieces, as bit masks of the places where it is cut.
std::vector<std::string> cut(const std::string& text, unsigned mask) {
  std::vector<std::string> pieces(1);
  for (size_t i = 0; i < text.size(); ++i) {
    pieces.back() += text[i];
    if ((mask >> i & 1U) != 0) pieces.emplace_back();
  }
  return pieces;
}

TEST(Utf8Stream, GivesWholeCharactersHoweverTheTextIsCut) {
  const std::string text = "aé€😀z";
  for (unsigned mask = 0; mask < 1U << text.size(); ++mask) {
    Utf8Stream stream;
    std::string out;
    for (const std::string& piece : cut(text, mask)) {
      const std::string shown = stream.push(piece);
      if (!shown.empty()) {
        EXPECT_NE(static_cast<unsigned char>(shown[0]) & 0xC0U, 0x80U);
      }
      out += shown;
    }
    EXPECT_EQ(out, text);
    EXPECT_EQ(stream.finish(), "");
  }
}

TEST(Utf8Stream, ReplacesBrokenPartsHoweverTheTextIsCut) {
  const std::string text = "a\xE2\x82z\xFF\xF0\x9F\x98";
  for (unsigned mask = 0; mask < 1U << text.size(); ++mask) {
    Utf8Stream stream;
    std::string out;
    for (const std::string& piece : cut(text, mask)) out += stream.push(piece);
    EXPECT_EQ(out, "a\uFFFDz\uFFFD");
    EXPECT_EQ(stream.finish(), "\uFFFD");
    EXPECT_EQ(stream.finish(), "");
  }
}

TEST(StopMatcher, FindsTheFirstCompleteStopHoweverTheTextIsCut) {
  const std::string text = "one STOSTOP two";
  for (unsigned mask = 0; mask < 1U << text.size(); ++mask) {
    StopMatcher matcher({"STOP", "two", ""});
    std::string out;
    for (const std::string& piece : cut(text, mask)) out += matcher.push(piece);
    ASSERT_TRUE(matcher.stopped());
    EXPECT_EQ(matcher.stop(), "STOP");
    EXPECT_EQ(out + matcher.finish(), "one STO");
  }
}

TEST(StopMatcher, OverlappingStopsDoNotDependOnTheCut) {
  const std::string text = "xabcd";
  for (unsigned mask = 0; mask < 1U << text.size(); ++mask) {
    StopMatcher matcher({"abcd", "bc", "c"});
    std::string out;
    for (const std::string& piece : cut(text, mask)) out += matcher.push(piece);
    EXPECT_EQ(out, "xa");
  }
}

TEST(StopMatcher, ASpecialTokenIsNotShownButCanStop) {
  StopMatcher matcher({"<|end|>", "x<|a|>y"});
  EXPECT_EQ(matcher.push("one"), "one");
  EXPECT_EQ(matcher.push_special("<|other|>"), "");
  EXPECT_EQ(matcher.push("x"), "");
  EXPECT_EQ(matcher.push_special("<|a|>"), "");
  EXPECT_EQ(matcher.push("z"), "xz") << "what was held back, without the token";
  EXPECT_EQ(matcher.push_special("<|end|>"), "");
  EXPECT_TRUE(matcher.stopped());

  StopMatcher across({"ab"});
  EXPECT_EQ(across.push("a"), "");
  EXPECT_EQ(across.push_special("<|a|>"), "") << "no stop holds it";
  EXPECT_EQ(across.push("b"), "");
  EXPECT_TRUE(across.stopped()) << "the text that is shown would hold the stop string";
}

TEST(StopMatcher, HoldsBackAndReleases) {
  StopMatcher matcher({"###"});
  EXPECT_EQ(matcher.push("a#"), "a");
  EXPECT_EQ(matcher.push("#b"), "##b");
  EXPECT_EQ(matcher.push("##"), "");
  EXPECT_EQ(matcher.finish(), "##");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(StopMatcher({}).push("all"), "all");
}

}  // namespace
}  // namespace s3d
