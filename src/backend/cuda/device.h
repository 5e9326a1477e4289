// A device that runs the kernels: memory, copies, and a stream on which everything happens in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "backend/cuda/kernel_table.h"
#include "base/result.h"

namespace s3d::cuda {

// Kernels that were started once and can be started again by one call, with the same tasks: what changes from one time
// to the next lies in the device's memory. Of the device that made it, which must outlive it.
class Graph {
 public:
  virtual ~Graph() = default;
};

// Thread rule: one call at a time.
class Device {
 public:
  virtual ~Device() = default;

  // Null when there is not so much memory. Aligned to 256 bytes. What is in it is undefined.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* memory) = 0;
  virtual size_t rounded(size_t bytes) const = 0;  // what allocate(bytes) takes of free_bytes()

  // Both return when the host's memory may be changed or read; later kernels see what was uploaded.
  virtual void upload(std::byte* to, const void* from, size_t bytes) = 0;
  virtual void download(void* to, const std::byte* from, size_t bytes) = 0;
  virtual void copy(std::byte* to, const std::byte* from, size_t bytes) = 0;  // on the device

  // Kernels that are started between the two become a graph, and do not run. Error: the device cannot make one of them.
  virtual void begin_capture() = 0;
  virtual Result<std::unique_ptr<Graph>> end_capture() = 0;
  virtual void launch(const Graph& graph) = 0;

  // Waits for all that was started. Error: a kernel failed; the device is of no use then.
  virtual Status synchronize() = 0;

  virtual const KernelTable& kernels() const = 0;
  // To be asked for with every kernel that is started: the device becomes the calling thread's.
  virtual void* stream() = 0;
  virtual std::string name() const = 0;   // "NVIDIA H100 80GB HBM3", "emulated"
  virtual size_t free_bytes() const = 0;  // of memory
};

// How many NVIDIA cards there are that the kernels run on, in the driver's order. Errors: no driver; none, because
// there is no card, or only older ones than compute capability 7.5.
Result<int> count_cards();
// One of them. Errors: as above; it does not start.
Result<std::unique_ptr<Device>> open_device(int card = 0);

inline constexpr size_t kEmulatedBytes = size_t{4} << 30;
// Runs the kernels on the CPU, in an order drawn from `seed` (emulator/emulator.h). `turing`: as a card without the
// matrix instruction of 32 columns. `watches`: a kernel that reads too early what the one before it wrote reads 0xff
// (Emulator::watch). `bytes`: of memory that it has. For tests: thousands of times slower than a card.
std::unique_ptr<Device> make_emulated_device(uint64_t seed = 1, bool turing = false, bool watches = false,
                                             size_t bytes = kEmulatedBytes);

}  // namespace s3d::cuda
