#include "cli/chat_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "cli/drafting_options.h"
#include "cli/interrupt.h"
#include "cli/report.h"

namespace s3d::cli {
namespace {

constexpr const char* kHelp = R"(/help           this list
/reset          forget the conversation
/system [TEXT]  a new system prompt, and forget the conversation; without TEXT: the template's own
/retry          the last question again: another answer, with a temperature
/undo           drop the last question and its answer
/stats          positions in use, figures of the last answer
/quit           leave (also Ctrl-D)
Any other line is a question, also one that begins with /.
Ctrl-C stops an answer. A line that ends with \ goes on in the next one.)";

// "/etc/hosts is what?", "// a comment" and "/reset the router, but how?" are questions.
bool is_command(std::string_view name, const std::string& rest) {
  if (name == "/system") return true;
  constexpr std::array kAlone = {"/help", "/reset", "/retry", "/undo", "/stats", "/quit", "/exit"};
  return rest.empty() && std::find(kAlone.begin(), kAlone.end(), name) != kAlone.end();
}

std::string trimmed(const std::string& text) {
  constexpr const char* kBlanks = " \t\r";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace

ChatSession::ChatSession(Runtime& runtime, PromptMaker prompts, ChatOptions settings, const Console& console)
    : runtime_(runtime),
      conversation_(runtime, std::move(prompts), settings.system),
      settings_(std::move(settings)),
      console_(console),
      editor_(settings_.interactive, settings_.history_path) {
  settings_.answer.generate.cancelled = Interrupt::requested;
}

Result<int> ChatSession::run() {
  const Interrupt interrupt;
  if (settings_.interactive) console_.note("Ctrl-C stops an answer, /help lists the commands, Ctrl-D leaves.");
  while (true) {
    const ReadLine read = read_message();
    const bool line_left = settings_.interactive && read.outcome != ReadOutcome::kLine;  // without its end
    if (line_left) console_.text("\n");
    if (read.outcome == ReadOutcome::kEnd) break;
    if (read.outcome == ReadOutcome::kInterrupted) {
      console_.note("Ctrl-D or /quit leaves.");
      continue;
    }
    if (!handle(read.text)) break;
    if (!settings_.interactive && Interrupt::requested()) break;
  }
  return failed_;
}

ReadLine ChatSession::read_message() {
  const bool styled = !console_.styled_out(Style::kUser, "").empty();
  ReadLine message{ReadOutcome::kLine, {}};
  for (const char* prompt = ">"; true; prompt = ".") {
    ReadLine part = editor_.read(prompt, styled);
    const bool ended_inside = part.outcome == ReadOutcome::kEnd && !message.text.empty();
    if (ended_inside) return message;
    if (part.outcome != ReadOutcome::kLine) return part;
    const bool goes_on = !part.text.empty() && part.text.back() == '\\';
    if (goes_on) part.text.back() = '\n';
    message.text += part.text;
    if (!goes_on) return message;
  }
}

// False: leave.
bool ChatSession::handle(const std::string& line) {
  const std::string text = trimmed(line);
  if (text.empty()) return true;
  const size_t space = text.find_first_of(" \t\n");
  const std::string name = text.substr(0, space);
  const std::string rest = space == std::string::npos ? "" : trimmed(text.substr(space + 1));
  if (!is_command(name, rest)) {
    ask(text);
    return true;
  }
  if (name == "/quit" || name == "/exit") return false;
  command(name, rest);
  return true;
}

void ChatSession::command(std::string_view name, const std::string& rest) {
  if (name == "/help") {
    console_.note(kHelp);
  } else if (name == "/reset") {
    conversation_.reset(conversation_.system());
    console_.note("The conversation is forgotten.");
  } else if (name == "/system") {
    conversation_.reset(rest.empty() ? std::nullopt : std::optional(rest));
    console_.note(rest.empty() ? "The template's own system prompt from now on." : "New system prompt set.");
  } else if (name == "/retry") {
    retry();
  } else if (name == "/undo") {
    console_.note(conversation_.undo() ? "The last question is dropped." : "There is nothing to drop.");
  } else if (name == "/stats") {
    show_statistics();
  }
}

// Every answer draws from a stream of its own, so that /retry differs, and the same seed still gives the same session.
void ChatSession::ask(const std::string& text) {
  Interrupt::clear();
  last_question_ = text;
  const auto show = [this](std::string_view part, bool drafted) {
    console_.foreign_text(part, settings_.show_spec && drafted ? Style::kDrafted : Style::kPlain);
  };
  if (settings_.new_constraint) {
    auto constraint = settings_.new_constraint();
    if (!constraint.ok()) {
      ++failed_;
      console_.error(constraint.error().message);
      return;
    }
    settings_.answer.generate.constraint = std::move(*constraint);
  }
  const auto answer = conversation_.ask(text, settings_.answer, show);
  ++settings_.answer.generate.stream;
  if (!answer.ok()) {
    ++failed_;
    console_.error(answer.error().message);
    if (conversation_.messages().size() > 1) console_.note("/undo or /reset makes room.");
    return;
  }
  console_.text("\n");
  const Generation& g = answer->generation;
  if (g.reason == FinishReason::kCancelled) console_.note("[stopped]");
  if (g.reason == FinishReason::kLength) console_.note("[cut at --max-tokens]");
  if (g.reason == FinishReason::kContext) console_.note("[the context is full: /undo or /reset makes room]");
  RunFigures figures;
  figures.peak_rss = peak_resident_bytes();
  last_line_ = closing_line(g, figures);
  if (const std::string line = spec_line(g.spec); !line.empty()) last_line_ += "\n" + line;
  if (settings_.verbose) console_.note(last_line_);
}

void ChatSession::retry() {
  if (last_question_.empty()) {
    console_.note("There is no question yet.");
    return;
  }
  // A question that failed or was stopped before its answer began is not in the conversation: nothing to drop then.
  const std::vector<ChatMessage>& messages = conversation_.messages();
  const bool answered = messages.size() >= 2 && messages[messages.size() - 2].content == last_question_;
  if (answered) conversation_.undo();
  ask(std::string(last_question_));
}

void ChatSession::show_statistics() const {
  console_.note(fmt::format("positions: {} of {}", conversation_.tokens(), runtime_.context()));
  if (!last_line_.empty()) console_.note(last_line_);
  print_memory(runtime_, peak_resident_bytes(), console_);
}

}  // namespace s3d::cli
