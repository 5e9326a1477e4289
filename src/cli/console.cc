#include "cli/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>

#include "base/atomic_file.h"
#include "text/utf8.h"

namespace s3d::cli {
namespace {

bool colors_wanted(ColorMode mode, int fd) {
  if (mode != ColorMode::kAuto) return mode == ColorMode::kAlways;
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;  // https://no-color.org
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

const char* code(Style style) {
  switch (style) {
    case Style::kDim:
      return "\x1b[2m";
    case Style::kBold:
      return "\x1b[1m";
    case Style::kError:
      return "\x1b[1;31m";
    case Style::kDrafted:
      return "\x1b[32m";
    case Style::kUser:
      return "\x1b[1;32m";
    case Style::kPlain:
      break;
  }
  return "";
}

}  // namespace

namespace {

// `kept`: control characters that stay.
std::string without_controls(std::string_view text, std::string_view kept) {
  std::string out;
  while (!text.empty()) {
    const Utf8Prefix prefix = utf8_prefix(text);
    const std::string_view part = text.substr(0, prefix.length);
    const auto first = static_cast<unsigned char>(part.front());
    const bool c0 = first < 0x20 || first == 0x7F;
    const bool c1 = part.size() == 2 && first == 0xC2 && static_cast<unsigned char>(part[1]) < 0xA0;
    const bool plain = (!c0 && !c1 && prefix.whole) || (c0 && kept.find(part.front()) != std::string_view::npos);
    if (plain) {
      out += part;
    } else if (part == "\n") {
      out += "\\n";
    } else if (c1) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(part[1]));
    } else {
      for (const char c : part) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    text.remove_prefix(part.size());
  }
  return out;
}

}  // namespace

std::string visible(std::string_view text) {
  return without_controls(text, "");
}

void Console::set_color(ColorMode mode) {
  color_out_ = colors_wanted(mode, STDOUT_FILENO);
  color_err_ = colors_wanted(mode, STDERR_FILENO);
}

bool Console::stdout_is_terminal() const {
  return isatty(STDOUT_FILENO) == 1;
}

bool Console::stderr_is_terminal() const {
  return isatty(STDERR_FILENO) == 1;
}

bool Console::stdin_is_terminal() const {
  return isatty(STDIN_FILENO) == 1;
}

std::string Console::styled(bool color, Style style, std::string_view text) {
  if (!color || style == Style::kPlain) return std::string(text);
  return fmt::format("{}{}\x1b[0m", code(style), text);
}

void Console::error(std::string_view message) const {
  fmt::print(stderr, "s3d: {} {}\n", styled_err(Style::kError, "error:"), visible(message));
}

void Console::warning(std::string_view message) const {
  if (!quiet_) fmt::print(stderr, "s3d: {} {}\n", styled_err(Style::kBold, "warning:"), visible(message));
}

void Console::note(std::string_view message) const {
  if (!quiet_) fmt::print(stderr, "{}\n", styled_err(Style::kDim, without_controls(message, "\n\t")));
}

void Console::text(std::string_view text) const {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written && write_error_ == 0) write_error_ = errno;
}

void Console::foreign_text(std::string_view text, Style style) const {
  this->text(styled_out(style, stdout_is_terminal() ? without_controls(text, "\n\t") : std::string(text)));
}

Status Console::finish() const {
  std::cout.flush();  // CLI11's help
  int error = write_error_;
  if (error == 0 && (std::fflush(stdout) != 0 || std::ferror(stdout) != 0 || !std::cout))
    error = errno != 0 ? errno : EIO;
  if (error == 0) return Ok();
  return Error{"cannot write to standard output: " + write_failure_text(error)};
}

LoadProgress Console::progress_bar() const {
  if (!shows_progress()) return {};
  using Clock = std::chrono::steady_clock;
  struct State {
    Clock::time_point begin = Clock::now();
    int shown = -1;  // percent
  };
  return [state = std::make_shared<State>()](size_t done, size_t total) {
    constexpr int kWidth = 30;
    const int percent = total == 0 ? 100 : static_cast<int>(done * 100 / total);
    const bool late = Clock::now() - state->begin > std::chrono::seconds(1);
    if (done >= total) {
      if (state->shown >= 0) fmt::print(stderr, "\r\x1b[K");
      state->shown = -1;
    } else if (late && percent != state->shown) {
      state->shown = percent;
      const int filled = percent * kWidth / 100;
      fmt::print(stderr, "\rloading weights [{:#>{}}{:.>{}}] {:3} %", "", filled, "", kWidth - filled, percent);
    }
    std::fflush(stderr);
  };
}

}  // namespace s3d::cli
