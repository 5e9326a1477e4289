#include "backend/cpu/cpu_backend.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/cpu/cpu_backend_impl.h"
#include "backend/side_matrix.h"
#include "base/check.h"
#include "base/index.h"

namespace s3d {

CpuBackend::Impl::Impl(std::shared_ptr<const Model> m, std::shared_ptr<ThreadPool> threads, const Kernels& k, int most)
    : model(std::move(m)),
      config(model->config),
      kernels(k),
      floats(*k.floats),
      max_rows(usize(most)),
      pool(std::move(threads)),
      pass(*model, k, pool->size(), max_rows),
      attention(pass, max_rows),
      feed_forward(pass, max_rows),
      lm_head(pass),
      ones(usize(config.d_model), 1.0F) {}

// ---- Before a pass: one thread -------------------------------------------------------------------------------------

void CpuBackend::Impl::prepare(const Block& block, KvCache& kv) {
  const FormatSet more = prepare_adapter(block);
  inputs = block.input;
  tapped.resize(block.tapped.size() * block.taps.size() * pass.d_model);
  pass.prepare(block.rows, attention.input_formats() | feed_forward.input_formats() | more);
  attention.prepare(placement, kv);
  feed_forward.prepare();
  lm_head.prepare(part.out.empty() ? placement.wanted : std::span<const int>{}, adapter, block.want_hidden);
}

Result<PassOutput> CpuBackend::Impl::run(const Block& block, KvCache& kv, const PassPart& share) {
  const KvLayout& cache = kv.layout();
  S3D_CHECK(cache.first_layer <= share.first_layer && share.end_layer <= cache.first_layer + cache.n_layers &&
                cache.n_kv_heads == config.n_kv_heads && cache.head_dim == config.head_dim,
            "the KV cache was made for another model");
  part = share;
  S3D_TRY(place_block(block, config, static_cast<int>(max_rows), kv, placement));
  prepare(block, kv);
  pool->run([&](int thread, Team& team) { walk(thread, team, block); });
  if (block.kv == KvUse::kScratch) drop_pending(placement, kv);
  PassOutput out = lm_head.output();
  out.tapped = tapped;
  return out;
}

// ---- The pass: every thread ----------------------------------------------------------------------------------------

// The input of a layer is made at the end of what comes before it: the embedding, the layer below, or the bridge.
void CpuBackend::Impl::walk(int thread, Team& team, const Block& block) {
  const std::vector<int>& layers = placement.layers;
  static const PackedAdapter::Layer no_lora;
  const PackedAdapter* lora_of = riders != nullptr ? riders : adapter;
  const bool bridged = adapter != nullptr && !adapter->bridge_down().empty();
  const auto place_of = [&](int layer) {
    return usize(std::lower_bound(layers.begin(), layers.end(), layer) - layers.begin());
  };
  const size_t begin = place_of(part.first_layer), end = place_of(part.end_layer);
  const auto after_bridge = [&](size_t i) { return bridged && i == usize(block.layers.first); };
  const auto input_of = [&](size_t i) {
    return i < end && !after_bridge(i) ? attention.input(layers[i]) : SublayerInput{};
  };
  team.for_chunks(pass.n, 1, [&](size_t r, size_t last) {
    for (; r < last; ++r) begin_row(r);
  });
  pass.begin_stream(team, input_of(begin));
  for (size_t i = begin; i < end; ++i) {
    if (after_bridge(i)) bridge(team, attention.input(layers[i]));
    run_layer(thread, team, layers[i], lora_of != nullptr ? lora_of->layers()[i] : no_lora, input_of(i + 1));
    take_taps(team, block, layers[i] + 1);
  }
  if (part.out.empty()) return lm_head.run(thread, team);
  const float* mine = pass.stream.mine(team).x.data();
  team.for_chunks(pass.n, 1, [&](size_t r, size_t last) {
    std::copy(mine + r * pass.d_model, mine + last * pass.d_model, &part.out[r * pass.d_model]);
  });
}

// Each thread copies some rows: nobody changes the residual stream before all have met at the next barrier.
void CpuBackend::Impl::take_taps(Team& team, const Block& block, int layers_run) {
  const auto at = std::find(block.taps.begin(), block.taps.end(), layers_run);
  if (at == block.taps.end()) return;
  const size_t d = pass.d_model, taps = block.taps.size(), tap = usize(at - block.taps.begin());
  const Floats& x = pass.stream.mine(team).x;
  const Team::Range mine = team.share(block.tapped.size());
  for (size_t i = mine.begin; i < mine.end; ++i) {
    std::copy_n(&x[usize(block.tapped[i]) * d], d, &tapped[(i * taps + tap) * d]);
  }
}

// x += post_norm(attention(norm(x))), then x += post_norm(feed_forward(norm(x))). The first norm was made before; each
// piece makes the one that follows it, of the layer above at last.
void CpuBackend::Impl::run_layer(int thread, Team& team, int layer, const PackedAdapter::Layer& lora,
                                 const SublayerInput& next) {
  const LayerWeights& w = model->layers[usize(layer)];
  attention.run(thread, team, layer, lora, {w.attn_post_norm, feed_forward.input(layer)});
  feed_forward.run(team, layer, lora, {w.ffn_post_norm, next});
}

// The row's input: what came in from another backend, a vector that was given, or an embedding or a mask, and the
// state.
void CpuBackend::Impl::begin_row(size_t r) {
  const size_t d = pass.d_model;
  float* row = &pass.mixed[r * d];
  if (!part.in.empty()) {
    std::copy_n(&part.in[r * d], d, row);
    return;
  }
  const TokenId token = pass.rows[r].token;
  if (!inputs.empty() && inputs[r] != nullptr) {
    std::copy_n(inputs[r], d, row);
  } else if (token >= 0) {
    model->embed(token, row);
    // The table would become resident row by row: a row may map 2 MiB of the file around it (large folios, Linux 6.18).
    constexpr unsigned kRowsBetweenReleases = 2;
    if (embedded.fetch_add(1, std::memory_order_relaxed) % kRowsBetweenReleases == 0) {
      model->file->release_pages(*model->token_embedding);
    }
  } else {
    std::copy_n((riders != nullptr ? riders : adapter)->mask(-1 - token), d, row);
  }
  if (injected[r] != nullptr) floats.add(injected[r], d, row);
}

size_t CpuBackend::Impl::scratch_bytes() const {
  size_t count = 0;
  for (const Floats* buffer : {&low, &states, &markov_sums, &ones, &tapped}) count += buffer->capacity();
  return count * sizeof(float) + bridge_in.bytes() + side_in.bytes() + small_in.bytes() + pass.scratch_bytes() +
         attention.scratch_bytes() + feed_forward.scratch_bytes() + lm_head.scratch_bytes();
}

// ---- CpuBackend ----------------------------------------------------------------------------------------------------

Result<std::unique_ptr<CpuBackend>> CpuBackend::create(std::shared_ptr<const Model> model, int threads,
                                                       const Kernels* kernels, int max_rows) {
  S3D_CHECK(model != nullptr && kernels != nullptr);
  if (threads < 1 || max_rows < 1) {
    return Error{
        fmt::format("CPU backend: {} threads and passes of {} rows; expected 1 or more of each", threads, max_rows)};
  }
  return std::unique_ptr<CpuBackend>(new CpuBackend(
      std::make_unique<Impl>(std::move(model), std::make_shared<ThreadPool>(threads), *kernels, max_rows)));
}

Result<std::unique_ptr<Backend>> CpuBackend::beside(std::shared_ptr<const Model> model, int max_rows) {
  return std::unique_ptr<Backend>(
      new CpuBackend(std::make_unique<Impl>(std::move(model), impl_->pool, impl_->kernels, max_rows)));
}

void CpuBackend::multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out) {
  impl_->multiply(w.packed, in, out);
}

CpuBackend::CpuBackend(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CpuBackend::~CpuBackend() = default;

Result<PassOutput> CpuBackend::run(const Block& block, KvCache& kv) {
  return impl_->run(block, kv, {0, impl_->config.n_layers});
}
Result<PassOutput> CpuBackend::run_part(const Block& block, KvCache& kv, const PassPart& part) {
  return impl_->run(block, kv, part);
}
void CpuBackend::add_markov(const PackedAdapter& adapter, std::span<const int32_t> previous, std::span<float> logits,
                            std::span<float> z) {
  impl_->add_markov(adapter, previous, logits, z);
}

const ModelConfig& CpuBackend::config() const {
  return impl_->config;
}
int CpuBackend::max_rows() const {
  return static_cast<int>(impl_->max_rows);
}
std::string_view CpuBackend::name() const {
  return impl_->kernels.name;
}
size_t CpuBackend::weight_bytes() const {
  return impl_->model->packed_bytes();
}
size_t CpuBackend::scratch_bytes() const {
  return impl_->scratch_bytes();
}

}  // namespace s3d
