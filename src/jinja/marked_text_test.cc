#include "jinja/marked_text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace s3d::jinja {
namespace {

TEST(MarkedText, JoinsAndCutsKeepMarks) {
  MarkedText text("ab", true);
  text.append("cd", false);
  text.append("ef", false);
  text.append("", true);
  text.append("g", true);
  EXPECT_EQ(text.bytes(), "abcdefg");
  EXPECT_EQ(text.spans(), (std::vector<Span>{{0, 2, true}, {2, 6, false}, {6, 7, true}}));
  EXPECT_EQ(text.substr(3, 7).spans(), (std::vector<Span>{{0, 3, false}, {3, 4, true}}));
  EXPECT_EQ(text.substr(2, 6).spans(), (std::vector<Span>{{0, 4, false}}));
  EXPECT_TRUE(text.substr(4, 4).spans().empty());
  EXPECT_TRUE(MarkedText().spans().empty());
}

// Against the plain way: one flag a byte.
TEST(MarkedText, EqualsAFlagForEachByte) {
  std::mt19937 random(1);
  const auto below = [&](size_t n) { return random() % n; };
  for (int round = 0; round < 300; ++round) {
    MarkedText text;
    std::string flags;
    for (int step = 0; step < 12; ++step) {
      if (below(3) == 0 && !flags.empty()) {  // a piece of itself behind it
        const size_t begin = below(flags.size());
        const size_t end = begin + below(flags.size() - begin + 1);
        const MarkedText whole = text;
        text.append(whole, begin, end);
        flags += std::string(flags, begin, end - begin);
      } else {
        const size_t length = below(4);
        const bool mark = below(2) == 0;
        text.append(std::string(length, 'x'), mark);
        flags.append(length, mark ? 'T' : 'D');
      }
    }
    ASSERT_EQ(text.size(), flags.size());
    for (size_t i = 0; i < flags.size(); ++i) ASSERT_EQ(text.from_template_at(i), flags[i] == 'T') << round << ' ' << i;
    size_t at = 0;
    for (const Span& span : text.spans()) {
      ASSERT_EQ(span.begin, at);
      ASSERT_LT(span.begin, span.end);
      at = span.end;
    }
    ASSERT_EQ(at, flags.size());
  }
}

}  // namespace
}  // namespace s3d::jinja
