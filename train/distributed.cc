#include "train/distributed.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <string>

#include "base/environment.h"

#ifdef S3D_HAVE_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif

namespace s3d::train {
namespace {

using torch::Tensor;

class Alone : public Group {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Status add_up(std::vector<Tensor>&) override { return Ok(); }
};

Result<int> variable(const char* name, int min, int max) {
  const std::string text = environment(name);
  if (text.empty()) {
    return Error{
        fmt::format("the environment variable {} is not set; start several processes with torchrun, or set "
                    "RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT for each",
                    name)};
  }
  int value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec == std::errc() && parsed.ptr == end && value >= min && value <= max) return value;
  return Error{
      fmt::format("the environment variable {} is \"{}\", expected a number of {} to {}", name, text, min, max)};
}

#ifdef S3D_HAVE_GLOO
constexpr std::chrono::minutes kPatience{30};  // evaluation on one rank takes minutes, and the others wait for it

class Gloo : public Group {
 public:
  Gloo(c10::intrusive_ptr<c10d::ProcessGroupGloo> group, int rank, int size)
      : group_(std::move(group)), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  // One message for all tensors: a step has hundreds of them, and each message waits for the network.
  Status add_up(std::vector<Tensor>& tensors) override {
    try {
      std::vector<Tensor> flat;
      for (const Tensor& tensor : tensors) flat.push_back(tensor.detach().flatten().to(torch::kCPU));
      std::vector<Tensor> message = {torch::cat(flat)};
      group_->allreduce(message)->wait();
      int64_t at = 0;
      for (Tensor& tensor : tensors) {
        tensor.detach().copy_(message[0].slice(0, at, at + tensor.numel()).view(tensor.sizes()));
        at += tensor.numel();
      }
    } catch (const std::exception& problem) {
      return Error{fmt::format("rank {} of {} lost touch with the others: {}", rank_, size_, problem.what())};
    }
    return Ok();
  }

 private:
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
  int rank_, size_;
};

Result<std::unique_ptr<Group>> join_gloo(int rank, int size, const std::string& address, int port) {
  try {
    c10d::TCPStoreOptions options;
    options.isServer = rank == 0;
    options.numWorkers = size;
    options.port = static_cast<uint16_t>(port);
    options.timeout = kPatience;
    const auto store = c10::make_intrusive<c10d::TCPStore>(address, options);
    const auto gloo = c10d::ProcessGroupGloo::Options::create(kPatience);
    gloo->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
    return std::unique_ptr<Group>(
        std::make_unique<Gloo>(c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, gloo), rank, size));
  } catch (const std::exception& problem) {
    return Error{
        fmt::format("rank {} of {} cannot meet the others at {}:{}: {}", rank, size, address, port, problem.what())};
  }
}
#else
Result<std::unique_ptr<Group>> join_gloo(int, int, const std::string&, int) {
  return Error{
      "WORLD_SIZE is above 1, but this program was built without c10d's Gloo (install libgloo-dev and build "
      "again)"};
}
#endif

}  // namespace

Result<std::unique_ptr<Group>> join_group() {
  const std::string world = environment("WORLD_SIZE");
  if (world.empty() || world == "1") return std::unique_ptr<Group>(std::make_unique<Alone>());
  S3D_ASSIGN(const int size, variable("WORLD_SIZE", 1, 1 << 16));
  S3D_ASSIGN(const int rank, variable("RANK", 0, size - 1));
  S3D_ASSIGN(const int port, variable("MASTER_PORT", 1, 65535));
  const std::string address = environment("MASTER_ADDR");
  if (address.empty()) return Error{"the environment variable MASTER_ADDR is not set"};
  return join_group(rank, size, address, port);
}

Result<std::unique_ptr<Group>> join_group(int rank, int size, const std::string& address, int port) {
  if (size == 1) return std::unique_ptr<Group>(std::make_unique<Alone>());
  return join_gloo(rank, size, address, port);
}

Result<std::vector<double>> sum(Group& group, const std::vector<double>& values) {
  std::vector<Tensor> tensors = {torch::tensor(values, torch::kDouble)};
  S3D_TRY(group.add_up(tensors));
  const auto* begin = tensors[0].data_ptr<double>();
  return std::vector<double>(begin, begin + values.size());
}

}  // namespace s3d::train
