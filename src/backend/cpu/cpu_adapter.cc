// What an adapter adds to a draft pass of the CPU backend: LoRA, bridge, injected states, Markov head.
#include <algorithm>

#include "backend/cpu/cpu_backend_impl.h"
#include "base/check.h"
#include "base/index.h"

namespace s3d {

// Formats and buffers of a draft pass; one thread.
void CpuBackend::Impl::prepare_adapter(const Block& block) {
  adapter = block.adapter;
  lora_formats = {};
  injected.assign(n, nullptr);
  if (adapter == nullptr) return;
  std::array<FormatSet, PackedLora::kMax> low_formats;
  size_t ranks = 0, rank = 0;
  for (const PackedAdapter::Layer& layer : adapter->layers()) {
    for (const PackedLora* lora : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      if (lora->a.empty()) continue;
      lora_formats.add({&lora->a});
      ranks = std::max(ranks, lora->a.rows());
      for (size_t i = 0; i < lora->b.size(); ++i) {
        if (lora->b[i].empty()) continue;
        low_formats[i].add({&lora->b[i]});
        rank = lora->b[i].cols();
      }
    }
  }
  if (const PackedMatrix& up_again = adapter->bridge_up(); !up_again.empty()) {
    lora_formats.add({&adapter->bridge_down()});
    bridge_in.resize({&up_again}, n, up_again.cols(), kernels.tile);
    ranks = std::max(ranks, up_again.cols());
  }
  low.resize(n * ranks);
  for (size_t i = 0; i < low_in.size(); ++i) low_in[i].resize(low_formats[i], n, rank, kernels.tile);
  const int widest = std::max({config.d_ff, config.q_dim(), config.d_model});
  lora_sums.resize(PackedLora::kMax * n * usize(widest));
  if (!block.state.empty() && !adapter->state_down().empty()) inject_states(block);
}

// y = w x for one row; one thread.
void CpuBackend::Impl::small_product(const PackedMatrix& w, const float* in, float* out) {
  small_in.resize(act_format(w.type()), 1, w.cols(), kernels.tile);
  kernels.store_activation(in, small_in, 0);
  kernels.matmul(w, 0, w.units(), small_in, out, w.rows());
}

// up (down rms(h)) of every state, once for the rows that share it; one thread, for a state is one row.
void CpuBackend::Impl::inject_states(const Block& block) {
  const size_t d = usize(config.d_model);
  states.resize(n * d);
  std::vector<float> normed_state(d), inner(adapter->state_down().rows());
  for (size_t r = 0; r < n; ++r) {
    const float* state = block.state[r];
    const bool takes = rows[r].token < 0 || adapter->config().state_on_first_row;
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

// Low-rank rows of the pairs, from the rows that their matrices read.
void CpuBackend::Impl::low_rank_inputs(Team& team, const PackedLora& lora, const StoredRows& in) {
  if (lora.a.empty()) return;
  const size_t stride = lora.a.rows();
  const auto body = [&](size_t begin, size_t end) {
    kernels.matmul(lora.a, begin, end, in.for_matrix(lora.a), low.data(), stride);
  };
  chunks_then_rows(team, lora.a.units(), 1, body, [&](size_t r) {
    for (size_t i = 0; i < lora.b.size(); ++i) {
      if (!lora.b[i].empty()) low_in[i].store(kernels, &low[r * stride + lora.first[i]], {&lora.b[i]}, r);
    }
  });
}

LowRankTerm CpuBackend::Impl::low_rank_term(const PackedLora& lora, size_t pair) {
  const PackedMatrix& b = lora.b[pair];
  if (b.empty()) return {};
  return {&b, &low_in[pair].for_matrix(b), &lora_sums[pair * (lora_sums.size() / PackedLora::kMax)]};
}

// x += up (down rms(x)), between the two groups of layers.
void CpuBackend::Impl::bridge(Team& team) {
  const size_t d = usize(config.d_model);
  const PackedMatrix &down = adapter->bridge_down(), &up_again = adapter->bridge_up();
  each_row(team, [&](size_t r) {
    floats.rms_norm(&x[r * d], ones.data(), config.norm_eps, d, &mixed[r * d]);
    normed.store(kernels, &mixed[r * d], {&down}, r);
  });
  const auto shrink = [&](size_t begin, size_t end) {
    kernels.matmul(down, begin, end, normed.for_matrix(down), low.data(), down.rows());
  };
  chunks_then_rows(team, down.units(), 1, shrink,
                   [&](size_t r) { bridge_in.store(kernels, &low[r * down.rows()], {&up_again}, r); });
  team.for_chunks(up_again.units(), grain(up_again.units(), up_again.unit_bytes()), [&](size_t begin, size_t end) {
    kernels.matmul(up_again, begin, end, bridge_in.for_matrix(up_again), mixed.data(), d);
    add_to_residual(begin * 16, std::min(end * 16, d));
  });
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
  lora_sums.resize(std::max(lora_sums.size(), rows_given * size));
  pool.run([&](int, Team& team) {
    team.for_chunks(w2.units(), grain(w2.units(), w2.unit_bytes()), [&](size_t begin, size_t end) {
      kernels.matmul(w2, begin, end, bridge_in.for_matrix(w2), lora_sums.data(), size);
      const size_t first = begin * 16, count = std::min(end * 16, size) - first;
      for (size_t i = 0; i < rows_given; ++i) floats.add(&lora_sums[i * size + first], count, &to[i * size + first]);
    });
  });
}

}  // namespace s3d
