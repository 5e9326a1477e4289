// The dialogue of `s3d chat`: lines in, answers and the effects of commands out.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "cli/console.h"
#include "cli/line_editor.h"
#include "engine/conversation.h"

namespace s3d::cli {

struct ChatOptions {
  AnswerOptions answer;
  std::optional<std::string> system;  // absent: the template's own
  bool show_spec = false;             // mark drafted tokens
  bool interactive = false;
  bool verbose = false;
  std::string history_path;
  // A constraint for each answer; empty: answers may have any form.
  std::function<Result<std::shared_ptr<Constraint>>()> new_constraint;
};

// Thread rule: one thread.
class ChatSession {
 public:
  ChatSession(Runtime& runtime, PromptMaker prompts, ChatOptions settings, const Console& console);

  // Until /quit or the end of input. The number of questions that failed; each was reported where it stood.
  Result<int> run();

 private:
  ReadLine read_message();
  bool handle(const std::string& line);
  void command(std::string_view name, const std::string& rest);
  void ask(const std::string& text);
  void retry();
  void show_statistics() const;

  Runtime& runtime_;
  Conversation conversation_;
  ChatOptions settings_;
  const Console& console_;
  LineEditor editor_;
  std::string last_question_;
  std::string last_line_;  // figures of the last answer
  int failed_ = 0;         // questions without an answer
};

}  // namespace s3d::cli
