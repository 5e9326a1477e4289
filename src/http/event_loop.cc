#include "http/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace s3d::http {
namespace {

Error system_error(const char* call) {
  return Error{std::string(call) + ": " + std::strerror(errno)};
}

epoll_event event_of(uint32_t events, EventLoop::Source* source) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = source;
  return event;
}

}  // namespace

Result<std::shared_ptr<EventLoop>> EventLoop::create() {
  Socket epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.open()) return system_error("epoll_create1");
  Socket wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.open()) return system_error("eventfd");
  epoll_event event = event_of(EPOLLIN, nullptr);  // no source: the wake-up
  if (epoll_ctl(epoll.fd(), EPOLL_CTL_ADD, wake.fd(), &event) != 0) return system_error("epoll_ctl");
  return std::shared_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

Status EventLoop::add(int fd, uint32_t events, Source& source) {
  epoll_event event = event_of(events, &source);
  if (epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, fd, &event) != 0) return system_error("epoll_ctl");
  return Ok();
}

void EventLoop::change(int fd, uint32_t events, Source& source) {
  epoll_event event = event_of(events, &source);
  S3D_CHECK(epoll_ctl(epoll_.fd(), EPOLL_CTL_MOD, fd, &event) == 0, "a watched descriptor is open");
}

void EventLoop::remove(int fd) {
  S3D_CHECK(epoll_ctl(epoll_.fd(), EPOLL_CTL_DEL, fd, nullptr) == 0, "a watched descriptor is open");
}

void EventLoop::set_deadline(Source& source, TimePoint deadline) {
  if (source.deadline_ == deadline) return;
  if (source.deadline_ != kNever) deadlines_.erase({source.deadline_, &source});
  if (deadline != kNever) deadlines_.insert({deadline, &source});
  source.deadline_ = deadline;
}

void EventLoop::post(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  posted_.push_back(std::move(work));
  if (posted_.size() > 1) return;  // it is awake, or about to be
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_.fd(), &one, sizeof(one));
}

void EventLoop::stop() {
  post([this] {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  });
}

// Rounded up: a wait that ends before its deadline would be followed by a row of empty ones.
int EventLoop::wait_milliseconds() const {
  if (deadlines_.empty()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadlines_.begin()->first - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 60'000));
}

void EventLoop::run_deadlines() {
  const TimePoint now = Clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    Source* source = deadlines_.begin()->second;
    set_deadline(*source, kNever);
    source->on_deadline();
  }
}

void EventLoop::drain_wake() const {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(wake_.fd(), &count, sizeof(count));
}

void EventLoop::run_posted() {
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard lock(mutex_);
    work.swap(posted_);
  }
  for (const auto& function : work) function();
}

void EventLoop::run() {
  std::array<epoll_event, 64> events{};
  while (true) {
    const int count = epoll_wait(epoll_.fd(), events.data(), static_cast<int>(events.size()), wait_milliseconds());
    S3D_CHECK(count >= 0 || errno == EINTR, "epoll_wait");
    for (int i = 0; i < count; ++i) {
      auto* source = static_cast<Source*>(events[static_cast<size_t>(i)].data.ptr);
      if (source == nullptr) {
        drain_wake();
      } else {
        source->on_events(events[static_cast<size_t>(i)].events);
      }
    }
    run_deadlines();
    run_posted();
    const std::lock_guard lock(mutex_);
    if (!stopped_) continue;
    posted_.clear();
    return;
  }
}

}  // namespace s3d::http
