// One line of text from a person: edited with libedit on a terminal, plainly read otherwise.
#pragma once

#include <memory>
#include <string>

namespace s3d::cli {

enum class ReadOutcome { kLine, kEnd, kInterrupted };  // a line | Ctrl-D or end of input | Ctrl-C

struct ReadLine {
  ReadOutcome outcome;
  std::string text;  // without the line end
};

// Thread rule: one at a time, in the main thread.
class LineEditor {
 public:
  // `interactive`: stdin and stdout are a terminal. `history_path`: lines are read from and added to this file, its
  // folder made if need be; "" = no history. That it cannot be written is no error: the history is then lost.
  LineEditor(bool interactive, std::string history_path);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // `prompt` is shown on terminals only; `styled`: it is shown bold and green.
  ReadLine read(const std::string& prompt, bool styled);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // nullptr: not interactive
  bool at_begin_ = true;        // of what is read without a terminal
};

// $XDG_STATE_HOME/s3d/chat_history, else ~/.local/state/s3d/chat_history.
std::string chat_history_path();

}  // namespace s3d::cli
