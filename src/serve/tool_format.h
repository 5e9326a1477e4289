// How models write calls of tools.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace s3d::serve {

enum class ToolFormat : uint8_t {
  kHermes,     // <tool_call>{"name": …, "arguments": {…}}</tool_call>: Hermes, Qwen 2.5 and 3, SmolLM 3
  kQwenCoder,  // <tool_call><function=…><parameter=…>…</parameter></function></tool_call>: Qwen3-Coder
  kLlama3,     // {"name": …, "parameters": {…}}, perhaps after <|python_tag|>: Llama 3.1 to 3.3
  kMistral,    // [TOOL_CALLS][{"name": …, "arguments": {…}}] or [TOOL_CALLS]name[ARGS]{…}
  kPhi4,       // <|tool_call|>[{"name": …, "arguments": {…}}]<|/tool_call|>: Phi-4-mini
  kJson,       // one object or a list of them, perhaps fenced by ```: Gemma 3, and all others
};

// By what the text of a model's chat template mentions.
ToolFormat tool_format_of(std::string_view chat_template);
// "hermes", "qwen-coder", "llama3", "mistral", "phi4", "json"; nothing: no such format.
std::optional<ToolFormat> tool_format_named(std::string_view name);
std::string_view tool_format_name(ToolFormat format);

// Whether the template shows tools to the model. If not, tool_prompt() has to be added to the system message.
bool template_shows_tools(std::string_view chat_template);

// Texts that only control tokens of the model spell, and that answers of this format need to be shown with.
std::vector<std::string> control_marks(ToolFormat format);

// The marks around a model's thoughts. Empty: it has none.
struct ThoughtMarks {
  std::string begin;
  std::string end;
};
ThoughtMarks thought_marks_of(std::string_view chat_template);

// Whether a prompt ends inside of thoughts.
bool opens_thoughts(std::string_view prompt, const ThoughtMarks& marks);

}  // namespace s3d::serve
