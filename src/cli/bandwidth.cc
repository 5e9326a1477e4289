#include "cli/bandwidth.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/index.h"
#include "base/stopwatch.h"

namespace s3d::cli {
namespace {

constexpr size_t kLine = 64;

// Reads whole cache lines and folds them into one number, so that no reading can be left out.
uint64_t fold_portable(const std::byte* data, size_t lines) {
  std::array<uint64_t, 8> fold{};
  for (size_t i = 0; i < lines; ++i) {
    std::array<uint64_t, 8> line;
    std::memcpy(line.data(), data + i * kLine, kLine);
    for (size_t j = 0; j < line.size(); ++j) fold[j] ^= line[j];
  }
  uint64_t all = 0;
  for (uint64_t f : fold) all ^= f;
  return all;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) uint64_t fold_avx2(const std::byte* data, size_t lines) {
  __m256i a = _mm256_setzero_si256();
  __m256i b = _mm256_setzero_si256();
  for (size_t i = 0; i < lines; ++i) {
    const auto* line = reinterpret_cast<const __m256i*>(data + i * kLine);
    a = _mm256_xor_si256(a, _mm256_loadu_si256(line));
    b = _mm256_xor_si256(b, _mm256_loadu_si256(line + 1));
  }
  std::array<uint64_t, 4> out;
  std::memcpy(out.data(), &(a = _mm256_xor_si256(a, b)), sizeof out);
  return out[0] ^ out[1] ^ out[2] ^ out[3];
}
#endif

uint64_t fold(const std::byte* data, size_t lines) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return fold_avx2(data, lines);
#endif
  return fold_portable(data, lines);
}

// The share of `thread` in [0, count).
std::pair<size_t, size_t> share(size_t count, int thread, int threads) {
  const auto t = usize(thread);
  const auto n = usize(threads);
  return {count * t / n, count * (t + 1) / n};
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
  pool.run([&](int thread, Team& team) {
    const auto [begin, end] = share(bytes, thread, team.size());
    std::memset(buffer.data_.get() + begin, 1, end - begin);
  });
  return buffer;
}

double read_seconds(std::span<const Bytes> parts, ThreadPool& pool) {
  std::atomic<uint64_t> sink{0};
  const Stopwatch watch;
  pool.run([&](int thread, Team& team) {
    uint64_t mine = 0;
    for (const Bytes& part : parts) {
      const auto [begin, end] = share(part.size() / kLine, thread, team.size());
      mine ^= fold(part.data() + begin * kLine, end - begin);
    }
    sink.fetch_xor(mine, std::memory_order_relaxed);
  });
  return watch.seconds();
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
