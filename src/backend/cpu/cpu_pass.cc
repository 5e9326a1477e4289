#include "backend/cpu/cpu_pass.h"

#include <algorithm>

#include "base/index.h"

namespace s3d {
namespace {

// Weights that the last chunks of a thread's share of a matmul read (the first ones are larger): long enough that going
// from one matrix to another (gate and up take turns) costs little, short enough that a last chunk does not keep
// others. On Zen 4, 32 to 256 KiB are equal.
constexpr size_t kChunkBytes = 128 * 1024;
constexpr size_t kChunksPerThread = 8;  // at least, where the matrix has as many units

}  // namespace

CpuPass::CpuPass(const Model& m, const Kernels& k, int n_threads, size_t max_rows)
    : model(m),
      config(m.config),
      kernels(k),
      floats(*k.floats),
      threads(usize(n_threads)),
      d_model(usize(config.d_model)),
      x(max_rows * d_model),
      mixed(x.size()) {}

void CpuPass::prepare(std::span<const Row> block_rows, FormatSet formats) {
  rows = block_rows;
  n = rows.size();
  normed.resize(formats | low_rank.formats(), n, d_model, kernels.tile);
}

void CpuPass::low_rank_inputs(Team& team, const PackedLora& lora, const StoredRows& in) {
  if (lora.a.empty()) return;
  const auto body = [&](size_t begin, size_t end) {
    kernels.matmul(lora.a, begin, end, in.for_matrix(lora.a), low_rank.low(), lora.a.rows());
  };
  chunks_then_rows(team, lora.a.units(), 1, body, [&](size_t r) { low_rank.store(kernels, lora, r); });
}

void CpuPass::end_sublayer(Team& team, const Product& product, const SublayerEnd& end) {
  const auto body = [&](size_t begin, size_t last) {
    multiply({&product, 1}, begin, last);
    if (end.post_norm.empty()) add_to_residual(begin * 16, std::min(last * 16, d_model));
  };
  const auto finish = [&](size_t r) {
    if (!end.post_norm.empty()) {
      floats.rms_norm(&mixed[r * d_model], end.post_norm.data(), config.norm_eps, d_model, &mixed[r * d_model]);
      floats.add(&mixed[r * d_model], d_model, &x[r * d_model]);
    }
    make_input(end.next, r);
  };
  chunks_then_rows(team, product.w->units(), grain(product.w->units(), product.w->unit_bytes()), body, finish);
}

void CpuPass::make_input(const SublayerInput& input, size_t r) {
  if (input.norm == nullptr) return;
  const float* from = &x[r * d_model];
  if (!input.norm->empty()) {
    floats.rms_norm(from, input.norm->data(), config.norm_eps, d_model, &mixed[r * d_model]);
    from = &mixed[r * d_model];
  }
  normed.store(kernels, from, input.formats | low_rank.formats(), r);
}

void CpuPass::multiply(std::span<const Product> products, size_t begin, size_t end) const {
  size_t base = 0;  // first unit of the product, counted through
  for (const Product& p : products) {
    const size_t units = p.w->units(), ld = p.w->rows();
    const size_t first = std::clamp(begin, base, base + units) - base;
    const size_t last = std::clamp(end, base, base + units) - base;
    base += units;
    if (first == last) continue;
    kernels.matmul(*p.w, first, last, *p.x, p.y, ld);
    const size_t row = first * 16, count = std::min(last * 16, ld) - row;
    if (p.lora.b != nullptr) {
      kernels.matmul(*p.lora.b, first, last, *p.lora.low, p.lora.sum, ld);
      for (size_t i = 0; i < p.lora.rows.size(); ++i) {
        floats.add(p.lora.sum + i * ld + row, count, p.y + p.lora.rows[i] * ld + row);
      }
    }
    if (p.bias == nullptr) continue;
    for (size_t r = 0; r < n; ++r) floats.add(p.bias + row, count, p.y + r * ld + row);
  }
}

void CpuPass::add_to_residual(size_t first, size_t last) {
  for (size_t r = 0; r < n; ++r) floats.add(&mixed[r * d_model + first], last - first, &x[r * d_model + first]);
}

size_t CpuPass::grain(size_t units, size_t unit_bytes) const {
  const size_t by_share = units / (kChunksPerThread * threads);
  return std::max<size_t>(1, std::min(by_share, kChunkBytes / unit_bytes));
}

size_t CpuPass::scratch_bytes() const {
  return (x.capacity() + mixed.capacity()) * sizeof(float) + normed.bytes() + low_rank.scratch_bytes();
}

}  // namespace s3d
