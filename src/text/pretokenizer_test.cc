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
  EXPECT_EQ(split("gpt-4o", "camelCase's/ 1234"), (Words{"camel", "Case's", "/", " ", "123", "4"}));
  EXPECT_EQ(split("tekken", "ABCdef 12"), (Words{"ABCdef", " ", "1", "2"}));
  EXPECT_EQ(split("qwen35", "ka\u093F x"), (Words{"ka\u093F", " x"}));
  EXPECT_EQ(split("qwen2", "ka\u093F x"), (Words{"ka", "\u093F", " x"}));
  EXPECT_EQ(split("deepseek-llm", "ab  12\n!x\u4E2D"), (Words{"ab", "  ", "12", "\n", "!", "x", "\u4E2D"}));
  EXPECT_EQ(split("deepseek-coder", "ab 12"), (Words{"ab", " ", "1", "2"}));
  EXPECT_EQ(split("deepseek-v3", "@ab 1234\u4E2Dc"), (Words{"@ab", " ", "123", "4", "\u4E2D", "c"}));
}

TEST(PreTokenizer, WhiteSpaceIsUnicodes) {
  EXPECT_EQ(split("gpt-2", "a\u3000\u3000b"), (Words{"a", "\u3000", "\u3000", "b"}));
  EXPECT_EQ(split("gpt-2", "\u180E!"), (Words{"\u180E!"}));  // a format character since Unicode 6.3
}

TEST(PreTokenizer, LosesNothingInLongRuns) {
  for (const char* name : {"gpt-2", "smollm", "default", "llama-bpe", "qwen2", "qwen35", "gpt-4o", "tekken",
                           "deepseek-llm", "deepseek-coder", "deepseek-v3"}) {
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

// Names as llama.cpp maps them to one another.
TEST(PreTokenizer, OtherNamesMeanTheSame) {
  const std::string text = "I'll buy 12345 caf\u00E9s\n\n  at fooBar/x's \u4E2D\u6587 !!";
  const auto same = [&](std::string_view a, std::string_view b) { EXPECT_EQ(split(a, text), split(b, text)) << a; };
  for (const char* name : {"llama3", "llama-v3", "falcon3", "pixtral", "lfm2", "smaug-bpe", "dbrx", "glm4"}) {
    same(name, "llama-bpe");
  }
  for (const char* name : {"deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan"}) same(name, "qwen2");
  for (const char* name : {"command-r", "starcoder", "refact", "exaone"}) same(name, "smollm");
  for (const char* name : {"llama4", "minimax-m2"}) same(name, "gpt-4o");
  for (const char* name : {"olmo", "mpt", "phi-2"}) same(name, "gpt-2");
  same("hunyuan-dense", "deepseek-v3");
}

TEST(PreTokenizer, UnknownNameIsAnErrorThatListsTheKnown) {
  const auto words = PreTokenizer::create("nobody");
  ASSERT_FALSE(words.ok());
  EXPECT_NE(words.error().message.find("'nobody'"), std::string::npos);
  EXPECT_NE(words.error().message.find("smollm, qwen2, llama-bpe, gpt-2, default"), std::string::npos);
}

}  // namespace
}  // namespace s3d
