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
      mixed(max_rows * d_model),
      row_of(threads, Floats(d_model)) {}

void CpuPass::prepare(std::span<const Row> block_rows, FormatSet formats) {
  rows = block_rows;
  n = rows.size();
  stream.prepare(n, d_model, threads, [&](Stream& copy) {
    copy.x.resize(std::max(copy.x.size(), n * d_model));
    copy.normed.resize(formats | low_rank.formats(), n, d_model, kernels.tile);
  });
}

void CpuPass::begin_stream(Team& team, const SublayerInput& next) {
  stream.each_row(team, [&](Stream& to, size_t r) {
    std::copy_n(&mixed[r * d_model], d_model, &to.x[r * d_model]);
    make_input(team, next, to, r);
  });
}

void CpuPass::add_to_stream(Team& team, const SublayerEnd& end) {
  stream.each_row(team, [&](Stream& to, size_t r) {
    const float* more = &mixed[r * d_model];
    if (!end.post_norm.empty()) {
      float* behind = row_of[usize(team.thread())].data();
      floats.rms_norm(more, end.post_norm.data(), config.norm_eps, d_model, behind);
      more = behind;
    }
    floats.add(more, d_model, &to.x[r * d_model]);
    make_input(team, end.next, to, r);
  });
}

void CpuPass::low_rank_inputs(Team& team, const PackedLora& lora, const StoredRows& in) {
  if (lora.a.empty()) return;
  const auto body = [&](size_t begin, size_t end) {
    kernels.matmul(lora.a, begin, end, in.for_matrix(lora.a), low_rank.low(), lora.a.rows());
  };
  team.for_chunks(lora.a.units(), 1, body);
  low_rank.store(team, kernels, lora);
}

void CpuPass::end_sublayer(Team& team, const Product& product, const SublayerEnd& end) {
  team.for_chunks(product.w->units(), grain(product.w->units(), product.w->unit_bytes()),
                  [&](size_t begin, size_t last) {
                    multiply({&product, 1}, begin, last);
                  });
  add_to_stream(team, end);
}

void CpuPass::make_input(Team& team, const SublayerInput& input, Stream& to, size_t r) {
  if (input.norm == nullptr) return;
  const float* from = &to.x[r * d_model];
  if (!input.norm->empty()) {
    float* behind = row_of[usize(team.thread())].data();
    floats.rms_norm(from, input.norm->data(), config.norm_eps, d_model, behind);
    from = behind;
  }
  to.normed.store(kernels, from, input.formats | low_rank.formats(), r);
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

size_t CpuPass::grain(size_t units, size_t unit_bytes) const {
  const size_t by_share = units / (kChunksPerThread * threads);
  return std::max<size_t>(1, std::min(by_share, kChunkBytes / unit_bytes));
}

size_t CpuPass::scratch_bytes() const {
  return (mixed.capacity() + threads * d_model) * sizeof(float) + low_rank.scratch_bytes() +
         stream.sum([](const Stream& copy) { return copy.x.capacity() * sizeof(float) + copy.normed.bytes(); });
}

}  // namespace s3d
