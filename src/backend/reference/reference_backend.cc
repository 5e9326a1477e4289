#include "backend/reference/reference_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "backend/packed_adapter.h"
#include "backend/reference/plain_kv.h"
#include "backend/side_matrix.h"
#include "base/check.h"
#include "base/index.h"

namespace s3d {
namespace {

using Doubles = std::vector<double>;

// The planned slots of a block as the store of a reference pass. Key `first of its sequence + slot` is that slot's.
class CacheStore : public ReferenceStore {
 public:
  CacheStore(const BlockPlacement& placement, const KvCache& kv)
      : placement_(placement), layout_(kv.layout()), kv_(kv) {
    size_t keys = 0;
    for (const PlacedSequence& sequence : placement.sequences) {
      first_.push_back(keys);
      // Slots in use end with that of the sequence's last row.
      keys += usize(placement.rows[sequence.rows.back()].slot) + 1;
    }
    first_.push_back(keys);
    for (const PlacedRow& row : placement.rows) seen_.push_back(seen_by(row));
  }

  RopeSet rope_set(size_t row) const override {
    const auto sequence = usize(placement_.rows[row].sequence);
    return kv_.rope_set(placement_.sequences[sequence].id);
  }
  const std::vector<std::vector<SeenKey>>& seen() const override { return seen_; }

  void exchange(int layer, Doubles& k, Doubles& v) override {
    const size_t kv_dim = usize(layout_.n_kv_heads) * usize(layout_.head_dim);
    for (size_t r = 0; r < placement_.rows.size(); ++r) {
      const PlacedRow& row = placement_.rows[r];
      for_heads(layer, usize(row.sequence), row.slot, [&](const PlainKv& key, const PlainKv& value, size_t at) {
        key.write(&k[r * kv_dim + at]);
        value.write(&v[r * kv_dim + at]);
      });
    }
    k.assign(first_.back() * kv_dim, 0);
    v.assign(first_.back() * kv_dim, 0);
    for (size_t s = 0; s < placement_.sequences.size(); ++s) {
      for (size_t index = first_[s]; index < first_[s + 1]; ++index) {
        for_heads(layer, s, static_cast<int>(index - first_[s]),
                  [&](const PlainKv& key, const PlainKv& value, size_t at) {
                    key.read(&k[index * kv_dim + at]);
                    value.read(&v[index * kv_dim + at]);
                  });
      }
    }
  }

 private:
  std::vector<SeenKey> seen_by(const PlacedRow& row) const {
    const size_t first = first_[row.sequence];
    std::vector<SeenKey> seen;
    for (int p = 0; p <= row.position; ++p) {
      const int slot = p < row.contiguous ? p : placement_.path(row)[p - row.contiguous];
      seen.push_back({first + usize(slot), p});
    }
    return seen;
  }

  // Calls f(key, value, offset in a row of all heads) for each head of a slot.
  void for_heads(int layer, size_t sequence, int slot, const auto& f) const {
    std::byte* page = placement_.sequences[sequence].pages[slot / KvLayout::kPageTokens];
    const int in_page = slot % KvLayout::kPageTokens;
    for (int head = 0; head < layout_.n_kv_heads; ++head) {
      f(PlainKv::key(layout_, page, layer, head, in_page), PlainKv::value(layout_, page, layer, head, in_page),
        usize(head) * usize(layout_.head_dim));
    }
  }

  const BlockPlacement& placement_;
  const KvLayout& layout_;
  const KvCache& kv_;
  std::vector<size_t> first_;  // [sequences + 1] index of a sequence's slot 0, and how many keys there are
  std::vector<std::vector<SeenKey>> seen_;
};

std::vector<Doubles> states_of(const Block& block, size_t d_model) {
  std::vector<Doubles> states;
  for (const float* state : block.state) {
    states.push_back(state == nullptr ? Doubles() : Doubles(state, state + d_model));
  }
  return states;
}

}  // namespace

Result<std::unique_ptr<ReferenceBackend>> ReferenceBackend::create(std::shared_ptr<const GgufFile> file,
                                                                   ModelConfig config, int threads, int max_rows) {
  if (threads < 1 || max_rows < 1) {
    return Error{fmt::format("a backend of {} threads and {} rows: expected 1 or more of each", threads, max_rows)};
  }
  S3D_ASSIGN(ReferenceModel model, ReferenceModel::load(std::move(file), std::move(config)));
  return std::unique_ptr<ReferenceBackend>(
      new ReferenceBackend(std::move(model), std::make_shared<ThreadPool>(threads), max_rows));
}

Result<std::unique_ptr<Backend>> ReferenceBackend::beside(std::shared_ptr<const Model> model, int max_rows) {
  S3D_ASSIGN(ReferenceModel side, ReferenceModel::load(*model));
  return std::unique_ptr<Backend>(new ReferenceBackend(std::move(side), pool_, max_rows));
}

void ReferenceBackend::multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out) {
  const Doubles y = model_.multiply(w, Doubles(in.begin(), in.end()), *pool_);
  S3D_CHECK(y.size() == out.size());
  std::copy(y.begin(), y.end(), out.begin());
}

ReferenceBackend::ReferenceBackend(ReferenceModel model, std::shared_ptr<ThreadPool> pool, int max_rows)
    : model_(std::move(model)), pool_(std::move(pool)), max_rows_(max_rows) {}

Result<ReferenceOutput> ReferenceBackend::compute(const Block& block, const KvCache& kv) {
  CacheStore store(placement_, kv);
  const std::vector<LayerSet> layers(block.rows.size(), block.layers);
  const bool riders = block.riders != nullptr;
  const ReferenceFeatures features = {.input = block.input, .taps = block.taps, .tapped = block.tapped};
  if (block.adapter == nullptr && !riders) {
    return model_.run(block.rows, layers, placement_.wanted, *pool_, nullptr, &store, features);
  }
  const std::vector<Doubles> states = states_of(block, usize(config().d_model));
  const PackedAdapter& adapter = riders ? *block.riders : *block.adapter;
  const float* masks = adapter.config().masks > 0 ? adapter.mask(0) : nullptr;
  const ReferenceDraft draft = {
      .adapter = &adapter.source(), .first = 0, .state = states, .masks = masks, .riders = riders};
  return model_.run(block.rows, layers, placement_.wanted, *pool_, &draft, &store, features);
}

Result<PassOutput> ReferenceBackend::run(const Block& block, KvCache& kv) {
  const KvLayout& cache = kv.layout();
  const ModelConfig& c = config();
  S3D_CHECK(cache.n_layers == c.n_layers && cache.n_kv_heads == c.n_kv_heads && cache.head_dim == c.head_dim,
            "the KV cache was made for another model");
  S3D_TRY(place_block(block, c, max_rows_, kv, placement_));
  const Result<ReferenceOutput> out = compute(block, kv);
  if (block.kv == KvUse::kScratch || !out.ok()) drop_pending(placement_, kv);
  if (!out.ok()) return out.error();
  logits_.assign(out->logits.begin(), out->logits.end());
  hidden_.assign(out->hidden.begin(), out->hidden.end());
  PassOutput views{.logits = logits_, .hidden = {}, .tapped = {}};
  if (block.want_hidden) views.hidden = hidden_;
  tapped_.assign(out->tapped.begin(), out->tapped.end());
  views.tapped = tapped_;
  return views;
}

void ReferenceBackend::add_markov(const PackedAdapter& adapter, std::span<const TokenId> previous,
                                  std::span<float> logits, std::span<float> z) {
  const Adapter& source = adapter.source();
  if (source.markov_p == nullptr) return;
  const Doubles term = model_.markov_term(source, previous, *pool_);
  S3D_CHECK(term.size() == logits.size(), "logits of a draft pass");
  for (size_t i = 0; i < term.size(); ++i) logits[i] = static_cast<float>(logits[i] + term[i]);
  if (z.empty()) return;
  const Doubles state = model_.markov_state(source, previous, *pool_);
  S3D_CHECK(state.size() == z.size());
  std::copy(state.begin(), state.end(), z.begin());
}

size_t ReferenceBackend::scratch_bytes() const {
  return (logits_.capacity() + hidden_.capacity() + tapped_.capacity()) * sizeof(float);
}

}  // namespace s3d
