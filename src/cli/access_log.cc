#include "cli/access_log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "cli/console.h"

namespace s3d::cli {
namespace {

constexpr size_t kMostWaiting = 10'000;

// False: nobody takes it within a second at a time. A full disk is no reason to stop: the line is lost.
bool write_all(int fd, std::string_view text, const std::function<bool()>& stops) {
  while (!text.empty()) {
    pollfd ready{fd, POLLOUT, 0};
    const int count = poll(&ready, 1, 1000);
    if (count == 0 && stops()) return false;
    if (count <= 0) continue;
    // A pipe that is ready takes this much without blocking.
    const ssize_t n = ::write(fd, text.data(), std::min<size_t>(text.size(), 512));
    if (n < 0 && errno != EINTR && errno != EAGAIN) return true;
    if (n > 0) text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

std::string log_line(const http::Finished& finished, std::time_t now) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ} {} {} {} {} {} bytes {:.3f} s {}{}\n", fmt::gmtime(now), finished.peer,
                     finished.method.empty() ? "-" : finished.method,
                     finished.path.empty() ? "-" : visible(finished.path), finished.status, finished.sent,
                     finished.seconds, finished.id.empty() ? "-" : finished.id,
                     finished.client_left ? " client left" : "");
}

AccessLog::AccessLog(int fd) : fd_(fd), thread_([this] { run(); }) {}

AccessLog::~AccessLog() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void AccessLog::add(const http::Finished& finished) {
  std::string line = log_line(finished, std::time(nullptr));
  {
    const std::lock_guard lock(mutex_);
    if (lines_.size() >= kMostWaiting) {
      ++dropped_;
      return;
    }
    lines_.push_back(std::move(line));
  }
  changed_.notify_one();
}

void AccessLog::run() {
  const auto ended = [this] {
    const std::lock_guard lock(mutex_);
    return ended_;
  };
  while (true) {
    std::string text;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ended_ || !lines_.empty(); });
      if (lines_.empty()) return;
      for (const std::string& line : lines_) text += line;
      lines_.clear();
      if (dropped_ > 0)
        text += fmt::format("{} lines were dropped: standard error was not read\n", std::exchange(dropped_, 0));
    }
    if (!write_all(fd_, text, ended)) return;
  }
}

}  // namespace s3d::cli
