// Memory of a device, owned.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "backend/cuda/device.h"
#include "base/check.h"

namespace s3d::cuda {

// An array of T on a device, which must outlive it.
template <typename T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : device_(other.device_), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() { give_back(); }

  // Room for `count` at least; contents are lost when there was less. False: out of memory, and nothing is held.
  [[nodiscard]] bool ensure(Device& device, size_t count) {
    if (count <= size_) return true;
    give_back();
    device_ = &device;
    data_ = reinterpret_cast<T*>(device.allocate(count * sizeof(T)));
    size_ = data_ == nullptr ? 0 : count;
    return data_ != nullptr;
  }

  // ensure() and upload().
  [[nodiscard]] bool assign(Device& device, std::span<const T> values) {
    if (!ensure(device, values.size())) return false;
    if (!values.empty()) device.upload(reinterpret_cast<std::byte*>(data_), values.data(), values.size_bytes());
    return true;
  }

  // The first `count` elements, once all that was started is done.
  std::vector<T> download(size_t count) const {
    S3D_CHECK(count <= size_);
    std::vector<T> out(count);
    if (count > 0) device_->download(out.data(), reinterpret_cast<const std::byte*>(data_), count * sizeof(T));
    return out;
  }

  T* data() const { return data_; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }

 private:
  void give_back() {
    if (data_ != nullptr) device_->release(reinterpret_cast<std::byte*>(data_));
    data_ = nullptr;
    size_ = 0;
  }

  Device* device_ = nullptr;
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace s3d::cuda
