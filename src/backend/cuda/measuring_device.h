// A device without memory: what is allocated there is counted, and nothing is kept. The code that takes the memory of a
// device tells so beforehand how much that will be.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "backend/cuda/device.h"
#include "base/check.h"

namespace s3d::cuda {

// Runs no kernels, and cannot be downloaded from.
class MeasuringDevice : public Device {
 public:
  // Counts in the steps of `like`, which must outlive it.
  explicit MeasuringDevice(const Device& like) : like_(like) {}

  size_t taken() const { return taken_; }  // bytes that are held now

  std::byte* allocate(size_t bytes) override {
    auto memory = std::make_unique<std::byte>();
    std::byte* address = memory.get();
    held_[address] = {std::move(memory), rounded(bytes)};
    taken_ += rounded(bytes);
    return address;
  }
  void release(std::byte* memory) override {
    const auto found = held_.find(memory);
    S3D_CHECK(found != held_.end(), "memory that another device has");
    taken_ -= found->second.bytes;
    held_.erase(found);
  }
  size_t rounded(size_t bytes) const override { return like_.rounded(bytes); }

  void upload(std::byte* /*to*/, const void* /*from*/, size_t /*bytes*/) override {}
  void download(void* /*to*/, const std::byte* /*from*/, size_t /*bytes*/) override { refuse(); }
  void copy(std::byte* /*to*/, const std::byte* /*from*/, size_t /*bytes*/) override {}
  void begin_capture() override { refuse(); }
  Result<std::unique_ptr<Graph>> end_capture() override { return Error{"a device that runs nothing"}; }
  void launch(const Graph& /*graph*/) override { refuse(); }
  Status synchronize() override { return Ok(); }
  const KernelTable& kernels() const override {
    refuse();
    return like_.kernels();
  }
  void* stream() override { return nullptr; }
  std::string name() const override { return like_.name(); }
  size_t free_bytes() const override { return 0; }

 private:
  static void refuse() { S3D_CHECK(false, "a device that runs nothing"); }

  struct Held {
    std::unique_ptr<std::byte> address;
    size_t bytes;
  };
  const Device& like_;
  size_t taken_ = 0;
  std::map<std::byte*, Held> held_;
};

}  // namespace s3d::cuda
