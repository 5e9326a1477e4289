// What an adapter adds to a draft pass of the CPU backend, or to riders of a full one: LoRA, bridge, injected states,
// Markov head.
#include <algorithm>
#include <utility>

#include "backend/cpu/cpu_backend_impl.h"
#include "base/check.h"
#include "base/index.h"

namespace s3d {

// LoRA of all rows of a draft pass, or of the masks of a full one; one thread.
void CpuBackend::Impl::prepare_lora(const Block& block) {
  adapter = block.adapter;
  riders = nullptr;
  pass.low_rank.clear();
  std::vector<size_t> drafts;
  for (size_t r = 0; r < block.rows.size(); ++r) {
    if (adapter != nullptr || block.rows[r].token < 0) drafts.push_back(r);
  }
  if (drafts.empty()) return;
  if (adapter == nullptr) riders = block.riders;
  const PackedAdapter& lora = adapter != nullptr ? *adapter : *riders;
  const auto widest = usize(std::max({config.d_ff, config.q_dim(), config.d_model}));
  pass.low_rank.prepare(lora, std::move(drafts), block.rows.size(), widest, kernels.tile, pass.threads);
}

// Buffers of a draft pass; one thread. Returns the formats in which its bridge reads rows.
FormatSet CpuBackend::Impl::prepare_adapter(const Block& block) {
  prepare_lora(block);
  const size_t n = block.rows.size();
  injected.assign(n, nullptr);
  if (adapter == nullptr) return {};
  if (!block.state.empty() && !adapter->state_down().empty()) inject_states(block);
  const PackedMatrix& up = adapter->bridge_up();
  if (up.empty()) return {};
  bridge_in.resize({&up}, n, up.cols(), kernels.tile);
  low.resize(std::max(low.size(), n * up.cols()));
  return {&adapter->bridge_down()};
}

// y = w x for one row; one thread.
void CpuBackend::Impl::small_product(const PackedMatrix& w, const float* in, float* out) {
  small_in.resize(act_format(w.type()), 1, w.cols(), kernels.tile);
  kernels.store_activation(in, small_in, 0);
  kernels.matmul(w, 0, w.units(), small_in, out, w.rows());
}

// up (down rms(h)) of every state, once for the rows that share it; one thread, for a state is one row.
void CpuBackend::Impl::inject_states(const Block& block) {
  const size_t d = usize(config.d_model), n = block.rows.size();
  states.resize(n * d);
  std::vector<float> normed_state(d), inner(adapter->state_down().rows());
  for (size_t r = 0; r < n; ++r) {
    const float* state = block.state[r];
    const bool takes = block.rows[r].token < 0 || adapter->config().state_on_first_row;
    if (state == nullptr || !takes) continue;
    const size_t same = usize(std::find(block.state.begin(), block.state.end(), state) - block.state.begin());
    for (size_t before = same; before < r && injected[r] == nullptr; ++before) {
      if (block.state[before] == state) injected[r] = injected[before];
    }
    if (injected[r] != nullptr) continue;
    floats.rms_norm(state, ones.data(), config.norm_eps, d, normed_state.data());
    small_product(adapter->state_down(), normed_state.data(), inner.data());
    small_product(adapter->state_up(), inner.data(), &states[r * d]);
    injected[r] = &states[r * d];
  }
}

// x += up (down rms(x)), between the two groups of layers, and the input of the next one.
void CpuBackend::Impl::bridge(Team& team, const SublayerInput& next) {
  const size_t d = pass.d_model;
  const PackedMatrix &down = adapter->bridge_down(), &up = adapter->bridge_up();
  pass.stream.each_row(team, [&](CpuPass::Stream& to, size_t r) {
    float* normed = pass.row_of[usize(team.thread())].data();
    floats.rms_norm(&to.x[r * d], ones.data(), config.norm_eps, d, normed);
    to.normed.store(kernels, normed, {&down}, r);
  });
  static const std::vector<float> no_norm;
  const Activations& in = pass.stream.mine(team).normed.for_matrix(down);
  team.for_chunks(down.units(), 1,
                  [&](size_t begin, size_t end) { kernels.matmul(down, begin, end, in, low.data(), down.rows()); });
  team.for_chunks(pass.n, 1, [&](size_t r, size_t end) {
    for (; r < end; ++r) bridge_in.store(kernels, &low[r * down.rows()], {&up}, r);
  });
  pass.end_sublayer(team, {&up, &bridge_in.for_matrix(up), pass.mixed.data()}, {no_norm, next});
}

void CpuBackend::Impl::add_markov(const PackedAdapter& markov, std::span<const TokenId> previous, std::span<float> to,
                                  std::span<float> z) {
  if (markov.markov_p().empty()) return;
  const size_t d = usize(config.d_model), rows_given = previous.size(), size = markov.draft_size();
  const PackedMatrix &p = markov.markov_p(), &w2 = markov.markov_w2();
  S3D_CHECK(to.size() == rows_given * size && (z.empty() || z.size() == rows_given * p.rows()));
  std::vector<float> embedding(d);
  low.resize(std::max(low.size(), p.rows()));
  bridge_in.resize({&w2}, rows_given, w2.cols(), kernels.tile);
  for (size_t i = 0; i < rows_given; ++i) {
    model->embed(previous[i], embedding.data());
    floats.rms_norm(embedding.data(), ones.data(), config.norm_eps, d, embedding.data());
    small_product(p, embedding.data(), low.data());
    if (!z.empty()) std::copy_n(low.data(), p.rows(), &z[i * p.rows()]);
    bridge_in.store(kernels, low.data(), {&w2}, i);
  }
  markov_sums.resize(std::max(markov_sums.size(), rows_given * size));
  pool->run([&](int, Team& team) {
    team.for_chunks(w2.units(), pass.grain(w2.units(), w2.unit_bytes()), [&](size_t begin, size_t end) {
      kernels.matmul(w2, begin, end, bridge_in.for_matrix(w2), markov_sums.data(), size);
      const size_t first = begin * 16, count = std::min(end * 16, size) - first;
      for (size_t i = 0; i < rows_given; ++i) floats.add(&markov_sums[i * size + first], count, &to[i * size + first]);
    });
  });
}

// out = w x for rows x, by all threads.
void CpuBackend::Impl::multiply(const PackedMatrix& w, std::span<const float> in, std::span<float> out) {
  const size_t n = in.size() / w.cols();
  S3D_CHECK(in.size() == n * w.cols() && out.size() == n * w.rows());
  if (n == 0) return;
  side_in.resize({&w}, n, w.cols(), kernels.tile);
  pool->run([&](int, Team& team) {
    team.for_chunks(n, 1, [&](size_t r, size_t end) {
      for (; r < end; ++r) side_in.store(kernels, &in[r * w.cols()], {&w}, r);
    });
    team.for_chunks(w.units(), pass.grain(w.units(), w.unit_bytes()), [&](size_t begin, size_t end) {
      kernels.matmul(w, begin, end, side_in.for_matrix(w), out.data(), w.rows());
    });
  });
}

}  // namespace s3d
