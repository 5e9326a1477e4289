#include "serve/tool_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace s3d::serve {
namespace {

const char* const kTools = R"([
  {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}}}}},
  {"type": "function", "function": {"name": "write_file", "parameters": {"type": "object", "properties": {
    "path": {"type": "string"}, "text": {"type": "string"}, "lines": {"type": "array"}}}}},
  {"type": "function", "function": {"name": "now"}}])";

// An answer, with its pieces put together.
struct Whole {
  std::string thought;
  std::string content;
  std::string calls;  // "id name arguments\n" for each

  bool operator==(const Whole&) const = default;
};

void PrintTo(const Whole& whole, std::ostream* out) {
  *out << "thought '" << whole.thought << "' content '" << whole.content << "' calls '" << whole.calls << "'";
}

Whole read(const ReaderOptions& options, const std::vector<std::string>& pieces) {
  ReaderOptions own = options;
  int made = 0;
  own.tools_json = kTools;
  own.make_id = [&made] { return std::to_string(++made); };
  const auto reader = make_answer_reader(own);
  Whole whole;
  std::vector<std::string> calls;
  const auto add = [&](const AnswerDelta& delta) {
    whole.thought += delta.thought;
    whole.content += delta.content;
    for (const CallDelta& call : delta.calls) {
      if (call.index >= static_cast<int>(calls.size())) {
        EXPECT_FALSE(call.id.empty());  // id and name come with the first part
        EXPECT_FALSE(call.name.empty());
        calls.push_back(call.id + " " + call.name + " ");
      } else {
        EXPECT_TRUE(call.id.empty() && call.name.empty());
      }
      calls[static_cast<size_t>(call.index)] += call.arguments;
    }
  };
  for (const std::string& piece : pieces) add(reader->push(piece));
  add(reader->finish());
  for (const std::string& call : calls) whole.calls += call + "\n";
  return whole;
}

struct Recorded {
  const char* name;
  ReaderOptions options;
  std::string text;
  Whole whole;
};

class Recordings : public testing::TestWithParam<Recorded> {};

TEST_P(Recordings, AreReadWhateverTheirPieces) {
  const auto& [name, options, text, whole] = GetParam();
  EXPECT_EQ(read(options, {text}), whole);
  std::vector<std::string> bytes;
  for (const char c : text) bytes.emplace_back(1, c);
  EXPECT_EQ(read(options, bytes), whole);
  for (size_t at = 1; at < text.size(); ++at) {
    ASSERT_EQ(read(options, {text.substr(0, at), text.substr(at)}), whole) << "split at " << at;
  }
}

const ThoughtMarks kThink{"<think>", "</think>"};
ReaderOptions with(ToolFormat format) {
  return {.tools = format};
}

INSTANTIATE_TEST_SUITE_P(
    All, Recordings,
    testing::Values(
        Recorded{"plain", with(ToolFormat::kHermes), "Hello <b>, 1 < 2\n", {"", "Hello <b>, 1 < 2\n", ""}},
        Recorded{"thoughts",
                 {.thoughts = kThink},
                 "<think>\nI see.\n</think>\n\nYes </think>.",
                 {"I see.", "Yes </think>.", ""}},
        Recorded{"thoughts_open",
                 {.thoughts = kThink, .thoughts_open = true},
                 "Hm < a\n</thin </think>Yes",
                 {"Hm < a\n</thin", "Yes", ""}},
        Recorded{"thoughts_only",
                 {.thoughts = kThink, .thoughts_open = true},
                 "never ends </thi",
                 {"never ends </thi", "", ""}},
        Recorded{"thoughts_none", {.thoughts = kThink}, "\n<thing> is", {"", "\n<thing> is", ""}},
        Recorded{"thoughts_then_call",
                 {.thoughts = kThink, .tools = ToolFormat::kHermes},
                 "<think>a <tool_call> b</think>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
                 {"a <tool_call> b", "", "1 now {}\n"}},
        Recorded{"hermes",
                 with(ToolFormat::kHermes),
                 "Let me look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Köln {\\\"\", "
                 "\"days\": "
                 "2}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n",
                 {"", "Let me look.", "1 get_weather {\"city\": \"Köln {\\\"\", \"days\": 2}\n2 now {}\n"}},
        Recorded{"hermes_arguments_first",
                 with(ToolFormat::kHermes),
                 "<tool_call>{\"arguments\": {\"city\": \"a\"}, \"name\": \"get_weather\"}</tool_call> done",
                 {"", " done", "1 get_weather {\"city\": \"a\"}\n"}},
        Recorded{"hermes_text_arguments",
                 with(ToolFormat::kHermes),
                 "<tool_call>{\"name\": \"get_weather\", \"arguments\": \"{\\\"city\\\": \\\"a\\\"}\"}</tool_call>",
                 {"", "", "1 get_weather {\"city\": \"a\"}\n"}},
        Recorded{"hermes_no_arguments",
                 with(ToolFormat::kHermes),
                 "<tool_call>{\"name\": \"now\"}</tool_call>",
                 {"", "", "1 now {}\n"}},
        Recorded{"hermes_unknown_tool",
                 with(ToolFormat::kHermes),
                 "<tool_call>\n{\"name\": \"rm\", \"arguments\": {}}\n</tool_call>",
                 {"", "<tool_call>\n{\"name\": \"rm\", \"arguments\": {}}\n</tool_call>", ""}},
        Recorded{"hermes_broken",
                 with(ToolFormat::kHermes),
                 "<tool_call>\n{name: now}</tool_call> <tool_call>{\"name\": \"now\"}</tool_call>",
                 {"", "<tool_call>\n{name: now}</tool_call>", "1 now {}\n"}},
        Recorded{"hermes_broken_late",
                 with(ToolFormat::kHermes),
                 "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": oops}}</tool_call>",
                 {"", "oops}}</tool_call>", "1 get_weather {\"city\": \n"}},
        Recorded{"hermes_cut",
                 with(ToolFormat::kHermes),
                 "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"ci",
                 {"", "", "1 get_weather {\"ci\n"}},
        Recorded{"hermes_cut_early", with(ToolFormat::kHermes), "a\n<tool_call>{\"na", {"", "a\n<tool_call>{\"na", ""}},
        Recorded{"hermes_no_closer",
                 with(ToolFormat::kHermes),
                 "<tool_call>{\"name\": \"now\"}\n<tool_call>{\"name\": \"now\"}",
                 {"", "", "1 now {}\n2 now {}\n"}},
        Recorded{"hermes_one_only",
                 {.tools = ToolFormat::kHermes, .parallel = false},
                 "<tool_call>{\"name\": \"now\"}</tool_call><tool_call>{\"name\": \"now\"}</tool_call>",
                 {"", "", "1 now {}\n"}},
        Recorded{
            "qwen_coder",
            with(ToolFormat::kQwenCoder),
            "Sure.\n\n<tool_call>\n<function=write_file>\n<parameter=path>\n12\n</parameter>\n<parameter=text>\nif a < "
            "b:\n  \"x\"\n</parameter>\n<parameter=lines>\n[1, 2]\n</parameter>\n</function>\n</tool_call>",
            {"", "Sure.",
             "1 write_file {\"path\": \"12\", \"text\": \"if a < b:\\n  \\\"x\\\"\", \"lines\": [1,2]}\n"}},
        Recorded{"qwen_coder_bare",
                 with(ToolFormat::kQwenCoder),
                 "<function=now>\n</function>\n</tool_call>",
                 {"", "", "1 now {}\n"}},
        Recorded{"qwen_coder_cut",
                 with(ToolFormat::kQwenCoder),
                 "<tool_call>\n<function=get_weather>\n<parameter=city>\nKö",
                 {"", "", "1 get_weather {\"city\": \"Kö\"}\n"}},
        Recorded{"qwen_coder_unknown",
                 with(ToolFormat::kQwenCoder),
                 "<tool_call><function=f></function></tool_call>",
                 {"", "<tool_call><function=f></function></tool_call>", ""}},
        Recorded{"llama3",
                 with(ToolFormat::kLlama3),
                 "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"a\"}}",
                 {"", "", "1 get_weather {\"city\": \"a\"}\n"}},
        Recorded{"llama3_several",
                 with(ToolFormat::kLlama3),
                 "<|python_tag|>{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"now\"}\n{\"type\": \"function\", "
                 "\"name\": \"now\", \"parameters\": null}",
                 {"", "", "1 now {}\n2 now {}\n3 now {}\n"}},
        Recorded{
            "llama3_code", with(ToolFormat::kLlama3), "<|python_tag|>print(1)", {"", "<|python_tag|>print(1)", ""}},
        Recorded{"llama3_json", with(ToolFormat::kLlama3), "{\"answer\": [1]}", {"", "{\"answer\": [1]}", ""}},
        Recorded{"mistral",
                 with(ToolFormat::kMistral),
                 "[TOOL_CALLS] [{\"name\": \"get_weather\", \"arguments\": {\"city\": \"]\"}, \"id\": \"abcdefghi\"}, "
                 "{\"name\": \"now\", \"arguments\": {}}]",
                 {"", "", "1 get_weather {\"city\": \"]\"}\n2 now {}\n"}},
        Recorded{"mistral_named",
                 with(ToolFormat::kMistral),
                 "Hm.[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{\"city\": \"a\"}[TOOL_CALLS]now[ARGS]{}",
                 {"", "Hm.", "1 get_weather {\"city\": \"a\"}\n2 now {}\n"}},
        Recorded{"phi4",
                 with(ToolFormat::kPhi4),
                 "<|tool_call|>[{\"type\": \"function\", \"function\": {\"name\": \"now\", \"arguments\": "
                 "{}}}]<|/tool_call|>",
                 {"", "", "1 now {}\n"}},
        Recorded{"phi4_old",
                 with(ToolFormat::kPhi4),
                 "functools[{\"name\": \"now\", \"arguments\": {}}]",
                 {"", "", "1 now {}\n"}},
        Recorded{"json_fenced",
                 with(ToolFormat::kJson),
                 "```json\n[{\"name\": \"now\", \"arguments\": {}},\n{\"name\": \"now\"}]\n```\n",
                 {"", "", "1 now {}\n2 now {}\n"}},
        Recorded{"json_code",
                 with(ToolFormat::kJson),
                 "```json\n{\"a\": 1}\n```\nas asked",
                 {"", "```json\n{\"a\": 1}\n```\nas asked", ""}},
        Recorded{
            "json_later", with(ToolFormat::kJson), "Here: {\"name\": \"now\"}", {"", "Here: {\"name\": \"now\"}", ""}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ToolReader, MakesIdsAsTheFormatWantsThem) {
  const auto id_of = [](ToolFormat format, const std::string& text) {
    const auto reader = make_answer_reader({.tools = format, .tools_json = kTools});
    return reader->push(text).calls.at(0).id;
  };
  EXPECT_EQ(id_of(ToolFormat::kHermes, "<tool_call>{\"name\": \"now\"}").substr(0, 5), "call_");
  EXPECT_EQ(id_of(ToolFormat::kMistral, "[TOOL_CALLS][{\"name\": \"now\"}]").size(), 9U);
}

TEST(ToolReader, ArgumentsComeAsTheyAreWritten) {
  const auto reader = make_answer_reader({.tools = ToolFormat::kHermes, .tools_json = kTools});
  EXPECT_TRUE(reader->push("<tool_call>{\"name\": \"get_weather\", ").empty());
  const AnswerDelta begin = reader->push("\"arguments\": {");
  ASSERT_EQ(begin.calls.size(), 1U);
  EXPECT_EQ(begin.calls[0].name, "get_weather");
  EXPECT_EQ(begin.calls[0].arguments, "{");
  EXPECT_EQ(reader->push("\"ci").calls.at(0).arguments, "\"ci");
}

TEST(ToolFormat, IsTakenFromTheTemplate) {
  EXPECT_EQ(tool_format_of("{{ tools }} <tool_call>"), ToolFormat::kHermes);
  EXPECT_EQ(tool_format_of("<tool_call>\n<function=a>\n<parameter=b>"), ToolFormat::kQwenCoder);
  EXPECT_EQ(tool_format_of("[AVAILABLE_TOOLS] [TOOL_CALLS]"), ToolFormat::kMistral);
  EXPECT_EQ(tool_format_of("<|start_header_id|> {% if tools %}"), ToolFormat::kLlama3);
  EXPECT_EQ(tool_format_of("<|tool|>"), ToolFormat::kPhi4);
  EXPECT_EQ(tool_format_of("<start_of_turn>"), ToolFormat::kJson);
  for (const char* name : {"hermes", "qwen-coder", "llama3", "mistral", "phi4", "json"}) {
    const auto format = tool_format_named(name);
    ASSERT_TRUE(format.has_value()) << name;
    EXPECT_EQ(tool_format_name(*format), name);
  }
  EXPECT_FALSE(tool_format_named("other").has_value());
}

TEST(ToolFormat, KnowsWhetherAPromptEndsInThoughts) {
  EXPECT_TRUE(opens_thoughts("<|im_start|>assistant\n<think>\n", kThink));
  EXPECT_FALSE(opens_thoughts("<think>\n\n</think>\n\n", kThink));
  EXPECT_FALSE(opens_thoughts("assistant\n", {}));
  EXPECT_FALSE(opens_thoughts("", kThink));
}

}  // namespace
}  // namespace s3d::serve
