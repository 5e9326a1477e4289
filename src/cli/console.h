// What the program shows to a person: styles, notes and errors on stderr, the answer on stdout.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "s3d/options.h"

namespace s3d::cli {

enum class ColorMode { kAuto, kNever, kAlways };
enum class Style { kPlain, kDim, kBold, kError, kUser, kDrafted };

// Text from outside with its line ends and other control characters written out (C0, DEL and C1, as bytes and as
// UTF-8): it cannot steer a terminal. Bytes that are no UTF-8 are written out too.
std::string visible(std::string_view text);

// Thread rule: one thread at a time.
class Console {
 public:
  // kAuto: colours on a terminal, unless NO_COLOR is set to something or TERM is "dumb".
  void set_color(ColorMode mode);
  void set_quiet(bool quiet) { quiet_ = quiet; }

  bool stdout_is_terminal() const;
  bool stderr_is_terminal() const;
  bool shows_progress() const { return !quiet_ && stderr_is_terminal(); }
  bool stdin_is_terminal() const;

  void error(std::string_view message) const;    // "s3d: error: …"
  void warning(std::string_view message) const;  // "s3d: warning: …", unless quiet
  void note(std::string_view message) const;     // lines on stderr, unless quiet
  void text(std::string_view text) const;        // a part of the answer: written to stdout and flushed
  // The same for text that a model made or a file holds: on a terminal, control characters but for line ends and tabs
  // are written out; in a pipe it stays as it is. `style`: on terminals.
  void foreign_text(std::string_view text, Style style = Style::kPlain) const;

  // Whether all of text() was written, and what else went to stdout; to be asked once, last.
  Status finish() const;

  // `text` in a style, for a stream that may or may not have colours.
  std::string styled_out(Style style, std::string_view text) const { return styled(color_out_, style, text); }
  std::string styled_err(Style style, std::string_view text) const { return styled(color_err_, style, text); }

  // A bar on stderr that appears when loading takes longer than a second, on terminals only, and goes away at the end.
  LoadProgress progress_bar() const;

 private:
  static std::string styled(bool color, Style style, std::string_view text);

  bool color_out_ = false;
  bool color_err_ = false;
  bool quiet_ = false;
  mutable int write_error_ = 0;  // errno of the first text() that failed
};

}  // namespace s3d::cli
