// What xgrammar would print. Internal to this folder.
#pragma once

#include <string>

namespace s3d {

// Takes the warnings that xgrammar gives on this thread while it lives. One at a time for each thread.
class XGrammarWarnings {
 public:
  XGrammarWarnings();
  ~XGrammarWarnings();
  XGrammarWarnings(const XGrammarWarnings&) = delete;
  XGrammarWarnings& operator=(const XGrammarWarnings&) = delete;

  const std::string& first() const { return first_; }  // empty: none came
  void add(const std::string& message);

 private:
  std::string first_;
};

}  // namespace s3d
