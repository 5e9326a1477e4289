#include "serve/tool_format.h"

#include <algorithm>
#include <array>

namespace s3d::serve {
namespace {

struct Name {
  std::string_view name;
  ToolFormat format;
};
constexpr std::array kNames = std::to_array<Name>({{"hermes", ToolFormat::kHermes},
                                                   {"qwen-coder", ToolFormat::kQwenCoder},
                                                   {"llama3", ToolFormat::kLlama3},
                                                   {"mistral", ToolFormat::kMistral},
                                                   {"phi4", ToolFormat::kPhi4},
                                                   {"json", ToolFormat::kJson}});

bool mentions(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

}  // namespace

ToolFormat tool_format_of(std::string_view chat_template) {
  if (mentions(chat_template, "<function=") && mentions(chat_template, "<parameter=")) return ToolFormat::kQwenCoder;
  if (mentions(chat_template, "<tool_call>")) return ToolFormat::kHermes;
  if (mentions(chat_template, "[TOOL_CALLS]")) return ToolFormat::kMistral;
  if (mentions(chat_template, "<|tool_call|>") || mentions(chat_template, "<|tool|>")) return ToolFormat::kPhi4;
  const bool llama = mentions(chat_template, "<|start_header_id|>") && template_shows_tools(chat_template);
  return llama || mentions(chat_template, "<|python_tag|>") ? ToolFormat::kLlama3 : ToolFormat::kJson;
}

std::optional<ToolFormat> tool_format_named(std::string_view name) {
  const auto* at = std::find_if(kNames.begin(), kNames.end(), [name](const Name& known) { return known.name == name; });
  return at == kNames.end() ? std::nullopt : std::optional(at->format);
}

std::string_view tool_format_name(ToolFormat format) {
  const auto* at =
      std::find_if(kNames.begin(), kNames.end(), [format](const Name& known) { return known.format == format; });
  return at->name;
}

bool template_shows_tools(std::string_view chat_template) {
  return mentions(chat_template, "tools") || mentions(chat_template, "tool.function");
}

std::vector<std::string> control_marks(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
    case ToolFormat::kQwenCoder:
      return {"<tool_call>", "</tool_call>"};
    case ToolFormat::kLlama3:
      return {"<|python_tag|>"};
    case ToolFormat::kMistral:
      return {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"};
    case ToolFormat::kPhi4:
      return {"<|tool_call|>", "<|/tool_call|>"};
    case ToolFormat::kJson:
      return {};
  }
  return {};
}

ThoughtMarks thought_marks_of(std::string_view chat_template) {
  if (mentions(chat_template, "</think>")) return {"<think>", "</think>"};
  if (mentions(chat_template, "[THINK]")) return {"[THINK]", "[/THINK]"};
  if (mentions(chat_template, "<|START_THINKING|>")) return {"<|START_THINKING|>", "<|END_THINKING|>"};
  return {};
}

bool opens_thoughts(std::string_view prompt, const ThoughtMarks& marks) {
  const size_t last = prompt.find_last_not_of(" \n\r\t");
  return !marks.begin.empty() && last != std::string_view::npos && prompt.substr(0, last + 1).ends_with(marks.begin);
}

}  // namespace s3d::serve
