#include "text/builtin_templates.h"

#include <array>

namespace s3d {
namespace {

struct Builtin {
  std::string_view name, source;
};

// Every message between marks that name its role.
constexpr std::string_view kChatMlTemplate = R"({%- for m in messages -%}
{%- if m.role not in ['system', 'user', 'assistant'] -%}
{{- raise_exception("unknown role '" ~ m.role ~ "' of a chat message; known: system, user, assistant") -}}
{%- endif -%}
{{- '<|im_start|>' ~ m.role ~ '\n' -}}{{- m.content -}}{{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%})";

constexpr std::string_view kLlama3Template = R"({%- for m in messages -%}
{%- if m.role not in ['system', 'user', 'assistant'] -%}
{{- raise_exception("unknown role '" ~ m.role ~ "' of a chat message; known: system, user, assistant") -}}
{%- endif -%}
{{- '<|start_header_id|>' ~ m.role ~ '<|end_header_id|>\n\n' -}}{{- m.content | trim -}}{{- '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%})";

constexpr std::string_view kPhi3Template = R"({%- for m in messages -%}
{%- if m.role not in ['system', 'user', 'assistant'] -%}
{{- raise_exception("unknown role '" ~ m.role ~ "' of a chat message; known: system, user, assistant") -}}
{%- endif -%}
{{- '<|' ~ m.role ~ '|>\n' -}}{{- m.content -}}{{- '<|end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%})";

// Gemma, Llama 2 and Mistral: user and assistant take turns, and the system prompt stands in the first user message.
constexpr std::string_view kGemmaTemplate = R"({%- set first = 1 if messages[0].role == 'system' else 0 -%}
{%- if messages | length == first -%}{{- raise_exception('a system prompt needs a user message after it') -}}{%- endif -%}
{%- for m in messages[first:] -%}
{%- set expected = 'user' if loop.index0 % 2 == 0 else 'assistant' -%}
{%- if m.role != expected -%}{{- raise_exception("message " ~ (loop.index + first) ~ " of the chat: expected role '"
  ~ expected ~ "', found '" ~ m.role ~ "': user and assistant must alternate") -}}{%- endif -%}
{{- '<start_of_turn>' ~ ('user' if m.role == 'user' else 'model') ~ '\n' -}}
{%- if loop.first and first == 1 -%}{{- messages[0].content -}}{{- '\n\n' -}}{%- endif -%}
{{- m.content | trim -}}{{- '<end_of_turn>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\n' -}}{%- endif -%})";

constexpr std::string_view kLlama2Template = R"({%- set first = 1 if messages[0].role == 'system' else 0 -%}
{%- if messages | length == first -%}{{- raise_exception('a system prompt needs a user message after it') -}}{%- endif -%}
{%- for m in messages[first:] -%}
{%- set expected = 'user' if loop.index0 % 2 == 0 else 'assistant' -%}
{%- if m.role != expected -%}{{- raise_exception("message " ~ (loop.index + first) ~ " of the chat: expected role '"
  ~ expected ~ "', found '" ~ m.role ~ "': user and assistant must alternate") -}}{%- endif -%}
{%- if m.role == 'user' -%}
{{- bos_token ~ '[INST] ' -}}
{%- if loop.first and first == 1 -%}
{{- '<<SYS>>\n' -}}{{- messages[0].content -}}{{- '\n<</SYS>>\n\n' -}}
{%- endif -%}
{{- m.content | trim -}}{{- ' [/INST]' -}}
{%- else -%}
{{- ' ' -}}{{- m.content | trim -}}{{- ' ' ~ eos_token -}}
{%- endif -%}
{%- endfor -%})";

constexpr std::string_view kMistralTemplate = R"({%- set first = 1 if messages[0].role == 'system' else 0 -%}
{%- if messages | length == first -%}{{- raise_exception('a system prompt needs a user message after it') -}}{%- endif -%}
{{- bos_token -}}
{%- for m in messages[first:] -%}
{%- set expected = 'user' if loop.index0 % 2 == 0 else 'assistant' -%}
{%- if m.role != expected -%}{{- raise_exception("message " ~ (loop.index + first) ~ " of the chat: expected role '"
  ~ expected ~ "', found '" ~ m.role ~ "': user and assistant must alternate") -}}{%- endif -%}
{%- if m.role == 'user' -%}
{{- '[INST] ' -}}
{%- if loop.first and first == 1 -%}{{- messages[0].content -}}{{- '\n\n' -}}{%- endif -%}
{{- m.content -}}{{- ' [/INST]' -}}
{%- else -%}
{{- m.content -}}{{- eos_token -}}
{%- endif -%}
{%- endfor -%})";

constexpr std::array<Builtin, 6> kBuiltins = {{{"chatml", kChatMlTemplate},
                                               {"llama2", kLlama2Template},
                                               {"llama3", kLlama3Template},
                                               {"phi3", kPhi3Template},
                                               {"gemma", kGemmaTemplate},
                                               {"mistral", kMistralTemplate}}};

}  // namespace

std::vector<std::string_view> builtin_template_names() {
  std::vector<std::string_view> names;
  for (const Builtin& builtin : kBuiltins) names.push_back(builtin.name);
  return names;
}

std::string_view builtin_template(std::string_view name) {
  for (const Builtin& builtin : kBuiltins) {
    if (builtin.name == name) return builtin.source;
  }
  return {};
}

}  // namespace s3d
