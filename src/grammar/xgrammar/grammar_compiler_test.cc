// Masks against brute force, and texts of random walks against their schemas.
#include <gtest/gtest.h>

#include <random>
#include <regex>
#include <string>
#include <vector>

#include "base/index.h"
#include "grammar/grammar.h"
#include "grammar/schema_check.h"
#include "text/text_test_util.h"
#include "text/utf8.h"

namespace s3d {
namespace {

using Json = nlohmann::ordered_json;
using Kind = AnswerForm::Kind;

constexpr TokenId kEnd = 258;   // of tiny_bpe()
constexpr TokenId kUser = 260;  // "<user>", a token of the user's

// All bytes, and some longer tokens that cross the borders of what grammars speak of.
Tokenizer make_tokenizer() {
  TokenizerMetadata metadata = tiny_bpe();
  for (const char* text : {"{\"", "\":", "\",", "\"}", "bc", "cd", "1.", "12", "ĠĠ", "null", "true", "Ã©"}) {
    metadata.tokens.emplace_back(text);
    metadata.types.push_back(1);
  }
  return std::move(Tokenizer::create(std::move(metadata))).value();
}

class GrammarCompilerTest : public testing::Test {
 protected:
  std::shared_ptr<Constraint> make(const AnswerForm& form) {
    auto made = compiler_.compile(form);
    EXPECT_TRUE(made.ok()) << made.error().message;
    return made.ok() ? *made : nullptr;
  }
  std::string error(const AnswerForm& form) {
    const auto made = compiler_.compile(form);
    return made.ok() ? "" : made.error().message;
  }

  std::vector<bool> mask(Constraint& constraint) const {
    std::vector<uint32_t> words(usize((tokenizer_.vocab_size() + 31) / 32), 0xFFFFFFFFU);
    const bool some = constraint.allowed(words);
    std::vector<bool> bits;
    for (TokenId id = 0; id < tokenizer_.vocab_size(); ++id) {
      bits.push_back(!some || (words[usize(id / 32)] >> (id % 32) & 1U) != 0);
    }
    return bits;
  }

  static bool push_text(Constraint& constraint, const std::string& text, const Tokenizer& tokenizer) {
    for (const TokenId id : tokenizer.encode(text, false, false)) {
      if (!constraint.push(id)) return false;
    }
    return true;
  }

  Tokenizer tokenizer_ = make_tokenizer();
  GrammarCompiler compiler_{tokenizer_};
};

// Every text over `alphabet` that the expression matches, up to `longest` characters.
std::vector<std::string> language(const std::string& expression, const std::string& alphabet, size_t longest) {
  std::vector<std::string> all{""};
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].size() == longest) continue;
    for (const char c : alphabet) all.push_back(all[i] + c);
  }
  const std::regex regex(expression);
  std::erase_if(all, [&regex](const std::string& text) { return !std::regex_match(text, regex); });
  return all;
}

struct Finite {
  const char* name;
  const char* form;
  const char* regex;  // the same texts
  const char* alphabet;
  size_t longest;  // above all texts of it
  Kind kind = Kind::kGrammar;
};

class FiniteGrammar : public GrammarCompilerTest, public testing::WithParamInterface<Finite> {};

// Walks through all states that tokens can reach; in each, a token may come if and only if a text of the language
// begins so.
TEST_P(FiniteGrammar, MasksAreThoseOfBruteForce) {
  const auto texts = language(GetParam().regex, GetParam().alphabet, GetParam().longest);
  ASSERT_FALSE(texts.empty());
  const auto constraint = make({.kind = GetParam().kind, .text = GetParam().form});
  ASSERT_NE(constraint, nullptr);
  int states = 0;
  const std::function<void(const std::string&)> visit = [&](const std::string& text) {
    ++states;
    const std::vector<bool> bits = mask(*constraint);
    for (TokenId id = 0; id < tokenizer_.vocab_size(); ++id) {
      if (tokenizer_.piece(id).find_first_not_of(GetParam().alphabet) != std::string::npos) continue;
      const std::string next = text + tokenizer_.piece(id);
      const bool ends = std::find(texts.begin(), texts.end(), text) != texts.end();
      const bool begins =
          !tokenizer_.piece(id).empty() &&
          std::any_of(texts.begin(), texts.end(), [&next](const std::string& one) { return one.starts_with(next); });
      ASSERT_EQ(bits[usize(id)], id == kEnd ? ends : begins) << "after '" << text << "': token " << tokenizer_.text(id);
      if (!begins || states > 2000) continue;
      ASSERT_TRUE(constraint->push(id));
      visit(next);
      constraint->pop(1);
    }
  };
  visit("");
  EXPECT_GT(states, 3);
}

INSTANTIATE_TEST_SUITE_P(
    All, FiniteGrammar,
    testing::Values(Finite{"literals", R"(root ::= "ab" | "abcd" | "b")", "ab|abcd|b", "abcd", 5},
                    Finite{"classes", R"(root ::= [ab]{1,3} [^b-z]?)", "[ab]{1,3}[a1]?", "ab1", 5},
                    Finite{"rules", "root ::= one one?\none ::= \"a\" (\"b\" | \"bc\"){1,2} | \"c\"{2}",
                           "(a(b|bc){1,2}|cc)(a(b|bc){1,2}|cc)?", "abc", 10},
                    Finite{"empty", R"(root ::= "a"? ("b" | ){0,3})", "a?b{0,3}", "ab", 6},
                    Finite{"regex", "^(a|bc?){1,2}d?$", "(a|bc?){1,2}d?", "abcd", 6, Kind::kRegex},
                    Finite{"regex_classes", R"([^\d]\d{1,2}|1?\.)", R"([^\d]\d{1,2}|1?\.)", "a1.", 4, Kind::kRegex},
                    Finite{"choices", R"({"type": "or", "elements": [
                                                {"type": "const_string", "value": "ab"},
                                                {"type": "const_string", "value": "abc"}]})",
                           "abc?", "abc", 4, Kind::kTags}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(GrammarCompilerTest, EndsOnlyWhereTheFormMayEnd) {
  const auto constraint = make({.kind = Kind::kJsonObject});
  EXPECT_FALSE(mask(*constraint)[kEnd]);
  ASSERT_TRUE(push_text(*constraint, "{\"a\": [1, 2]", tokenizer_));
  EXPECT_FALSE(constraint->push(kEnd));
  ASSERT_TRUE(push_text(*constraint, "}", tokenizer_));
  EXPECT_TRUE(mask(*constraint)[kEnd]);
  ASSERT_TRUE(constraint->push(kEnd));
  const std::vector<bool> bits = mask(*constraint);
  EXPECT_EQ(std::count(bits.begin(), bits.end(), true), 0);
  EXPECT_FALSE(constraint->push(kEnd));
  constraint->pop(2);
  EXPECT_TRUE(mask(*constraint)[usize(tokenizer_.find("}"))]);
}

TEST_F(GrammarCompilerTest, TagsMayComeInsteadOfTheForm) {
  const AnswerForm form = {
      .kind = Kind::kRegex, .text = "[0-9]+", .or_tags = R"({"type": "const_string", "value": "ab"})"};
  for (const auto& [text, fits] : {std::pair{"12", true}, {"ab", true}, {"1b", false}, {"abab", false}}) {
    const auto constraint = make(form);
    EXPECT_EQ(push_text(*constraint, text, tokenizer_), fits) << text;
    if (fits) {
      EXPECT_TRUE(mask(*constraint)[kEnd]) << text;
    }
  }
  EXPECT_NE(error({.kind = Kind::kRegex, .text = "(a"}).find("expected )"), std::string::npos);
}

TEST_F(GrammarCompilerTest, ControlTokensNeverCome) {
  const auto constraint = make({.kind = Kind::kGrammar, .text = "root ::= .*"});
  EXPECT_FALSE(mask(*constraint)[259]);
  EXPECT_TRUE(mask(*constraint)[kUser]);
  EXPECT_FALSE(constraint->push(259));
}

TEST_F(GrammarCompilerTest, PoppedTokensLeaveNoTrace) {
  const auto constraint = make({.kind = Kind::kJsonObject});
  ASSERT_TRUE(push_text(*constraint, "{\"a\":", tokenizer_));
  const std::vector<bool> before = mask(*constraint);
  ASSERT_TRUE(push_text(*constraint, "[1", tokenizer_));
  EXPECT_NE(mask(*constraint), before);
  constraint->pop(2);
  EXPECT_EQ(mask(*constraint), before);
}

TEST_F(GrammarCompilerTest, WhiteSpaceIsBounded) {
  const auto constraint = make({.kind = Kind::kJsonObject});
  ASSERT_TRUE(push_text(*constraint, "{", tokenizer_));
  const TokenId blank = tokenizer_.find("Ġ");
  int blanks = 0;
  while (constraint->push(blank)) ++blanks;
  EXPECT_EQ(blanks, GrammarCompiler::kMaxWhitespace);
  EXPECT_TRUE(push_text(*constraint, "}", tokenizer_));
}

TEST_F(GrammarCompilerTest, ForcedTextIsDrafted) {
  const auto constraint = make({.kind = Kind::kGrammar, .text = R"(root ::= "x" [yz] "abcabd")"});
  std::vector<TokenId> tokens{1, 2, 3};
  ASSERT_TRUE(push_text(*constraint, "x", tokenizer_));
  constraint->forced(8, tokens);
  EXPECT_TRUE(tokens.empty());
  ASSERT_TRUE(push_text(*constraint, "y", tokenizer_));
  constraint->forced(8, tokens);
  EXPECT_EQ(tokens, (std::vector<TokenId>{tokenizer_.find("abc"), tokenizer_.find("ab")}));
  constraint->forced(1, tokens);
  EXPECT_EQ(tokens, std::vector<TokenId>{tokenizer_.find("abc")});
  EXPECT_TRUE(constraint->push(tokens[0]));
}

TEST_F(GrammarCompilerTest, ThoughtsMayComeFirst) {
  AnswerForm form{
      .kind = Kind::kGrammar, .text = R"(root ::= "yes" | "no")", .thoughts = AnswerForm::Thoughts::kMayCome};
  const auto may = make(form);
  EXPECT_TRUE(push_text(*may, "<think>any {\"a\"</thin</think>\n\nyes", tokenizer_));
  EXPECT_TRUE(mask(*may)[kEnd]);
  EXPECT_TRUE(push_text(*make(form), "no", tokenizer_));
  EXPECT_FALSE(push_text(*make(form), "maybe", tokenizer_));
  form.thoughts = AnswerForm::Thoughts::kAreOpen;
  const auto open = make(form);
  EXPECT_TRUE(push_text(*open, "maybe", tokenizer_));
  EXPECT_FALSE(mask(*open)[kEnd]);
  EXPECT_TRUE(push_text(*open, "</think>no", tokenizer_));
  EXPECT_TRUE(mask(*open)[kEnd]);
}

TEST_F(GrammarCompilerTest, WhatCannotBeMadeIsAnError) {
  EXPECT_NE(error({.kind = Kind::kJsonSchema, .text = R"({"not": {}})"}).find("'not'"), std::string::npos);
  EXPECT_NE(error({.kind = Kind::kJsonSchema, .text = R"({"type": "string", "pattern": "a(?=b)c"})"}), "");
  for (const char* pattern : {"(a", "^a\\\\b$", "\\\\bword", "é+", "^\\\"$", ".{0,100000}", "(a)\\\\1", "\\\\p{L}"}) {
    const std::string schema = std::string(R"({"type": "string", "pattern": ")") + pattern + "\"}";
    EXPECT_NE(error({.kind = Kind::kJsonSchema, .text = schema}).find("pattern"), std::string::npos) << schema;
  }
  EXPECT_NE(error({.kind = Kind::kJsonSchema, .text = R"({"type": "integer", "minimum": 3, "maximum": 2})"}), "");
  EXPECT_NE(error({.kind = Kind::kJsonSchema, .text = R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})"}), "");
  EXPECT_NE(error({.kind = Kind::kGrammar, .text = "root ::= b"}).find("line 1"), std::string::npos);
}

TEST_F(GrammarCompilerTest, ConstraintsOfOneFormAreApart) {
  const AnswerForm form{.kind = Kind::kGrammar, .text = R"(root ::= "abcd")"};
  const auto first = make(form);
  const auto second = make(form);
  ASSERT_TRUE(push_text(*first, "ab", tokenizer_));
  EXPECT_FALSE(push_text(*second, "c", tokenizer_));
  EXPECT_TRUE(push_text(*second, "abc", tokenizer_));
}

class SchemaWalk : public GrammarCompilerTest, public testing::WithParamInterface<const char*> {
 protected:
  // A text of random tokens among the allowed ones; those that close something come more often.
  std::string walk(Constraint& constraint, std::mt19937& random) const {
    std::string text;
    for (int i = 0; i < 3000; ++i) {
      const std::vector<bool> bits = mask(constraint);
      std::vector<TokenId> choices;
      for (TokenId id = 0; id < tokenizer_.vocab_size(); ++id) {
        if (!bits[usize(id)]) continue;
        const std::string piece = tokenizer_.piece(id);
        const bool closes = id == kEnd || piece == "\"" || piece == "}" || piece == "]";
        choices.insert(choices.end(), closes ? 40 : 1, id);
      }
      if (choices.empty()) return text + "<nothing may follow>";
      const TokenId id = choices[random() % choices.size()];
      EXPECT_TRUE(constraint.push(id)) << text << " | " << tokenizer_.text(id);
      if (id == kEnd) return text;
      text += tokenizer_.piece(id);
    }
    return "<too long>";
  }
};

TEST_P(SchemaWalk, TextsAreValid) {
  const SchemaCheck check(Json::parse(GetParam()));
  std::mt19937 random(15);
  int finished = 0;
  for (int i = 0; i < 40; ++i) {
    const auto constraint = make({.kind = Kind::kJsonSchema, .text = GetParam()});
    ASSERT_NE(constraint, nullptr);
    const std::string text = walk(*constraint, random);
    if (text == "<too long>") continue;
    ++finished;
    // xgrammar lets a few byte sequences pass that are no characters; like those of every answer, they are replaced.
    const bool broken = !utf8_valid(text);
    const Json value = Json::parse(utf8_replace_broken(text), nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << text;
    if (broken) continue;  // lengths are those of other characters now
    ASSERT_TRUE(check.allows(value)) << text;
  }
  EXPECT_GE(finished, 30);
}

INSTANTIATE_TEST_SUITE_P(
    All, SchemaWalk,
    testing::Values(
        R"({})", R"({"type": "object"})", R"({"type": "array"})", R"({"type": ["string", "null", "boolean"]})",
        R"({"type": "string", "minLength": 2, "maxLength": 5})", R"({"type": "string", "minLength": 3})",
        R"({"type": "string", "maxLength": 2000})", R"({"type": "string", "pattern": "^[a-c]+/\\d{2}$"})",
        R"({"type": "string", "format": "email"})", R"({"type": "string", "format": "date-time"})",
        R"({"type": "string", "format": "uri"})", R"({"type": "string", "format": "uuid"})",
        R"({"type": "string", "format": "ipv6"})", R"({"type": "string", "format": "duration"})",
        R"({"type": "string", "pattern": "^(\\d+|.*x)[0-9]?$"})",
        R"({"type": "integer", "minimum": -17, "maximum": 1203})", R"({"type": "integer", "exclusiveMinimum": 5})",
        R"({"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 999})",
        R"({"type": "number", "minimum": 0.5, "exclusiveMaximum": 12.25})", R"({"type": "number", "maximum": -3})",
        R"({"enum": ["a/b", "é\"\n", 1.5, null, {"x": [1]}]})", R"({"const": "a\\b"})",
        R"({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4})",
        R"({"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}]})",
        R"({"type": "array", "prefixItems": [{"type": "null"}], "items": {"enum": [1, 2]}, "minItems": 2})",
        R"({"type": "object", "properties": {"name": {"type": "string"}, "a\"b/c": {"type": "integer"},
            "é": {"type": "boolean"}}, "required": ["a\"b/c"]})",
        R"({"type": "object", "properties": {"n": {"type": "integer"}, "m": {"type": "null"}},
            "additionalProperties": true})",
        R"({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"],
            "additionalProperties": {"type": "boolean"}})",
        R"({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 3})",
        R"({"anyOf": [{"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"]}, {"type": "null"}]})",
        R"({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}}, "required": ["k"]},
                      {"type": "object", "properties": {"k": {"const": "b"}, "x": {}}, "required": ["k"]}]})",
        R"({"$defs": {"tree": {"type": "object", "properties": {"left": {"anyOf": [{"$ref": "#/$defs/tree"},
            {"type": "null"}]}, "v": {"type": "integer"}}, "required": ["left", "v"]}}, "$ref": "#/$defs/tree"})"));

}  // namespace
}  // namespace s3d
