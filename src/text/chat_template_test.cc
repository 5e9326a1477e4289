#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "file/gguf.h"
#include "text/jinja_scan.h"
#include "text/text_test_util.h"
#include "text/tokenizer.h"

namespace s3d {
namespace {

using Json = nlohmann::json;

std::vector<ChatMessage> read_conversation(const Json& json) {
  std::vector<ChatMessage> messages;
  for (const Json& message : json) messages.push_back({message["role"], message["content"]});
  return messages;
}

// Renders each saved conversation; compares with what Jinja gave.
void expect_saved(const std::string& name, const std::string& jinja, const Json& saved, const Json& outputs) {
  const auto chat = ChatTemplate::create(jinja, "");
  ASSERT_TRUE(chat.ok()) << name << ": " << chat.error().message;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto messages = read_conversation(saved["conversations"][i]);
    for (const bool prompt : {false, true}) {
      const Json& expected = outputs[i][prompt ? 1 : 0];
      const auto text = chat->render(messages, prompt);
      ASSERT_EQ(text.ok(), !expected.is_null()) << name << ", conversation " << i;
      if (text.ok()) {
        EXPECT_EQ(*text, expected.get<std::string>()) << name << ", conversation " << i;
      }
    }
  }
}

TEST(ChatTemplate, RendersAsJinjaDoes) {
  const Json saved = read_json(text_data("chat.json"));
  int compared = 0;
  for (const auto& [name, entry] : saved["templates"].items()) {
    if (!entry.contains("jinja")) continue;
    expect_saved(name, entry["jinja"], saved, entry["outputs"]);
    ++compared;
  }
  EXPECT_GE(compared, 12);
}

void expect_saved_of_model(const std::string& name) {
  const std::string path = cached_model(name);
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent; scripts/fetch-model gets it";
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto jinja = file->string("tokenizer.chat_template");
  ASSERT_TRUE(jinja.ok() && jinja->has_value());
  const Json saved = read_json(text_data("chat.json"));
  expect_saved(name, **jinja, saved, saved["templates"][name]["outputs"]);
}

TEST(ChatTemplate, RendersSmolLm2AsJinjaDoes) {
  expect_saved_of_model("smollm2-135m");
}

TEST(ChatTemplate, RendersQwen2AsJinjaDoes) {
  expect_saved_of_model("qwen2.5-coder-0.5b");
}

TEST(ChatTemplate, UnknownTemplateIsAnErrorThatNamesTheFlag) {
  for (const std::string jinja : {"", "{{ messages }}", "<|im_start|>x<|im_sep|>", "[SYSTEM_PROMPT]x[INST]"}) {
    const auto chat = ChatTemplate::create(jinja, "");
    ASSERT_FALSE(chat.ok()) << jinja;
    EXPECT_NE(chat.error().message.find("--chat-template"), std::string::npos);
    EXPECT_NE(chat.error().message.find("chatml, llama2, llama3, phi3, gemma, mistral"), std::string::npos);
  }
  const auto chat = ChatTemplate::create("<|im_start|>", "alpaca");
  ASSERT_FALSE(chat.ok());
  EXPECT_NE(chat.error().message.find("'alpaca'"), std::string::npos);
}

TEST(ChatTemplate, EveryFamilyCanBeForced) {
  for (const std::string& name : ChatTemplate::known_names()) {
    const auto chat = ChatTemplate::create("", name);
    ASSERT_TRUE(chat.ok()) << name;
    EXPECT_EQ(chat->name(), name);
    EXPECT_EQ(chat->default_system(), "");
    const auto text = chat->render({{"system", "S"}, {"user", "Hi"}, {"assistant", "Yo"}, {"user", "Ok"}}, true);
    ASSERT_TRUE(text.ok()) << name;
    EXPECT_NE(text->find("Yo"), std::string::npos) << name;
    EXPECT_TRUE(text->starts_with('<') || text->starts_with('[')) << *text;
  }
}

TEST(ChatTemplate, AForcedFamilyIgnoresAnotherFamilysTemplate) {
  const std::string jinja = "{{ '<|im_start|>system\\nBe kind.<|im_end|>' }}";
  EXPECT_EQ(ChatTemplate::create(jinja, "chatml")->default_system(), "Be kind.");
  EXPECT_EQ(ChatTemplate::create(jinja, "gemma")->default_system(), "");
}

TEST(ChatTemplate, BadMessagesAreErrors) {
  const auto chat = ChatTemplate::create("", "gemma");
  ASSERT_TRUE(chat.ok());
  const std::vector<std::vector<ChatMessage>> bad = {
      {}, {{"tool", "x"}}, {{"system", "x"}}, {{"assistant", "x"}}, {{"user", "x"}, {"user", "y"}}};
  for (const auto& messages : bad) EXPECT_FALSE(chat->render(messages, true).ok());
}

TEST(JinjaScan, FindsTextsInPlainAndLiterals) {
  const std::vector<std::string> expected = {"a", "b\n'c", " d", "e\"", "{x"};
  EXPECT_EQ(jinja_texts("a{{ x + 'b\\n\\'c' }} d{# 'no' #}{% if \"e\\\"\" %}{x"), expected);
  for (const std::string broken : {"{", "{{", "{{ '", "{{ 'a\\", "{%", "{#", "{{ \"a' }}"}) jinja_texts(broken);
}

TEST(JinjaScan, FindsAssignmentsAndSequences) {
  EXPECT_EQ(jinja_assigned("{% set y = 'n' %}{%set  x=\"yes\"%}", "x"), "yes");
  EXPECT_EQ(jinja_assigned("{% set x = y %}{% set xx = 'n' %} set ", "x"), "");
  EXPECT_TRUE(jinja_has_sequence("{{ \" \" +m }}", {"' '", "+", "m"}));
  EXPECT_FALSE(jinja_has_sequence("{{ '' + m }}", {"' '", "+", "m"}));
}

}  // namespace
}  // namespace s3d
