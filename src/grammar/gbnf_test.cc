#include "grammar/gbnf.h"

#include <gtest/gtest.h>

#include <string>

namespace s3d {
namespace {

std::string error(const std::string& text) {
  const auto result = ebnf_of_gbnf(text);
  return result.ok() ? "" : result.error().message;
}

TEST(Gbnf, WritesCharactersByTheirCodes) {
  const auto ebnf = ebnf_of_gbnf("root ::= \"a\\n\\\"\\x41é\" [^a-z\\]-] .\n");
  ASSERT_TRUE(ebnf.ok()) << ebnf.error().message;
  EXPECT_EQ(*ebnf,
            "root ::= ((\"a\\U0000000a\\U00000022A\\U000000e9\" [^a-z\\U0000005d\\U0000002d] [^\\U00000000]))\n");
}

TEST(Gbnf, ReadsRulesOverSeveralLines) {
  const auto ebnf =
      ebnf_of_gbnf("# a comment\nroot ::= item (\n  \",\" item  # more\n)* |\n  \"none\"\n\nitem ::= [0-9]{1,3}\n");
  ASSERT_TRUE(ebnf.ok()) << ebnf.error().message;
  EXPECT_EQ(*ebnf, "r_item ::= ((([0-9]){1,3}))\nroot ::= ((r_item (((\"\\U0000002c\" r_item))){0,}) | (\"none\"))\n");
}

TEST(Gbnf, NamesTheLine) {
  EXPECT_EQ(error("root ::= \"a\"\nb ::= @"),
            "grammar, line 2: expected a literal, a class, a group or the name of a rule, found '@'");
  EXPECT_NE(error("root ::= \"a\n"), "");
  EXPECT_NE(error("root ::= b\n").find("line 1: rule 'b' is not defined"), std::string::npos);
  EXPECT_NE(error("root ::= \"a\"\n\nroot ::= \"b\"").find("line 3: rule 'root' is defined twice"), std::string::npos);
  EXPECT_NE(error("a ::= \"a\"").find("no rule 'root'"), std::string::npos);
  EXPECT_NE(error("root ::= \"a\" b\nb ::= \"b\" b").find("line 2: rule 'b' can never end"), std::string::npos);
  EXPECT_NE(error("root ::= [z-a]").find("below its beginning"), std::string::npos);
  EXPECT_NE(error("root ::= \"a\"{3,2}").find("below its first"), std::string::npos);
  EXPECT_NE(error("root ::= \"a\"{3001}").find("more than 2000"), std::string::npos);
  EXPECT_NE(error("root ::= (\"a\"{2000}){2000}").find("more than 100000"), std::string::npos);
  EXPECT_NE(error("root ::= \"\\q\"").find("unknown escape"), std::string::npos);
  EXPECT_NE(error("root ::= (\"a\"").find("expected )"), std::string::npos);
  EXPECT_NE(error("root \"a\"").find("expected ::="), std::string::npos);
  EXPECT_NE(error("root ::= <think>").find("'<think>'"), std::string::npos);
  EXPECT_NE(error("root ::= TagDispatch").find("'TagDispatch' is not defined"), std::string::npos);
  EXPECT_NE(error("root ::= \"\xff\"").find("UTF-8"), std::string::npos);
}

TEST(Gbnf, LimitsNesting) {
  EXPECT_NE(error("root ::= " + std::string(1000, '(')).find("nested deeper"), std::string::npos);
}

}  // namespace
}  // namespace s3d
