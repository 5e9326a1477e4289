// Pieces of tokens -> text that can be shown: whole UTF-8 characters only, and never a part of a stop string.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace s3d {

// Joins pieces of tokens to whole UTF-8 characters. Everything it returns is well-formed UTF-8: a byte that cannot
// become part of a character is shown as U+FFFD, one for each maximal broken part (Unicode 15, section 3.9).
// Thread rule: one thread at a time.
class Utf8Stream {
 public:
  // Adds bytes; returns the characters that are complete now.
  std::string push(std::string_view bytes);

  // Ends the stream: U+FFFD if a character was left incomplete, "" otherwise. The object can be used again.
  std::string finish();

 private:
  std::string pending_;  // at most 3 bytes, the beginning of a character
};

// Finds the first of several stop strings in a stream, across the borders of pieces. First is the one that is complete
// first, so that the answer does not depend on how the text was cut into pieces. Empty stop strings are ignored.
// Thread rule: one thread at a time.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  // Adds text; returns what can be shown (never a possible beginning of a stop string). After a stop was found,
  // stopped() is true and nothing more is shown.
  std::string push(std::string_view text) { return push(text, /*shown=*/true); }

  // Adds the text of a special token: it is never shown, but a stop string may hold it.
  std::string push_special(std::string_view text);
  std::string finish();  // what was held back, if no stop came
  bool stopped() const { return stopped_; }
  const std::string& stop() const { return stop_; }  // the stop string that was found; empty: none

 private:
  std::string push(std::string_view text, bool shown);
  std::string take(size_t n);  // the first `n` bytes held, without those that are not shown

  std::vector<std::string> stops_;
  std::string held_;
  std::string shown_;  // of each byte of held_: 1, or 0 for those of special tokens
  bool stopped_ = false;
  std::string stop_;
};

}  // namespace s3d
