#include "text/chat_template.h"

#include <array>
#include <optional>
#include <utility>

#include "text/jinja_scan.h"

namespace s3d {
namespace {

using Family = ChatTemplate::Family;
using Style = ChatTemplate::Style;

constexpr std::array<std::pair<std::string_view, Family>, 6> kFamilies = {{
    {"chatml", Family::kChatMl},
    {"llama2", Family::kLlama2},
    {"llama3", Family::kLlama3},
    {"phi3", Family::kPhi3},
    {"gemma", Family::kGemma},
    {"mistral", Family::kMistral},
}};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\r\f\v";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1));
}

std::string family_list() {
  std::string list;
  for (const auto& [name, family] : kFamilies) {
    if (!list.empty()) list += ", ";
    list += name;
  }
  return list;
}

// The family whose marks stand in the template. Templates that use a family's marks in another way are not of it:
// Phi-4 has <|im_sep|> between the parts of ChatML, Mistral's later ones have a system prompt between marks of its own.
std::optional<Family> recognise(std::string_view jinja) {
  if (contains(jinja, "<|start_header_id|>")) return Family::kLlama3;
  if (contains(jinja, "<|im_sep|>") || contains(jinja, "[SYSTEM_PROMPT]")) return std::nullopt;
  if (contains(jinja, "<|im_start|>")) return Family::kChatMl;
  if (contains(jinja, "<start_of_turn>")) return Family::kGemma;
  if (contains(jinja, "<|assistant|>") && contains(jinja, "<|end|>")) return Family::kPhi3;
  if (contains(jinja, "[INST]")) return contains(jinja, "<<SYS>>") ? Family::kLlama2 : Family::kMistral;
  return std::nullopt;
}

// The text between a family's marks of a system message, where the template has such a message written out.
std::string written_system(const std::vector<std::string>& texts, std::string_view begin, std::string_view end) {
  for (const std::string& text : texts) {
    const size_t from = text.find(begin);
    if (from == std::string::npos) continue;
    const size_t to = text.find(end, from + begin.size());
    if (to != std::string::npos) return text.substr(from + begin.size(), to - from - begin.size());
  }
  return {};
}

std::string find_default_system(Family family, std::string_view jinja) {
  const std::vector<std::string> texts = jinja_texts(jinja);
  std::string written;
  if (family == Family::kChatMl) written = written_system(texts, "<|im_start|>system\n", "<|im_end|>");
  if (family == Family::kPhi3) written = written_system(texts, "<|system|>\n", "<|end|>");
  if (family == Family::kLlama2) written = written_system(texts, "<<SYS>>\n", "\n<</SYS>>");
  if (family == Family::kLlama3) {
    written = written_system(texts, "<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>");
  }
  if (!written.empty()) return written;
  for (const std::string_view variable : {"default_system_message", "system_message", "default_system_prompt"}) {
    written = jinja_assigned(jinja, variable);
    if (!written.empty()) return written;
  }
  return {};
}

// What Llama 3.1 and 3.2 say before every system prompt. The date is the one that the template falls back to.
std::string find_preamble(std::string_view jinja) {
  constexpr std::string_view kKnowledge = "Cutting Knowledge Date: ";
  const std::string date = jinja_assigned(jinja, "date_string");
  for (const std::string& text : jinja_texts(jinja)) {
    if (text.starts_with(kKnowledge) && !date.empty()) return text + "Today Date: " + date + "\n\n";
  }
  return {};
}

Style default_style(Family family) {
  Style style;
  style.trim = family == Family::kGemma || family == Family::kLlama3 || family == Family::kLlama2;
  if (family == Family::kLlama2) {
    style.answer_begin = std::string(" ");
    style.answer_end = std::string(" </s>");
  }
  return style;
}

Style read_style(Family family, std::string_view jinja) {
  Style style = default_style(family);
  style.trim = contains(jinja, "trim") || contains(jinja, ".strip()");
  style.default_system = find_default_system(family, jinja);
  if (family == Family::kLlama3) style.system_preamble = find_preamble(jinja);
  const bool inst = family == Family::kLlama2 || family == Family::kMistral;
  if (inst || family == Family::kGemma) {
    style.system_allowed = contains(jinja, "system") && !contains(jinja, "System role not supported");
  }
  if (family == Family::kMistral) {
    style.system_with_last = contains(jinja, "loop.last");
    if (!contains(jinja, " [/INST]")) style.user_end = std::string("[/INST]");
    if (jinja_has_sequence(jinja, {"' '", "+", "message"})) style.answer_begin = std::string(" ");
    if (jinja_has_sequence(jinja, {"eos_token", "+", "' '"})) style.answer_end = std::string("</s> ");
  }
  return style;
}

Error unknown_family(std::string_view what) {
  return Error{std::string(what) + "; name a family with --chat-template: " + family_list()};
}

}  // namespace

Result<ChatTemplate> ChatTemplate::create(std::string_view jinja, std::string_view name) {
  const std::optional<Family> found = recognise(jinja);
  if (name.empty()) {
    if (found) return ChatTemplate(*found, read_style(*found, jinja));
    return unknown_family(jinja.empty() ? "the model file has no chat template"
                                        : "the model file's chat template is of no known family");
  }
  for (const auto& [known, family] : kFamilies) {
    if (known != name) continue;
    return ChatTemplate(family, found == family ? read_style(family, jinja) : default_style(family));
  }
  return unknown_family("unknown chat template '" + std::string(name) + "'");
}

std::string_view ChatTemplate::name() const {
  for (const auto& [name, family] : kFamilies) {
    if (family == family_) return name;
  }
  return {};
}

std::vector<std::string> ChatTemplate::known_names() {
  std::vector<std::string> names;
  for (const auto& [name, family] : kFamilies) names.emplace_back(name);
  return names;
}

Result<std::string> ChatTemplate::render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const {
  S3D_TRY(check_order(messages));
  std::vector<ChatMessage> all = messages;
  const bool needs_system = !style_.default_system.empty() || !style_.system_preamble.empty();
  if (all[0].role != "system" && needs_system) all.insert(all.begin(), {"system", style_.default_system});
  if (family_ == Family::kGemma) return render_gemma(all, add_generation_prompt);
  if (family_ == Family::kLlama2 || family_ == Family::kMistral) return render_inst(all);
  return render_marked(all, add_generation_prompt);
}

Status ChatTemplate::check_order(const std::vector<ChatMessage>& messages) const {
  if (messages.empty()) return Error{"a chat needs at least one message, found none"};
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      return Error{"unknown role '" + message.role + "' of a chat message; known: system, user, assistant"};
    }
  }
  if (family_ != Family::kGemma && family_ != Family::kLlama2 && family_ != Family::kMistral) return Ok();
  const bool system = messages[0].role == "system";
  const std::string by = " (chat template " + std::string(name()) + ")";
  if (system && !style_.system_allowed) return Error{"the model's chat template takes no system prompt" + by};
  if (system && messages.size() == 1) return Error{"a system prompt needs a user message after it" + by};
  for (size_t i = system ? 1 : 0; i < messages.size(); ++i) {
    const std::string_view expected = (i - (system ? 1 : 0)) % 2 == 0 ? "user" : "assistant";
    if (messages[i].role != expected) {
      return Error{"message " + std::to_string(i + 1) + " of the chat: expected role '" + std::string(expected) +
                   "', found '" + messages[i].role + "': user and assistant must alternate" + by};
    }
  }
  return Ok();
}

std::string ChatTemplate::content(const ChatMessage& message) const {
  // Mistral's templates trim answers only.
  const bool trim = style_.trim && (family_ != Family::kMistral || message.role == "assistant");
  return trim ? trimmed(message.content) : message.content;
}

// Families in which each message stands between marks that name its role.
std::string ChatTemplate::render_marked(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const {
  struct Marks {
    std::string_view before_role, after_role, end;
  };
  const Marks marks = family_ == Family::kChatMl   ? Marks{"<|im_start|>", "\n", "<|im_end|>\n"}
                      : family_ == Family::kLlama3 ? Marks{"<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"}
                                                   : Marks{"<|", "|>\n", "<|end|>\n"};
  std::string out;
  const auto begin = [&](std::string_view role) {
    out.append(marks.before_role).append(role).append(marks.after_role);
  };
  for (size_t i = 0; i < messages.size(); ++i) {
    begin(messages[i].role);
    if (i == 0) out += style_.system_preamble;
    out.append(content(messages[i])).append(marks.end);
  }
  if (add_generation_prompt) begin("assistant");
  return out;
}

// Gemma: the system prompt goes before the first user message.
std::string ChatTemplate::render_gemma(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const {
  std::string out;
  std::string prefix;
  for (const ChatMessage& message : messages) {
    if (message.role == "system") {
      prefix = message.content + "\n\n";
      continue;
    }
    out += message.role == "user" ? "<start_of_turn>user\n" : "<start_of_turn>model\n";
    out.append(std::exchange(prefix, {})).append(content(message)).append("<end_of_turn>\n");
  }
  if (add_generation_prompt) out += "<start_of_turn>model\n";
  return out;
}

// Llama 2 and Mistral: user messages stand in [INST], answers follow; there is no mark of a beginning answer.
std::string ChatTemplate::render_inst(const std::vector<ChatMessage>& messages) const {
  const bool llama2 = family_ == Family::kLlama2;
  std::string out;
  std::string prefix;
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "system") {
      prefix = llama2 ? "<<SYS>>\n" + message.content + "\n<</SYS>>\n\n" : message.content + "\n\n";
    } else if (message.role == "user") {
      const bool last = i + 1 == messages.size();
      if (llama2 && !out.empty()) out += "<s>";  // the first BOS is the tokenizer's
      const std::string before = style_.system_with_last && !last ? std::string() : std::exchange(prefix, {});
      const std::string text = llama2 && style_.trim ? trimmed(before + message.content) : before + content(message);
      out.append("[INST] ").append(text).append(style_.user_end);
    } else {
      out.append(style_.answer_begin).append(content(message)).append(style_.answer_end);
    }
  }
  return out;
}

}  // namespace s3d
