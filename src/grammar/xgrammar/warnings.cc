#include "grammar/xgrammar/warnings.h"

#include <stdexcept>

#include "base/check.h"

namespace s3d {
namespace {

// xgrammar gives its messages to a function without a context (below), so the one who wants them is kept beside it.
thread_local XGrammarWarnings* listener = nullptr;

}  // namespace

XGrammarWarnings::XGrammarWarnings() {
  S3D_CHECK(listener == nullptr, "one at a time");
  listener = this;
}

XGrammarWarnings::~XGrammarWarnings() {
  listener = nullptr;
}

void XGrammarWarnings::add(const std::string& message) {
  if (first_.empty()) first_ = message;
}

}  // namespace s3d

// The two functions that xgrammar wants when it is compiled with XGRAMMAR_LOG_CUSTOMIZE.
namespace xgrammar {

[[noreturn]] void LogFatalImpl(const std::string& file, int line, const std::string& message);
void LogMessageImpl(const std::string& file, int line, int level, const std::string& message);

void LogFatalImpl(const std::string& /*file*/, int /*line*/, const std::string& message) {
  throw std::runtime_error(message);
}

void LogMessageImpl(const std::string& /*file*/, int /*line*/, int level, const std::string& message) {
  constexpr int kWarning = 2;
  if (level >= kWarning && s3d::listener != nullptr) s3d::listener->add(message);
}

}  // namespace xgrammar
