#include "text/pretokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace s3d {
namespace {

using Words = std::vector<std::string_view>;

Words split(std::string_view name, std::string_view text) {
  const auto words = PreTokenizer::create(name);
  EXPECT_TRUE(words.ok());
  return words->split(text);
}

TEST(PreTokenizer, CutsAsItsNameSays) {
  EXPECT_EQ(split("gpt-2", "I've  123 a!?"), (Words{"I", "'ve", " ", " 123", " a", "!?"}));
  EXPECT_EQ(split("smollm", "x 12"), (Words{"x", " ", "1", "2"}));
  EXPECT_EQ(split("qwen2", "I'VE 12\n\n x"), (Words{"I", "'VE", " ", "1", "2", "\n\n", " x"}));
  EXPECT_EQ(split("llama-bpe", "12345 ok.\n"), (Words{"123", "45", " ok", ".\n"}));
  EXPECT_EQ(split("default", "a+b 12345"), (Words{"a", "+", "b", " ", "123", "45"}));
}

TEST(PreTokenizer, WhiteSpaceIsUnicodes) {
  EXPECT_EQ(split("gpt-2", "a\u3000\u3000b"), (Words{"a", "\u3000", "\u3000", "b"}));
  EXPECT_EQ(split("gpt-2", "\u180E!"), (Words{"\u180E!"}));  // a format character since Unicode 6.3
}

TEST(PreTokenizer, LosesNothingInLongRuns) {
  for (const std::string& name : PreTokenizer::known_names()) {
    for (const std::string unit : {" ", "\n", "a", "1", "!", " \n", "é", "' "}) {
      std::string text;
      while (text.size() < 1 << 18) text += unit;
      text += "x";
      std::string joined;
      for (const std::string_view word : split(name, text)) joined += word;
      EXPECT_TRUE(joined == text) << name << " '" << unit << "'";
    }
  }
}

TEST(PreTokenizer, UnknownNameIsAnErrorThatListsTheKnown) {
  const auto words = PreTokenizer::create("tekken");
  ASSERT_FALSE(words.ok());
  EXPECT_NE(words.error().message.find("'tekken'"), std::string::npos);
  EXPECT_NE(words.error().message.find("smollm, qwen2, llama-bpe, gpt-2, default"), std::string::npos);
}

}  // namespace
}  // namespace s3d
