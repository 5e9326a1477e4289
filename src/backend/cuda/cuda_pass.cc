#include "backend/cuda/cuda_pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/index.h"
#include "s3d/types.h"

namespace s3d::cuda {
namespace {

int widest_output(const ModelConfig& config) {
  return std::max({config.d_ff, config.q_dim(), config.d_model});
}

}  // namespace

CudaPass::CudaPass(Device& device, const Model& model, const DeviceModel& weights)
    : device_(device),
      model_(model),
      config_(model.config),
      weights_(weights),
      rope_{RopeTable(config_.rope), RopeTable(config_.rope_local)} {}

// ---- Before a pass -------------------------------------------------------------------------------------------------

Status CudaPass::out_of_memory() const {
  return Error{fmt::format("device {}: no memory left for a pass of {} rows ({} bytes free); use a shorter context",
                           device_.name(), n_, device_.free_bytes())};
}

// ---- Its memory: what a pass takes, and what reserve() takes for the largest one, are told by the same functions.

bool CudaPass::ensure_rows(int n, int segments) {
  const size_t rows = usize(n), d = usize(config_.d_model), kv = usize(config_.kv_dim()), ff = usize(config_.d_ff);
  const size_t partial = 2 + usize(config_.head_dim);
  return x_.ensure(device_, rows * d) && mixed_.ensure(device_, rows * d) &&
         q_.ensure(device_, rows * usize(config_.q_dim())) && k_.ensure(device_, rows * kv) &&
         v_.ensure(device_, rows * kv) && gate_.ensure(device_, rows * ff) && up_.ensure(device_, rows * ff) &&
         partials_.ensure(device_, rows * usize(config_.n_heads) * usize(segments) * partial);
}

bool CudaPass::ensure_inputs(const DeviceLayer& w, int n) {
  return ensure_input(device_, normed_, {{&w.wq, &w.wk, &w.wv, &w.w_gate, &w.w_up}}, n, config_.d_model) &&
         ensure_input(device_, attended_in_, {{&w.wo}}, n, config_.q_dim()) &&
         ensure_input(device_, gated_, {{&w.w_down}}, n, config_.d_ff);
}

// `tapped`: rows, of all taps.
bool CudaPass::ensure_output(const DeviceMatrix& head, int wanted, size_t tapped) {
  const size_t d = usize(config_.d_model), rows = usize(wanted);
  return ensure_input(device_, head_in_, {{&head}}, std::max(1, wanted), config_.d_model) &&
         logits_.ensure(device_, rows * usize(config_.vocab_size)) && hidden_.ensure(device_, rows * d) &&
         hidden_normed_.ensure(device_, rows * d) && tapped_.ensure(device_, tapped * d);
}

bool CudaPass::ensure_adapter(const DeviceAdapter& adapter, int n) {
  int ranks = std::max({adapter.state_down.rows, adapter.bridge_down.rows, 1});
  bool enough = true;
  for (const DeviceAdapter::Layer& layer : adapter.layers) {
    for (const DeviceLora* lora : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      ranks = std::max(ranks, lora->a.rows);
      for (size_t i = 0; i < lora->b.size(); ++i) {
        if (lora->b[i].empty()) continue;
        enough = enough && ensure_input(device_, pair_in_[i], {{&lora->b[i]}}, n, lora->b[i].cols) &&
                 low_rank_sums_[i].ensure(device_, usize(n) * usize(widest_output(config_)));
      }
    }
    enough = enough && ensure_input(device_, normed_, {{&layer.qkv.a, &layer.gate_up.a}}, n, config_.d_model) &&
             ensure_input(device_, attended_in_, {{&layer.output.a}}, n, config_.q_dim()) &&
             ensure_input(device_, gated_, {{&layer.down.a}}, n, config_.d_ff);
  }
  return enough && low_.ensure(device_, usize(n) * usize(ranks)) &&
         ensure_input(device_, normed_, {{&adapter.state_down, &adapter.bridge_down}}, n, config_.d_model) &&
         ensure_input(device_, low_in_, {{&adapter.state_up, &adapter.bridge_up}}, n, ranks);
}

bool CudaPass::ensure_buffers(const Block& block, const DeviceAdapter* adapter) {
  const int wanted = part_.out.empty() ? isize(placement_->wanted) : 0;
  bool enough = ensure_rows(n_, plan_.max_segments);
  for (size_t i = begin_; i < end_; ++i) {
    enough = enough && ensure_inputs(weights_.layers[usize(placement_->layers[i])], n_);
  }
  return enough && ensure_output(head_of(block, adapter), wanted, block.taps.size() * block.tapped.size()) &&
         (adapter == nullptr || ensure_adapter(*adapter, n_));
}

// Bytes of what prepare() uploads, in its order.
size_t CudaPass::most_uploaded(const PassLimits& limits) const {
  const size_t n = usize(limits.rows), floats = n * usize(config_.d_model) * sizeof(float);
  const size_t pages = usize(limits.sequences) * usize((limits.context + limits.rows) / KvLayout::kPageTokens + 1);
  size_t bytes = 0;
  const auto add = [&](size_t size) { bytes = UploadPack::aligned(bytes) + size; };
  for (const size_t size : {floats, floats, n}) add(size);  // rows, states, which rows have one
  for (const bool local : {false, true}) {
    if (local && config_.local_layer.empty()) continue;
    for (int table = 0; table < 2; ++table) add(n * rope_[local].pairs() * sizeof(float));
    add(n * sizeof(AttentionTile));
  }
  for (const size_t each : {sizeof(std::byte*), sizeof(int32_t), sizeof(SeenBy)}) add(n * each);
  add(std::bit_ceil(n * kMaxRoundRows + 1) * sizeof(int32_t));  // paths: of a round's rows
  add(std::bit_ceil(pages) * sizeof(std::byte*));
  for (int table = 0; table < 4; ++table) add(n * sizeof(int32_t));  // first pages, row order, wanted, tapped
  add(n);                                                            // riders
  return bytes;
}

Status CudaPass::reserve(const PassLimits& limits, const DeviceAdapter* adapter) {
  n_ = limits.rows;
  const int segments = std::max(1, limits.context - 1) / AttentionTask::kSegment + 1;
  bool enough = ensure_rows(n_, static_cast<int>(std::bit_ceil(static_cast<unsigned>(segments))));
  for (const DeviceLayer& layer : weights_.layers) enough = enough && ensure_inputs(layer, n_);
  const DeviceMatrix& head = adapter != nullptr && !adapter->own_head.empty() ? adapter->own_head : *weights_.lm_head;
  const int wanted = head.empty() ? 0 : limits.wanted;
  enough = enough && ensure_output(head, wanted, usize(limits.taps) * usize(n_)) &&
           (adapter == nullptr || ensure_adapter(*adapter, n_)) && low_.ensure(device_, usize(n_)) &&
           pack_.reserve(device_, most_uploaded(limits));
  return enough ? Ok() : out_of_memory();
}

// Inputs of the first layer: vectors that were given, embeddings or masks.
std::vector<float> CudaPass::embed(const Block& block) const {
  const size_t d = usize(config_.d_model);
  std::vector<float> x(block.rows.size() * d);
  for (size_t r = 0; r < block.rows.size(); ++r) {
    const TokenId token = block.rows[r].token;
    if (!block.input.empty() && block.input[r] != nullptr) {
      std::copy_n(block.input[r], d, &x[r * d]);
    } else if (token >= 0) {
      model_.embed(token, &x[r * d]);
    } else {
      const PackedAdapter* adapter = block.riders != nullptr ? block.riders : block.adapter;
      std::copy_n(adapter->mask(-1 - token), d, &x[r * d]);
    }
  }
  model_.file->release_pages(*model_.token_embedding);
  return x;
}

void CudaPass::add_states(const Block& block) {
  const size_t d = usize(config_.d_model);
  if (block.adapter == nullptr || block.state.empty() || block.adapter->state_down().empty()) return;
  std::vector<float> states(block.rows.size() * d);
  std::vector<uint8_t> takes(block.rows.size());
  for (size_t r = 0; r < block.rows.size(); ++r) {
    const bool wants = block.rows[r].token < 0 || block.adapter->config().state_on_first_row;
    if (block.state[r] == nullptr || !wants) continue;
    std::copy_n(block.state[r], d, &states[r * d]);
    takes[r] = 1;
    has_states_ = true;
  }
  parts_.states = pack_.add<float>(states);
  parts_.takes_state = pack_.add<uint8_t>(takes);
}

// Of a full pass with riders, the rows that are masks run with LoRA.
void CudaPass::add_riders(const Block& block) {
  std::vector<uint8_t> rides;
  for (const Row& row : block.rows) rides.push_back(row.token < 0 ? 1 : 0);
  parts_.rides = pack_.add<uint8_t>(rides);
}

void CudaPass::add_tables(const Block& block, const KvCache& kv) {
  std::vector<int> positions;
  std::vector<RopeSet> sets;
  std::vector<std::byte*> page_of_row;
  std::vector<int32_t> slots;
  for (size_t r = 0; r < block.rows.size(); ++r) {
    positions.push_back(block.rows[r].position);
    sets.push_back(kv.rope_set(block.rows[r].seq));
    const PlacedRow& row = placement_->rows[r];
    const int page = row.slot / KvLayout::kPageTokens;
    page_of_row.push_back(placement_->sequences[usize(row.sequence)].pages[usize(page)]);
    slots.push_back(row.slot % KvLayout::kPageTokens);
  }
  for (const bool local : {false, true}) {
    if (local && config_.local_layer.empty()) continue;
    rope_[local].fill(positions, sets);
    const size_t size = positions.size() * rope_[local].pairs();
    parts_.cos[local] = pack_.add<float>({rope_[local].cos(0), size});
    parts_.sin[local] = pack_.add<float>({rope_[local].sin(0), size});
    parts_.tiles[local] = pack_.add<AttentionTile>(plan_.tiles[local]);
  }
  parts_.page_of_row = pack_.add<std::byte*>(page_of_row);
  parts_.slots = pack_.add<int32_t>(slots);
  parts_.seen = pack_.add<SeenBy>(plan_.seen);
  parts_.paths = pack_.add<int32_t>(paths_);
  parts_.pages = pack_.add<const std::byte*>(plan_.pages);
  parts_.first_page = pack_.add<int32_t>(plan_.first_page);
  parts_.row_order = pack_.add<int32_t>(plan_.row_order);
  parts_.wanted = pack_.add<int32_t>(placement_->wanted);
  parts_.tapped = pack_.add<int32_t>(block.tapped);
}

Status CudaPass::prepare(const Block& block, const KvCache& kv, const DeviceAdapter* adapter) {
  n_ = isize(block.rows);
  layout_ = &kv.layout();
  plan_ = plan_attention(*placement_, config_.n_heads / config_.n_kv_heads,
                         config_.local_layer.empty() ? 0 : config_.sliding_window);
  // Numbers that grow with the context are rounded up, so that graphs fit longer contexts too.
  plan_.max_segments = static_cast<int>(std::bit_ceil(static_cast<unsigned>(plan_.max_segments)));
  plan_.pages.resize(std::bit_ceil(plan_.pages.size()));
  paths_ = placement_->paths;
  paths_.resize(std::bit_ceil(paths_.size() + 1));
  width_ = block.adapter != nullptr ? static_cast<int>(block.adapter->draft_size()) : config_.vocab_size;
  pack_.clear();
  parts_ = {};
  has_states_ = false;
  if (part_.in.empty()) {
    parts_.x = pack_.add<float>(embed(block));
    add_states(block);
  } else {
    parts_.x = pack_.add<float>(part_.in);
  }
  add_tables(block, kv);
  if (block.riders != nullptr) add_riders(block);
  if (!ensure_buffers(block, adapter) || !pack_.upload(device_)) return out_of_memory();
  lora_rows_ = block.riders != nullptr ? pack_.at(parts_.rides) : nullptr;
  return Ok();
}

// ---- The pass ------------------------------------------------------------------------------------------------------

Status CudaPass::run(const Block& block, const KvCache& kv, const BlockPlacement& placement,
                     const DeviceAdapter* adapter, const PassPart& part) {
  const auto place_of = [&](int layer) {
    const std::vector<int>& layers = placement.layers;
    return usize(std::lower_bound(layers.begin(), layers.end(), layer) - layers.begin());
  };
  placement_ = &placement;
  part_ = part;
  begin_ = place_of(part.first_layer);
  end_ = place_of(part.end_layer);
  S3D_TRY(prepare(block, kv, adapter));
  constexpr int kMostGraphRows = 32;  // passes of more rows, parts of prompts, are not bound by the starting of kernels
  n_ <= kMostGraphRows ? start_graph(block, adapter) : start(block, adapter);
  return part.out.empty() ? fetch(block) : hand_over(block);
}

// All kernels of the pass.
void CudaPass::start(const Block& block, const DeviceAdapter* adapter) {
  begin_rows(adapter);
  walk(block, adapter);
  if (part_.out.empty()) start_output(block, adapter);
}

CudaPass::GraphKey CudaPass::graph_key(const Block& block, const DeviceAdapter* adapter) const {
  GraphKey key = {n_,
                  isize(placement_->wanted),
                  isize(placement_->sequences),
                  static_cast<int64_t>(begin_),
                  static_cast<int64_t>(end_),
                  block.layers.first,
                  block.layers.last,
                  part_.out.empty() ? 1 : 0,
                  static_cast<int64_t>(reinterpret_cast<intptr_t>(adapter)),
                  block.riders != nullptr ? 1 : 0,
                  has_states_ ? 1 : 0,
                  block.want_hidden ? 1 : 0,
                  static_cast<int64_t>(layout_->type),
                  layout_->first_layer,
                  layout_->n_layers,
                  plan_.max_segments,
                  isize(plan_.tiles[0]),
                  isize(plan_.pages),
                  isize(paths_),
                  isize(block.tapped)};
  key.insert(key.end(), block.taps.begin(), block.taps.end());
  return key;
}

// The same, by one call where such a pass was run before.
void CudaPass::start_graph(const Block& block, const DeviceAdapter* adapter) {
  constexpr size_t kMostGraphs = 256;
  if (graph_bytes_ != scratch_bytes() || graphs_.size() >= kMostGraphs) graphs_.clear();
  graph_bytes_ = scratch_bytes();
  std::unique_ptr<Graph>& graph = graphs_[graph_key(block, adapter)];
  if (graph == nullptr) {
    device_.begin_capture();
    start(block, adapter);
    auto made = device_.end_capture();
    if (!made.ok()) return start(block, adapter);
    graph = std::move(*made);
  }
  device_.launch(*graph);
}

// The residual stream to another backend.
Status CudaPass::hand_over(const Block& block) {
  logits.clear();
  hidden.clear();
  S3D_TRY(device_.synchronize());
  download_taps(block);
  device_.download(part_.out.data(), reinterpret_cast<const std::byte*>(x_.data()), part_.out.size_bytes());
  return Ok();
}

void CudaPass::begin_rows(const DeviceAdapter* adapter) {
  const int d = config_.d_model;
  rows_step({.x = pack_.at(parts_.x), .n = n_, .cols = d, .out = x_.data()});
  if (!has_states_) return;
  const DeviceMatrix &down = adapter->state_down, &up = adapter->state_up;
  make_input(pack_.at(parts_.states), weights_.ones, d, normed_, {{&down}});
  Product shrink[] = {{down, {.y = low_.data(), .ld = down.rows}}};
  multiply(device_, normed_, shrink, n_);
  make_input(low_.data(), {}, down.rows, low_in_, {{&up}});
  Product grow[] = {{up, {.y = mixed_.data(), .ld = d}}};
  multiply(device_, low_in_, grow, n_);
  rows_step({.x = mixed_.data(), .n = n_, .cols = d, .residual = x_.data(), .only = pack_.at(parts_.takes_state)});
}

void CudaPass::walk(const Block& block, const DeviceAdapter* adapter) {
  static const DeviceAdapter::Layer no_lora;
  const bool bridged = block.adapter != nullptr && !adapter->bridge_down.empty();
  const std::vector<int>& layers = placement_->layers;
  for (size_t i = begin_; i < end_; ++i) {
    if (bridged && i == usize(block.layers.first)) bridge(*adapter);
    run_layer(layers[i], adapter != nullptr ? adapter->layers[i] : no_lora);
    take_taps(block, layers[i] + 1);
  }
}

// What is asked for of the residual stream behind so many layers is kept, since later layers change it.
void CudaPass::take_taps(const Block& block, int layers_run) {
  const auto at = std::find(block.taps.begin(), block.taps.end(), layers_run);
  if (at == block.taps.end() || block.tapped.empty()) return;
  const size_t size = block.tapped.size() * usize(config_.d_model);
  rows_step({.x = x_.data(),
             .index = pack_.at(parts_.tapped),
             .n = isize(block.tapped),
             .cols = config_.d_model,
             .out = tapped_.data() + usize(at - block.taps.begin()) * size});
}

// x += post_norm(attention(norm(x))), then x += post_norm(feed_forward(norm(x))).
void CudaPass::run_layer(int layer, const DeviceAdapter::Layer& lora) {
  attend(layer, lora);
  feed_forward(layer, lora);
}

void CudaPass::attend(int layer, const DeviceAdapter::Layer& lora) {
  const DeviceLayer& w = weights_.layers[usize(layer)];
  make_input(x_.data(), w.attn_norm, config_.d_model, normed_, {{&w.wq, &w.wk, &w.wv, &lora.qkv.a}});
  low_rank_sums(lora.qkv, normed_);
  Product products[] = {{w.wq, product(w.wq, q_.data(), lora.qkv, 0, &w.bq)},
                        {w.wk, product(w.wk, k_.data(), lora.qkv, 1, &w.bk)},
                        {w.wv, product(w.wv, v_.data(), lora.qkv, 2, &w.bv)}};
  multiply(device_, normed_, products, n_);
  if (config_.wide_qk_norm) {
    norm_in_place(q_, w.q_norm, config_.q_dim());
    norm_in_place(k_, w.k_norm, config_.kv_dim());
  }
  place(layer);
  const bool local = config_.is_local(layer);
  const DeviceMatrix* readers[] = {&w.wo, &lora.output.a};
  device_.kernels().attention(device_.stream(), {.q = q_.data(),
                                                 .partials = partials_.data(),
                                                 .stored = attended_in_.input(formats_of(readers)),
                                                 .layout = *layout_,
                                                 .layer = layer,
                                                 .n = n_,
                                                 .n_heads = config_.n_heads,
                                                 .scale = config_.attention_scale,
                                                 .softcap = config_.attention_softcap,
                                                 .window = local ? config_.sliding_window : 0,
                                                 .seen = pack_.at(parts_.seen),
                                                 .paths = pack_.at(parts_.paths),
                                                 .pages = pack_.at(parts_.pages),
                                                 .first_page = pack_.at(parts_.first_page),
                                                 .row_order = pack_.at(parts_.row_order),
                                                 .tiles = pack_.at(parts_.tiles[local]),
                                                 .n_tiles = isize(plan_.tiles[local]),
                                                 .heads_per_part = plan_.heads_per_part,
                                                 .rows_per_tile = plan_.rows_per_tile,
                                                 .max_segments = plan_.max_segments});
  end_sublayer(w.wo, attended_in_, lora.output, w.attn_post_norm);
}

void CudaPass::norm_in_place(const Floats& rows, const Floats& weight, int cols) {
  rows_step({.step = RowStep::kNorm,
             .x = rows.data(),
             .weight = weight.data(),
             .eps = config_.norm_eps,
             .n = n_,
             .cols = cols,
             .out = rows.data()});
}

void CudaPass::place(int layer) {
  const DeviceLayer& w = weights_.layers[usize(layer)];
  const bool local = config_.is_local(layer);
  device_.kernels().place(device_.stream(), {.q = q_.data(),
                                             .k = k_.data(),
                                             .v = v_.data(),
                                             .q_norm = config_.wide_qk_norm ? nullptr : w.q_norm.data(),
                                             .k_norm = config_.wide_qk_norm ? nullptr : w.k_norm.data(),
                                             .eps = config_.norm_eps,
                                             .cos = pack_.at(parts_.cos[local]),
                                             .sin = pack_.at(parts_.sin[local]),
                                             .pairs = static_cast<int>(rope_[local].pairs()),
                                             .interleaved = config_.rope_style == RopeStyle::kInterleaved,
                                             .n = n_,
                                             .n_heads = config_.n_heads,
                                             .layout = *layout_,
                                             .layer = layer,
                                             .page_of_row = pack_.at(parts_.page_of_row),
                                             .slot_of_row = pack_.at(parts_.slots)});
}

void CudaPass::feed_forward(int layer, const DeviceAdapter::Layer& lora) {
  const DeviceLayer& w = weights_.layers[usize(layer)];
  make_input(x_.data(), w.ffn_norm, config_.d_model, normed_, {{&w.w_gate, &w.w_up, &lora.gate_up.a}});
  low_rank_sums(lora.gate_up, normed_);
  Product products[] = {{w.w_gate, product(w.w_gate, gate_.data(), lora.gate_up, 0)},
                        {w.w_up, product(w.w_up, up_.data(), lora.gate_up, 1)}};
  multiply(device_, normed_, products, n_);
  const DeviceMatrix* readers[] = {&w.w_down, &lora.down.a};
  rows_step({.step = config_.activation == Activation::kSilu ? RowStep::kSiluMul : RowStep::kGeluMul,
             .x = gate_.data(),
             .other = up_.data(),
             .n = n_,
             .cols = config_.d_ff,
             .stored = gated_.input(formats_of(readers))});
  end_sublayer(w.w_down, gated_, lora.down, w.ffn_post_norm);
}

// x += up (down rms(x))
void CudaPass::bridge(const DeviceAdapter& adapter) {
  const DeviceMatrix &down = adapter.bridge_down, &up = adapter.bridge_up;
  make_input(x_.data(), weights_.ones, config_.d_model, normed_, {{&down}});
  Product shrink[] = {{down, {.y = low_.data(), .ld = down.rows}}};
  multiply(device_, normed_, shrink, n_);
  make_input(low_.data(), {}, down.rows, low_in_, {{&up}});
  Product grow[] = {{up, {.y = x_.data(), .ld = config_.d_model, .accumulate = true}}};
  multiply(device_, low_in_, grow, n_);
}

// An adapter whose draft vocabulary is not the beginning of the model's has a head of its own.
const DeviceMatrix& CudaPass::head_of(const Block& block, const DeviceAdapter* adapter) const {
  return block.adapter != nullptr && !adapter->own_head.empty() ? adapter->own_head : *weights_.lm_head;
}

// Norm and logits of the rows that want them.
void CudaPass::start_output(const Block& block, const DeviceAdapter* adapter) {
  const DeviceMatrix& matrix = head_of(block, adapter);
  const int wanted = isize(placement_->wanted), d = config_.d_model;
  if (wanted == 0) return;
  const int32_t* index = pack_.at(parts_.wanted);
  const bool draft = block.adapter != nullptr;
  if (block.want_hidden) {
    rows_step({.x = x_.data(), .index = index, .n = wanted, .cols = d, .out = hidden_.data()});
  }
  const DeviceMatrix* readers[] = {&matrix};
  rows_step({.step = RowStep::kNorm,
             .x = x_.data(),
             .index = index,
             .weight = weights_.output_norm.data(),
             .eps = config_.norm_eps,
             .n = wanted,
             .cols = d,
             .out = block.want_hidden ? hidden_normed_.data() : nullptr,
             .stored = head_in_.input(formats_of(readers))});
  const int size = width_;
  Product head[] = {{matrix,
                     {.rows = size,
                      .y = logits_.data(),
                      .ld = size,
                      .places = draft ? nullptr : weights_.lm_head_ids.data(),
                      .softcap = draft ? 0 : config_.logit_softcap}}};
  multiply(device_, head_in_, head, wanted);
}

Status CudaPass::fetch(const Block& block) {
  const int wanted = isize(placement_->wanted);
  logits.clear();
  hidden.clear();
  const bool stays = block.keep_logits && !block.want_hidden && block.taps.empty();
  if (wanted == 0 || !stays) S3D_TRY(device_.synchronize());
  download_taps(block);
  if (wanted == 0) return Ok();
  if (!block.keep_logits) logits = logits_.download(usize(wanted) * usize(width_));
  if (block.want_hidden) download_hidden(block);
  return Ok();
}

// Of rows with an adapter, behind the output norm.
void CudaPass::download_hidden(const Block& block) {
  const size_t d = usize(config_.d_model), wanted = placement_->wanted.size();
  hidden = hidden_.download(wanted * d);
  const std::vector<float> normed = hidden_normed_.download(wanted * d);
  for (size_t i = 0; i < wanted; ++i) {
    const bool drafts = block.adapter != nullptr || block.rows[usize(placement_->wanted[i])].token < 0;
    if (drafts) std::copy_n(&normed[i * d], d, &hidden[i * d]);
  }
}

// From [taps][rows] to [rows][taps]; of the taps behind layers of this part.
void CudaPass::download_taps(const Block& block) {
  const size_t d = usize(config_.d_model), taps = block.taps.size(), n = block.tapped.size();
  tapped.resize(n * taps * d);
  if (tapped.empty()) return;
  const std::vector<float> by_tap = tapped_.download(tapped.size());
  for (size_t tap = 0; tap < taps; ++tap) {
    if (block.taps[tap] <= part_.first_layer || block.taps[tap] > part_.end_layer) continue;
    for (size_t i = 0; i < n; ++i) std::copy_n(&by_tap[(tap * n + i) * d], d, &tapped[(i * taps + tap) * d]);
  }
}

// ---- Parts ---------------------------------------------------------------------------------------------------------

void CudaPass::make_input(const float* x, const Buffer<float>& norm, int cols, InputBuffers& to,
                          std::span<const DeviceMatrix* const> readers, int stride) {
  RowsTask task{.x = x, .x_stride = stride, .n = n_, .cols = cols, .stored = to.input(formats_of(readers))};
  if (norm.data() != nullptr) {
    task.step = RowStep::kNorm;
    task.weight = norm.data();
    task.eps = config_.norm_eps;
  }
  rows_step(task);
}

void CudaPass::end_sublayer(const DeviceMatrix& matrix, const InputBuffers& in, const DeviceLora& lora,
                            const Buffer<float>& post_norm) {
  low_rank_sums(lora, in);
  const bool normed = post_norm.data() != nullptr;
  Product last[] = {{matrix, product(matrix, normed ? mixed_.data() : x_.data(), lora, 0)}};
  last[0].task.accumulate = !normed;
  multiply(device_, in, last, n_);
  if (!normed) return;
  rows_step({.step = RowStep::kNorm,
             .x = mixed_.data(),
             .weight = post_norm.data(),
             .eps = config_.norm_eps,
             .n = n_,
             .cols = config_.d_model,
             .residual = x_.data()});
}

void CudaPass::low_rank_sums(const DeviceLora& lora, const InputBuffers& in) {
  if (lora.a.empty()) return;
  const int stride = lora.a.rows;
  Product shrink[] = {{lora.a, {.y = low_.data(), .ld = stride}}};
  multiply(device_, in, shrink, n_);
  for (size_t i = 0; i < lora.b.size(); ++i) {
    const DeviceMatrix& b = lora.b[i];
    if (b.empty()) continue;
    make_input(low_.data() + lora.first[i], {}, b.cols, pair_in_[i], {{&b}}, stride);
    Product grow[] = {{b, {.y = low_rank_sums_[i].data(), .ld = b.rows}}};
    multiply(device_, pair_in_[i], grow, n_);
  }
}

MatrixProduct CudaPass::product(const DeviceMatrix& matrix, float* y, const DeviceLora& lora, size_t pair,
                                const Buffer<float>* bias) const {
  return {.y = y,
          .ld = matrix.rows,
          .addend = lora.b[pair].empty() ? nullptr : low_rank_sums_[pair].data(),
          .addend_rows = lora_rows_,
          .bias = bias == nullptr ? nullptr : bias->data()};
}

size_t CudaPass::scratch_bytes() const {
  size_t bytes =
      pack_.bytes() + normed_.bytes() + attended_in_.bytes() + gated_.bytes() + head_in_.bytes() + low_in_.bytes();
  for (const Floats* buffer :
       {&x_, &mixed_, &q_, &k_, &v_, &gate_, &up_, &partials_, &low_, &logits_, &hidden_, &hidden_normed_, &tapped_}) {
    bytes += buffer->bytes();
  }
  for (const Floats& buffer : low_rank_sums_) bytes += buffer.bytes();
  for (const InputBuffers& buffers : pair_in_) bytes += buffers.bytes();
  return bytes;
}

}  // namespace s3d::cuda
