#include "http/exchange.h"

#include <utility>

#include "base/check.h"

namespace s3d::http {

void Exchange::changed(std::unique_lock<std::mutex> lock) {
  pending_bytes_ = pending_.data.size();
  const bool wakes = !std::exchange(woken_, true) && !closed_;
  lock.unlock();
  if (wakes) wake_();
}

void Exchange::send(int status, Headers headers, std::string body) {
  std::unique_lock lock(mutex_);
  S3D_CHECK(stage_ == Stage::kNothing, "a request is answered once");
  stage_ = Stage::kEnded;
  pending_.head = Pending::Head{status, std::move(headers), /*whole=*/true};
  pending_.data = std::move(body);
  pending_.ended = true;
  changed(std::move(lock));
}

void Exchange::begin(int status, Headers headers) {
  std::unique_lock lock(mutex_);
  S3D_CHECK(stage_ == Stage::kNothing, "a request is answered once");
  stage_ = Stage::kBegun;
  pending_.head = Pending::Head{status, std::move(headers), /*whole=*/false};
  changed(std::move(lock));
}

bool Exchange::write(std::string_view chunk) {
  std::unique_lock lock(mutex_);
  S3D_CHECK(stage_ == Stage::kBegun, "write() stands between begin() and end()");
  if (closed_) return false;
  if (chunk.empty()) return true;
  pending_.data += chunk;
  changed(std::move(lock));
  return true;
}

void Exchange::end() {
  std::unique_lock lock(mutex_);
  S3D_CHECK(stage_ == Stage::kBegun, "end() follows begin()");
  stage_ = Stage::kEnded;
  pending_.ended = true;
  changed(std::move(lock));
}

void Exchange::abandon() {
  std::unique_lock lock(mutex_);
  if (stage_ == Stage::kEnded) return;
  stage_ = Stage::kEnded;
  pending_.ended = true;
  pending_.abandoned = true;
  changed(std::move(lock));
}

void Exchange::on_closed(std::function<void()> left) {
  {
    const std::lock_guard lock(mutex_);
    left_ = std::move(left);
    if (!closed_) return;
    left = std::exchange(left_, nullptr);
  }
  if (left) left();
}

Pending Exchange::take() {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  pending_bytes_ = 0;
  Pending pending = std::exchange(pending_, {});
  pending.ended = stage_ == Stage::kEnded;
  return pending;
}

void Exchange::close() {
  std::function<void()> left;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    pending_ = {};
    pending_bytes_ = 0;
    unsent_ = 0;
    left = std::exchange(left_, nullptr);
  }
  if (left) left();
}

void Exchange::finish() {
  std::function<void()> left;  // outlives the lock: its end may answer, or let go of the handler's reference
  const std::lock_guard lock(mutex_);
  left = std::exchange(left_, nullptr);
}

}  // namespace s3d::http
