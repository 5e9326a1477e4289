#include "grammar/regex.h"

#include <gtest/gtest.h>

#include <string>

#include "grammar/gbnf.h"

namespace s3d {
namespace {

std::string grammar(const std::string& pattern) {
  const auto made = gbnf_of_regex(pattern);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  if (!made.ok()) return "";
  EXPECT_TRUE(ebnf_of_gbnf(*made).ok()) << pattern;
  return *made;
}

TEST(Regex, BecomesAGrammar) {
  EXPECT_EQ(grammar("^a$"), "root ::= (\"\\U00000061\" )\n");
  EXPECT_EQ(grammar("a|(?:b+?)"), "root ::= (\"\\U00000061\"  | (\"\\U00000062\"+ ) )\n");
  EXPECT_EQ(grammar("[^a-c\\d]{2,}"), "root ::= ([^\\U00000061-\\U00000063\\U00000030-\\U00000039]{2,} )\n");
  EXPECT_EQ(grammar("\\u{1F600}\\x41"), "root ::= ([\\U0001f600] [\\U00000041] )\n");
  EXPECT_EQ(grammar(""), "root ::= (\"\")\n");
  EXPECT_EQ(grammar("(?<name>|a)"), "root ::= ((\"\" | \"\\U00000061\" ) )\n");
  EXPECT_EQ(grammar("."), "root ::= ([^\\U0000000a] )\n");
  EXPECT_EQ(grammar("[a-]"), "root ::= ([\\U00000061\\U0000002d] )\n");
}

TEST(Regex, ReadsWhatPeopleWrite) {
  for (const char* pattern :
       {"\\d{3}-\\d{4}", "(?P<user>[\\w.+-]+)@([\\w-]+\\.)+[a-z]{2,}", "\\S+\\s\\D\\W", "(yes|no|)", "é[à-ü]*",
        "a{3}b{2,5}", "^(red|green)$", "^a|b$", "[\\]\\[\\\\^]", "\\$\\d+(\\.\\d\\d)?", "[\\b\\n]"}) {
    grammar(pattern);
  }
}

TEST(Regex, SaysWhereItIsWrong) {
  const auto error = [](const std::string& pattern) {
    const auto made = gbnf_of_regex(pattern);
    return made.ok() ? "" : made.error().message;
  };
  EXPECT_EQ(error("ab)"), "the regular expression, at character 3: a ) without its (");
  for (const char* pattern :
       {"(a",      "[a",      "[]",    "*a",      "a**",   "a{",          "a{x}",    "a{3",   "a{3,2}",
        "a{2001}", "{3}",     "a++",   "(?=a)",   "(?!a)", "(?<=a)b",     "(?<!a)b", "(?i)a", "\\1",
        "\\k<a>",  "\\bword", "\\pL",  "\\x4",    "\\u12", "\\u{110000}", "\\ud800", "\\q",   "a^b",
        "a$b",     "(^a)",    "[z-a]", "[\\d-z]", "a\\",   "[a\\",        "(?<name", "\xff",  "a|*"}) {
    EXPECT_NE(error(pattern), "") << pattern;
  }
  EXPECT_NE(error(std::string(1000, '(')).find("nested deeper"), std::string::npos);
  EXPECT_NE(error(std::string(5000, 'a')).find("4096"), std::string::npos);
  EXPECT_NE(error(std::string("a\0b", 3)).find("zero byte"), std::string::npos);
}

}  // namespace
}  // namespace s3d
