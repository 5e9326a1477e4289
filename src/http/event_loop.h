// One thread's wait for sockets, deadlines and work from other threads: epoll, and an eventfd to wake it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "http/socket.h"

namespace s3d::http {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
constexpr TimePoint kNever = TimePoint::max();

// Thread rule: post() and stop() by any thread; all else on the thread that calls run(), or before it does.
class EventLoop {
 public:
  // Something with a descriptor, or with a deadline alone. An event may still be reported to a source that was removed
  // by another one in the same round: it must live until the functions posted in that round have run.
  class Source {
   public:
    virtual ~Source() = default;
    virtual void on_events(uint32_t events) = 0;  // EPOLLIN and its like
    virtual void on_deadline() = 0;               // once; the deadline is kNever again

   private:
    friend class EventLoop;
    TimePoint deadline_ = kNever;
  };

  static Result<std::shared_ptr<EventLoop>> create();

  // `events`: of epoll, level-triggered. The descriptor must be open while it is watched.
  Status add(int fd, uint32_t events, Source& source);
  void change(int fd, uint32_t events, Source& source);
  void remove(int fd);
  void set_deadline(Source& source, TimePoint deadline);  // kNever: none

  // `work` runs on the loop's thread, after what was posted before. Nothing runs once the loop has ended.
  void post(std::function<void()> work);

  void run();   // returns after stop()
  void stop();  // at the end of the round

 private:
  EventLoop(Socket epoll, Socket wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  int wait_milliseconds() const;
  void run_deadlines();
  void run_posted();
  void drain_wake() const;

  Socket epoll_;
  Socket wake_;
  std::set<std::pair<TimePoint, Source*>> deadlines_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
  bool stopped_ = false;  // under mutex_
};

}  // namespace s3d::http
