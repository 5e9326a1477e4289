#include "cli/bandwidth.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/stopwatch.h"
#include "kernels/kernels.h"

namespace s3d::cli {
namespace {

constexpr size_t kLine = 64;

double seconds_with(ReadLoop loop, std::span<const Bytes> parts, ThreadPool& pool) {
  std::atomic<uint64_t> sink{0};
  const Stopwatch watch;
  pool.run([&](int, Team& team) {
    uint64_t mine = 0;
    for (const Bytes& part : parts) {
      const auto [begin, end] = team.share(part.size() / kLine);
      mine ^= loop(part.data() + begin * kLine, end - begin);
    }
    sink.fetch_xor(mine, std::memory_order_relaxed);
  });
  return watch.seconds();
}

}  // namespace

void ReadBuffer::Unmap::operator()(std::byte* p) const {
  munmap(p, bytes);
}

Result<ReadBuffer> ReadBuffer::create(size_t bytes, ThreadPool& pool) {
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return Error{fmt::format("no memory for a read buffer of {} MiB", bytes >> 20U)};
  madvise(mapped, bytes, MADV_HUGEPAGE);  // a wish: without it the measurement is only a little lower
  ReadBuffer buffer;
  buffer.data_ = {static_cast<std::byte*>(mapped), Unmap{bytes}};
  buffer.bytes_ = bytes;
  pool.run([&](int, Team& team) {
    const auto [begin, end] = team.share(bytes);
    std::memset(buffer.data_.get() + begin, 1, end - begin);
  });
  return buffer;
}

double read_seconds(std::span<const Bytes> parts, ThreadPool& pool) {
  double least = HUGE_VAL;
  for (const ReadLoop loop : available_kernels().back()->read_loops) {
    least = std::min(least, seconds_with(loop, parts, pool));
  }
  return least;
}

std::vector<Bytes> weight_parts(const Model& model) {
  std::vector<Bytes> parts;
  const auto add = [&parts](const PackedMatrix& m) {
    if (!m.empty()) parts.emplace_back(m.unit(0), m.bytes());
  };
  for (const LayerWeights& l : model.layers) {
    for (const PackedMatrix* m : {&l.wq, &l.wk, &l.wv, &l.wo, &l.w_gate, &l.w_up, &l.w_down}) add(*m);
  }
  add(model.lm_head);
  return parts;
}

}  // namespace s3d::cli
