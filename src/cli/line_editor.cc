#include "cli/line_editor.h"

#include <histedit.h>
#include <sys/stat.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <utility>

#include "base/environment.h"
#include "base/index.h"
#include "base/text_file.h"

namespace s3d::cli {
namespace fs = std::filesystem;

struct LineEditor::Impl {
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string history_path;
  std::string prompt;
  bool interrupted = false;

  explicit Impl(std::string path);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  static Impl* of(EditLine* editor) {
    void* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return static_cast<Impl*>(self);
  }
  static char* prompt_of(EditLine* editor) { return of(editor)->prompt.data(); }
  static unsigned char on_interrupt(EditLine* editor, wint_t) {
    of(editor)->interrupted = true;
    return CC_NEWLINE;
  }
  static unsigned char on_suspend(EditLine* editor, wint_t) {
    el_set(editor, EL_PREP_TERM, 0);
    std::raise(SIGTSTP);
    el_set(editor, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
  }
  void load_history();
  void remember(const char* line);
};

LineEditor::Impl::Impl(std::string path) : history_path(std::move(path)) {
  // Only what is a letter, so that numbers keep their dots. A locale that knows no UTF-8 would break typed umlauts.
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  editor = el_init("s3d", stdin, stdout, stderr);
  el_set(editor, EL_CLIENTDATA, this);
  el_set(editor, EL_PROMPT_ESC, prompt_of, '\1');
  el_set(editor, EL_EDITOR, "emacs");
  // Ctrl-C and Ctrl-Z are keys while a line is edited, so that no signal has to interrupt a read.
  el_set(editor, EL_SETTY, "-d", "-isig", nullptr);
  // The wide form, because the narrow one copies both strings and never frees them.
  el_wset(editor, EL_ADDFN, L"s3d-interrupt", L"Drop the line", on_interrupt);
  el_set(editor, EL_BIND, "^C", "s3d-interrupt", nullptr);
  el_wset(editor, EL_ADDFN, L"s3d-suspend", L"Give the terminal back to the shell", on_suspend);
  el_set(editor, EL_BIND, "^Z", "s3d-suspend", nullptr);
  el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  load_history();
}

LineEditor::Impl::~Impl() {
  if (history != nullptr) history_end(history);
  el_end(editor);
}

void LineEditor::Impl::load_history() {
  constexpr int kMaxLines = 1000;
  HistEvent event{};
  history = history_init();
  if (history == nullptr) return;
  ::history(history, &event, H_SETSIZE, kMaxLines);
  ::history(history, &event, H_SETUNIQUE, 1);
  el_set(editor, EL_HIST, ::history, history);
  if (history_path.empty()) return;
  std::error_code ignored;
  fs::create_directories(fs::path(history_path).parent_path(), ignored);
  ::history(history, &event, H_LOAD, history_path.c_str());
}

// Saved after every line: a program that is killed loses none. What people type is for their eyes only.
void LineEditor::Impl::remember(const char* line) {
  if (history == nullptr) return;
  HistEvent event{};
  ::history(history, &event, H_ENTER, line);
  if (history_path.empty()) return;
  const mode_t before = umask(0077);
  ::history(history, &event, H_SAVE, history_path.c_str());
  umask(before);
}

LineEditor::LineEditor(bool interactive, std::string history_path) {
  if (interactive) impl_ = std::make_unique<Impl>(std::move(history_path));
}

LineEditor::~LineEditor() = default;

ReadLine LineEditor::read(const std::string& prompt, bool styled) {
  std::string line;
  if (impl_ == nullptr) {
    if (!std::getline(std::cin, line)) return {ReadOutcome::kEnd, {}};
    if (!line.empty() && line.back() == '\r') line.pop_back();  // a line end of Windows
    const std::string_view text = std::exchange(at_begin_, false) ? without_byte_order_mark(line) : line;
    return {ReadOutcome::kLine, std::string(text)};
  }
  // libedit does not print what stands behind the last visible character: the blank comes after the end of the style.
  impl_->prompt = styled ? "\1\x1b[1;32m\1" + prompt + "\1\x1b[0m\1 " : prompt + " ";
  impl_->interrupted = false;
  // Before the prompt: libedit shows it first, and a Ctrl-C in between would be a signal instead of a key.
  el_set(impl_->editor, EL_PREP_TERM, 1);
  int count = 0;
  const char* text = el_gets(impl_->editor, &count);
  if (impl_->interrupted) return {ReadOutcome::kInterrupted, {}};
  if (text == nullptr || count <= 0) return {ReadOutcome::kEnd, {}};
  line.assign(text, usize(count));
  if (line.find_first_not_of(" \t\r\n") != std::string::npos) impl_->remember(line.c_str());
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return {ReadOutcome::kLine, line};
}

std::string chat_history_path() {
  const std::string state = environment("XDG_STATE_HOME");
  const std::string home = environment("HOME");
  if (fs::path(state).is_absolute()) return (fs::path(state) / "s3d" / "chat_history").string();
  if (home.empty()) return "";
  return (fs::path(home) / ".local" / "state" / "s3d" / "chat_history").string();
}

}  // namespace s3d::cli
