// Times the matmul alone: weights streamed from memory, n rows, one or more threads. Prints GB/s and GMAC/s.
//   kernel_bench [threads] [tile] [rows] [cols] [type…]
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/median.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace {

using s3d::Activations;
using s3d::Kernels;
using s3d::median;
using s3d::PackedMatrix;

constexpr size_t kStreamBytes = size_t{256} << 20;  // well past any last-level cache

std::vector<PackedMatrix> matrices(ggml_type type, size_t rows, size_t cols, s3d::ThreadPool& pool) {
  std::vector<float> values(rows * cols);
  std::mt19937 rng(1);
  for (float& v : values) v = static_cast<float>(rng() % 2001) / 1000.0F - 1.0F;
  std::vector<std::byte> bytes(ggml_row_size(type, static_cast<int64_t>(cols)) * rows);
  ggml_quantize_chunk(type, values.data(), bytes.data(), 0, static_cast<int64_t>(rows), static_cast<int64_t>(cols),
                      nullptr);
  std::vector<PackedMatrix> all;
  for (size_t total = 0; total < kStreamBytes; total += all.back().bytes()) {
    all.push_back(PackedMatrix::pack(type, bytes.data(), rows, cols, &pool).value());
  }
  return all;
}

// Seconds of one sweep over all matrices with n rows.
double sweep(const Kernels& k, const std::vector<PackedMatrix>& all, const Activations& x, std::vector<float>& y,
             s3d::ThreadPool& pool) {
  const auto start = std::chrono::steady_clock::now();
  pool.run([&](int, s3d::Team& team) {
    for (const PackedMatrix& w : all) {
      const size_t grain = std::max<size_t>(1, (size_t{64} << 10) / w.unit_bytes());
      team.for_chunks(w.units(), grain, [&](size_t b, size_t e) { k.matmul(w, b, e, x, y.data(), w.rows()); });
    }
  });
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void bench(const Kernels& k, ggml_type type, size_t rows, size_t cols, int tile, s3d::ThreadPool& pool) {
  const std::vector<PackedMatrix> all = matrices(type, rows, cols, pool);
  const double weights = static_cast<double>(all.size() * rows * cols);
  const double bytes = static_cast<double>(all.size() * all[0].bytes());
  constexpr std::array<size_t, 11> kRows = {1, 2, 3, 4, 5, 6, 8, 12, 16, 64, 256};
  std::vector<float> x(cols, 0.5F);
  std::vector<float> y(kRows.back() * rows);
  double one = 0;
  std::printf("%-5s %zux%zu tile %d:", ggml_type_name(type), rows, cols, tile);
  for (size_t n : kRows) {
    Activations act;
    act.resize(s3d::act_format(type), n, cols, tile);
    for (size_t i = 0; i < n; ++i) k.store_activation(x.data(), act, i);
    std::vector<double> times;
    for (int r = 0; r < 5; ++r) times.push_back(sweep(k, all, act, y, pool));
    const double t = median(times);
    if (n == 1) {
      one = t;
      std::printf(" %.1f GB/s %.0f GMAC/s |", bytes / t / 1e9, weights / t / 1e9);
    } else {
      std::printf(" %zu: %.2f (%.0f)", n, t / one, weights * static_cast<double>(n) / t / 1e9);
    }
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int i, long fallback) { return argc > i ? std::atol(argv[i]) : fallback; };
  if (number(1, 1) < 1 || number(2, 0) < 0 || number(3, 1) < 1 || number(4, 1) < 1) {
    std::fprintf(stderr, "usage: kernel_bench [threads] [tile, 0 = the best] [rows] [cols] [type...]\n");
    return 2;
  }
  const auto kernels = s3d::choose_kernels();
  if (!kernels.ok()) {
    std::fprintf(stderr, "kernel_bench: %s\n", kernels.error().message.c_str());
    return 1;
  }
  s3d::ThreadPool pool(static_cast<int>(number(1, s3d::usable_cores())));
  const int tile = number(2, 0) > 0 ? static_cast<int>(number(2, 0)) : (*kernels)->tile;
  for (ggml_type type :
       {GGML_TYPE_Q4_K, GGML_TYPE_Q6_K, GGML_TYPE_Q8_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_F16}) {
    bool wanted = argc <= 5;
    for (int i = 5; i < argc; ++i) wanted = wanted || std::string(argv[i]) == ggml_type_name(type);
    if (wanted)
      bench(**kernels, type, static_cast<size_t>(number(3, 8960)), static_cast<size_t>(number(4, 1536)), tile, pool);
  }
}
