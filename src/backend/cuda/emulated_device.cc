#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/emulator/emulator.h"

namespace s3d::cuda {
namespace {

struct EmulatedGraph : Graph {
  explicit EmulatedGraph(std::vector<emulator::Emulator::Launch> all) : launches(std::move(all)) {}
  std::vector<emulator::Emulator::Launch> launches;
};

class EmulatedDevice : public Device {
 public:
  EmulatedDevice(uint64_t seed, bool turing, bool watches) : emulator_(seed), watches_(watches) {
    emulator_.turing = turing;
  }

  std::byte* allocate(size_t bytes) override {
    constexpr size_t kAlign = 256;
    void* memory = std::aligned_alloc(kAlign, std::max(kAlign, (bytes + kAlign - 1) / kAlign * kAlign));
    if (memory != nullptr) std::memset(memory, 0xff, bytes);  // not a number: what was never written shows
    if (memory != nullptr && watches_) emulator_.watch(static_cast<std::byte*>(memory), bytes);
    return static_cast<std::byte*>(memory);
  }
  void release(std::byte* memory) override {
    if (watches_) emulator_.forget(memory);
    std::free(memory);
  }

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
  size_t free_bytes() const override { return size_t{4} << 30; }

 private:
  emulator::Emulator emulator_;
  bool watches_;
};

}  // namespace

std::unique_ptr<Device> make_emulated_device(uint64_t seed, bool turing, bool watches) {
  return std::make_unique<EmulatedDevice>(seed, turing, watches);
}

}  // namespace s3d::cuda
