// Bytes that come in at one end and leave at the other.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace s3d::http {

// A value. What leaves is moved away only now and then, so that a long answer is not copied for each part that is sent.
class ByteQueue {
 public:
  ByteQueue& operator+=(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  void pop(size_t bytes) {
    at_ += bytes;
    if (at_ < bytes_.size() && at_ < bytes_.size() / 2) return;
    bytes_.erase(0, at_);
    at_ = 0;
  }
  std::string_view front() const { return std::string_view{bytes_}.substr(at_); }
  size_t size() const { return bytes_.size() - at_; }
  bool empty() const { return size() == 0; }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

}  // namespace s3d::http
