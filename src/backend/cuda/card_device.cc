// An NVIDIA card, by the CUDA runtime. The runtime is linked statically and loads the driver's library by itself, so a
// program with this in it starts where there is none.
#include "backend/cuda/device.h"

#if defined(S3D_CUDA_CARDS)

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/index.h"

namespace s3d::cuda {
namespace {

class CardGraph : public Graph {
 public:
  explicit CardGraph(cudaGraphExec_t graph) : graph_(graph) {}
  ~CardGraph() override { cudaGraphExecDestroy(graph_); }
  CardGraph(const CardGraph&) = delete;
  CardGraph& operator=(const CardGraph&) = delete;
  cudaGraphExec_t get() const { return graph_; }

 private:
  cudaGraphExec_t graph_;
};

class CardDevice : public Device {
 public:
  CardDevice(int number, std::string name, cudaStream_t stream)
      : number_(number), name_(std::move(name)), stream_(stream) {}
  ~CardDevice() override { cudaStreamDestroy(stream_); }
  CardDevice(const CardDevice&) = delete;
  CardDevice& operator=(const CardDevice&) = delete;

  std::byte* allocate(size_t bytes) override {
    void* memory = nullptr;
    use();
    if (cudaMalloc(&memory, bytes == 0 ? 1 : bytes) == cudaSuccess) return static_cast<std::byte*>(memory);
    cudaGetLastError();  // that one is told by null
    return nullptr;
  }
  void release(std::byte* memory) override { cudaFree(memory); }
  // The driver gives pages of 2 MiB, and divides one among what is small.
  size_t rounded(size_t bytes) const override {
    constexpr size_t kSmall = 512, kPage = size_t{2} << 20;
    const size_t step = bytes < kPage / 2 ? kSmall : kPage;
    return std::max(step, (bytes + step - 1) / step * step);
  }

  // From memory that is not pinned, cudaMemcpyAsync has read it all when it returns.
  void upload(std::byte* to, const void* from, size_t bytes) override {
    use();
    note(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_));
  }
  void download(void* to, const std::byte* from, size_t bytes) override {
    use();
    note(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_));
    note(cudaStreamSynchronize(stream_));
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override {
    use();
    note(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_));
  }

  void begin_capture() override {
    use();
    note(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  Result<std::unique_ptr<Graph>> end_capture() override {
    cudaGraph_t captured = nullptr;
    cudaGraphExec_t graph = nullptr;
    cudaError_t error = cudaStreamEndCapture(stream_, &captured);
    if (error == cudaSuccess) error = cudaGraphInstantiate(&graph, captured, 0);
    if (captured != nullptr) cudaGraphDestroy(captured);
    if (error == cudaSuccess) return std::unique_ptr<Graph>(std::make_unique<CardGraph>(graph));
    cudaGetLastError();
    return Error{fmt::format("device {}: no graph of kernels: {}", name_, cudaGetErrorString(error))};
  }
  void launch(const Graph& graph) override {
    use();
    note(cudaGraphLaunch(static_cast<const CardGraph&>(graph).get(), stream_));
  }

  Status synchronize() override {
    use();
    note(cudaStreamSynchronize(stream_));
    note(cudaGetLastError());
    if (first_error_ == cudaSuccess) return Ok();
    return Error{fmt::format("device {}: {} (CUDA error {}); nothing more can be computed on it", name_,
                             cudaGetErrorString(first_error_), static_cast<int>(first_error_))};
  }

  const KernelTable& kernels() const override { return cuda_device::kKernels; }
  void* stream() override {
    use();
    return stream_;
  }
  std::string name() const override { return name_; }
  size_t free_bytes() const override {
    size_t free = 0, total = 0;
    use();
    return cudaMemGetInfo(&free, &total) == cudaSuccess ? free : 0;
  }

 private:
  // What the runtime does is done on the calling thread's device; where it is this one, that costs nothing.
  void use() const { cudaSetDevice(number_); }
  void note(cudaError_t error) {
    if (first_error_ == cudaSuccess) first_error_ = error;
  }

  int number_;  // the driver's
  std::string name_;
  cudaStream_t stream_;
  cudaError_t first_error_ = cudaSuccess;
};

Error no_card(const std::string& why) {
  return Error{fmt::format("no NVIDIA card can be used: {}; use --backend cpu", why)};
}

}  // namespace

namespace {

// The driver's numbers of the cards that the kernels run on.
Result<std::vector<int>> usable_cards() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    cudaGetLastError();
    return no_card(cudaGetErrorString(error));
  }
  std::string seen;
  std::vector<int> usable;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    if (properties.major * 10 + properties.minor >= 75) {
      usable.push_back(i);
      continue;
    }
    seen += fmt::format("{} has compute capability {}.{}, and 7.5 is needed. ", properties.name, properties.major,
                        properties.minor);
  }
  if (!usable.empty()) return usable;
  return no_card(seen.empty() ? "there is none" : seen);
}

}  // namespace

Result<int> count_cards() {
  S3D_ASSIGN(const std::vector<int> cards, usable_cards());
  return isize(cards);
}

Result<std::unique_ptr<Device>> open_device(int card) {
  S3D_ASSIGN(const std::vector<int> cards, usable_cards());
  if (card < 0 || card >= isize(cards)) {
    return Error{fmt::format("card {}: there are {}, counted from 0", card, cards.size())};
  }
  const int number = cards[usize(card)];
  cudaDeviceProp properties{};
  cudaStream_t stream = nullptr;
  if (cudaGetDeviceProperties(&properties, number) != cudaSuccess || cudaSetDevice(number) != cudaSuccess ||
      cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess) {
    return no_card(fmt::format("{} does not start: {}", properties.name, cudaGetErrorString(cudaGetLastError())));
  }
  return std::unique_ptr<Device>(std::make_unique<CardDevice>(number, properties.name, stream));
}

}  // namespace s3d::cuda

#else

namespace s3d::cuda {

namespace {

Error not_built() {
  return Error{
      "no NVIDIA card can be used: this build has no code for them, because no CUDA toolkit was found when it was "
      "configured (scripts/setup --cuda fetches one); use --backend cpu"};
}

}  // namespace

Result<int> count_cards() {
  return not_built();
}

Result<std::unique_ptr<Device>> open_device(int /*card*/) {
  return not_built();
}

}  // namespace s3d::cuda

#endif
