// One line for each request, on standard error.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "http/server.h"

namespace s3d::cli {

// "2026-11-26T16:02:11Z 127.0.0.1:40312 POST /v1/chat/completions 200 1234 bytes 0.532 s req-0123456789abcdef"; nothing
// of what was asked or answered. `now`: seconds since 1970.
std::string log_line(const http::Finished& finished, std::time_t now);

// Lines are written by a thread of their own: whoever reads standard error may stop reading, and the server goes on.
// Beyond 10,000 waiting lines new ones are dropped, and their number is told later.
// Thread rule: add() by any thread.
class AccessLog {
 public:
  explicit AccessLog(int fd);
  ~AccessLog();  // writes what waits, unless nobody reads
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  void add(const http::Finished& finished);

 private:
  void run();

  const int fd_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  long dropped_ = 0;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace s3d::cli
