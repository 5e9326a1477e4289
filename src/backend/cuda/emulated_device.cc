#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/emulator/emulator.h"
#include "base/check.h"

namespace s3d::cuda {
namespace {

struct EmulatedGraph : Graph {
  explicit EmulatedGraph(std::vector<emulator::Emulator::Launch> all) : launches(std::move(all)) {}
  std::vector<emulator::Emulator::Launch> launches;
};

class EmulatedDevice : public Device {
 public:
  EmulatedDevice(uint64_t seed, bool turing, bool watches, size_t bytes)
      : emulator_(seed), watches_(watches), bytes_(bytes) {
    emulator_.turing = turing;
  }

  std::byte* allocate(size_t bytes) override {
    const size_t taken = rounded(bytes);
    if (taken > free_bytes()) return nullptr;
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(kAlign, taken));
    if (memory == nullptr) return nullptr;
    std::memset(memory, 0xff, bytes);  // not a number: what was never written shows
    if (watches_) emulator_.watch(memory, bytes);
    taken_[memory] = taken;
    in_use_ += taken;
    return memory;
  }
  void release(std::byte* memory) override {
    const auto found = taken_.find(memory);
    S3D_CHECK(found != taken_.end(), "memory that another device has");
    if (watches_) emulator_.forget(memory);
    in_use_ -= found->second;
    taken_.erase(found);
    std::free(memory);
  }
  size_t rounded(size_t bytes) const override { return std::max(kAlign, (bytes + kAlign - 1) / kAlign * kAlign); }

  void upload(std::byte* to, const void* from, size_t bytes) override {
    emulator_.all_ended();
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  void download(void* to, const std::byte* from, size_t bytes) override {
    emulator_.all_ended();
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override {
    emulator_.all_ended();
    std::memmove(to, from, bytes);
  }

  void begin_capture() override { emulator_.begin_capture(); }
  Result<std::unique_ptr<Graph>> end_capture() override {
    return std::unique_ptr<Graph>(std::make_unique<EmulatedGraph>(emulator_.end_capture()));
  }
  void launch(const Graph& graph) override {
    emulator_.all_ended();
    for (const auto& kernel : static_cast<const EmulatedGraph&>(graph).launches) emulator_.launch(kernel);
  }
  Status synchronize() override { return Ok(); }

  const KernelTable& kernels() const override { return cuda_emulated::kKernels; }
  void* stream() override { return &emulator_; }
  std::string name() const override { return "emulated"; }
  size_t free_bytes() const override { return bytes_ - in_use_; }

 private:
  static constexpr size_t kAlign = 256;

  emulator::Emulator emulator_;
  bool watches_;
  size_t bytes_, in_use_ = 0;
  std::map<std::byte*, size_t> taken_;
};

}  // namespace

std::unique_ptr<Device> make_emulated_device(uint64_t seed, bool turing, bool watches, size_t bytes) {
  return std::make_unique<EmulatedDevice>(seed, turing, watches, bytes);
}

}  // namespace s3d::cuda
