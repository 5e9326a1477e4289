// Random answers in the forms that call tools: a reader finds calls in them, and nothing else.
#include "serve/tool_form.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/index.h"
#include "grammar/grammar.h"
#include "grammar/schema_check.h"
#include "serve/tool_reader.h"
#include "text/text_test_util.h"
#include "text/utf8.h"

namespace s3d::serve {
namespace {

using Json = nlohmann::ordered_json;

const char* const kTools = R"([
  {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string", "enum": ["Paris", "Köln"]}, "days": {"type": "integer"}}, "required": ["city"]}}},
  {"type": "function", "function": {"name": "now", "description": "The time"}},
  {"type": "function", "function": {"name": "note", "parameters": {"type": "object", "properties": {
    "text": {"type": "string"}, "flags": {"type": "array", "items": {"type": "boolean"}}}, "required": ["text", "flags"]}}}])";

class ToolForm : public testing::TestWithParam<ToolFormat> {
 protected:
  void SetUp() override {
    if (!has_grammars()) GTEST_SKIP() << "built without grammars";
  }

  static std::string tags_of(const ToolFormOptions& options) {
    const auto tags = tool_call_tags(options);
    EXPECT_TRUE(tags.ok()) << tags.error().message;
    return tags.ok() ? *tags : "{}";
  }

  std::string walk(const ToolFormOptions& options, std::mt19937& random) {
    return walk(AnswerForm{.kind = AnswerForm::Kind::kTags, .text = tags_of(options)}, random);
  }

  // A random text of the form.
  std::string walk(const AnswerForm& form, std::mt19937& random) {
    const auto constraint = compiler_.compile(form);
    EXPECT_TRUE(constraint.ok()) << constraint.error().message;
    std::vector<uint32_t> mask(usize(tokenizer_.vocab_size() + 31) / 32);
    std::string text;
    while (constraint.ok() && text.size() < 3000) {
      (*constraint)->allowed(mask);
      std::vector<TokenId> choices;
      for (TokenId id = 0; id < tokenizer_.vocab_size(); ++id) {
        if ((mask[usize(id / 32)] >> (id % 32) & 1U) == 0) continue;
        const std::string piece = tokenizer_.piece(id);
        choices.insert(choices.end(), piece == "\"" || piece == "}" || piece == "<" || tokenizer_.is_end(id) ? 30 : 1,
                       id);
      }
      if (choices.empty()) return text + " <nothing may follow>";
      const TokenId id = choices[random() % choices.size()];
      EXPECT_TRUE((*constraint)->push(id));
      if (tokenizer_.is_end(id)) break;
      text += tokenizer_.piece(id);
    }
    return text;
  }

  Tokenizer tokenizer_ = std::move(Tokenizer::create(tiny_bpe())).value();
  GrammarCompiler compiler_{tokenizer_};
};

Json parameters_of(const std::string& name) {
  for (const Json& tool : Json::parse(kTools)) {
    if (tool["function"]["name"] == name) return tool["function"].value("parameters", Json::object());
  }
  return false;
}

TEST_P(ToolForm, ReadersFindNothingButCalls) {
  std::mt19937 random(7);
  for (int i = 0; i < 24; ++i) {
    const ToolFormOptions options{
        .format = GetParam(), .tools_json = kTools, .parallel = i % 2 == 0, .marked = i % 3 == 0};
    const std::string text = walk(options, random);
    if (text.size() >= 3000) continue;  // a long string by chance
    const auto reader = make_answer_reader({.tools = GetParam(), .tools_json = kTools});
    if (options.marked) reader->push(start_mark(GetParam()));
    const AnswerDelta delta = reader->push(utf8_replace_broken(text));  // as every answer's
    const AnswerDelta rest = reader->finish();
    EXPECT_EQ(delta.content + rest.content, "") << text;
    ASSERT_FALSE(delta.calls.empty()) << text;
    if (!options.parallel) {
      EXPECT_EQ(delta.calls.size(), 1U) << text;
    }
    for (const CallDelta& call : delta.calls) {
      const Json arguments = Json::parse(call.arguments, nullptr, false);
      ASSERT_TRUE(arguments.is_object()) << text;
      EXPECT_TRUE(SchemaCheck(parameters_of(call.name)).allows(arguments)) << text;
    }
  }
}

TEST_P(ToolForm, AFormBesideItIsTheOnlyOtherAnswer) {
  const std::string schema =
      R"({"type": "object", "properties": {"answer": {"type": "boolean"}}, "required": ["answer"]})";
  const AnswerForm form{.kind = AnswerForm::Kind::kJsonSchema,
                        .text = schema,
                        .or_tags = tags_of({.format = GetParam(), .tools_json = kTools})};
  std::mt19937 random(9);
  int texts = 0, calls = 0;
  for (int i = 0; i < 60 && (texts == 0 || calls == 0); ++i) {
    const std::string text = walk(form, random);
    if (text.size() >= 3000) continue;  // a long string by chance
    const auto reader = make_answer_reader({.tools = GetParam(), .tools_json = kTools});
    const AnswerDelta delta = reader->push(utf8_replace_broken(text));
    const std::string content = delta.content + reader->finish().content;
    EXPECT_NE(content.empty(), delta.calls.empty()) << text;
    calls += delta.calls.empty() ? 0 : 1;
    texts += content.empty() ? 0 : 1;
    if (!content.empty()) {
      EXPECT_TRUE(SchemaCheck(Json::parse(schema)).allows(Json::parse(content))) << text;
    }
  }
  EXPECT_GT(texts, 0);
  EXPECT_GT(calls, 0);
}

TEST_P(ToolForm, ANamedToolIsTheOnlyOne) {
  std::mt19937 random(8);
  const ToolFormOptions options{.format = GetParam(), .tools_json = kTools, .only = "now", .parallel = false};
  const std::string text = walk(options, random);
  const auto reader = make_answer_reader({.tools = GetParam(), .tools_json = kTools});
  const AnswerDelta delta = reader->push(text);
  ASSERT_EQ(delta.calls.size(), 1U) << text;
  EXPECT_EQ(delta.calls[0].name, "now");
}

INSTANTIATE_TEST_SUITE_P(All, ToolForm,
                         testing::Values(ToolFormat::kHermes, ToolFormat::kQwenCoder, ToolFormat::kLlama3,
                                         ToolFormat::kMistral, ToolFormat::kPhi4, ToolFormat::kJson),
                         [](const auto& info) {
                           std::string name(tool_format_name(info.param));
                           std::erase(name, '-');
                           return name;
                         });

TEST(ToolForms, RefusesWhatCannotBeHad) {
  const auto no_tool = tool_call_tags({.tools_json = kTools, .only = "rm"});
  ASSERT_FALSE(no_tool.ok());
  EXPECT_NE(no_tool.error().message.find("'rm'"), std::string::npos);
  const auto keyword = tool_call_tags(
      {.tools_json =
           R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "not": {}}}}])"});
  ASSERT_FALSE(keyword.ok());
  EXPECT_NE(keyword.error().message.find("tool 'f'"), std::string::npos);
  EXPECT_NE(keyword.error().message.find("'not'"), std::string::npos);
}

TEST(ToolForms, ThePromptDescribesEachTool) {
  const std::string prompt = tool_prompt(kTools);
  EXPECT_NE(prompt.find("\"get_weather\""), std::string::npos);
  EXPECT_NE(prompt.find("\"The time\""), std::string::npos);
}

}  // namespace
}  // namespace s3d::serve
