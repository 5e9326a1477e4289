#include "backend/reference/reference_model.h"

#include <fmt/format.h>
#include <ggml.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "backend/reference/reference_rounding.h"
#include "backend/side_matrix.h"
#include "base/check.h"
#include "base/index.h"
#include "kernels/packed_matrix.h"
#include "model/tensor_floats.h"

namespace s3d {
namespace {

using Vector = std::vector<double>;

// Eight running sums, so that the compiler can keep them in vector registers without changing the order of any.
double dot(const double* a, const double* b, size_t n) {
  double sums[8] = {};
  size_t k = 0;
  for (; k + 8 <= n; k += 8) {
    for (size_t j = 0; j < 8; ++j) sums[j] += a[k + j] * b[k + j];
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  for (; k < n; ++k) total += a[k] * b[k];
  return total;
}

void add_to_rows(Vector& x, const Vector& bias) {
  if (bias.empty()) return;
  for (size_t i = 0; i < x.size(); ++i) x[i] += bias[i % bias.size()];
}

void add(Vector& x, const Vector& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

double activate(Activation activation, double x) {
  if (activation == Activation::kSilu) return x / (1 + std::exp(-x));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

// In place: exp(x - max) / sum.
void softmax(Vector& x) {
  const double max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double& value : x) sum += value = std::exp(value - max);
  for (double& value : x) value /= sum;
}

// Replaces x by what int8_rounding() keeps of it.
void round_to_int8(double* x, size_t n, bool half_scale) {
  const Int8Rounding rounding = int8_rounding(x, n, half_scale);
  for (size_t k = 0; k < n; ++k) x[k] = rounding.quant(x[k]) * rounding.scale;
}

// Rounds the rows of `x`, [n, cols], in blocks of at most `block` values.
void round_rows_to_int8(Vector& x, size_t cols, size_t block, bool half_scale) {
  for (size_t row = 0; row < x.size(); row += cols) {
    for (size_t k = 0; k < cols; k += block) round_to_int8(&x[row + k], std::min(block, cols - k), half_scale);
  }
}

// Turns the pairs of one head by the angles of `position` (RopeConfig says the formula).
void rotate_head(double* head, const RopeConfig& rope, RopeSet set, RopeStyle style, int32_t position) {
  const int half = rope.dims / 2;
  const std::vector<float>& factors = rope.factors_of(set);
  for (int i = 0; i < half; ++i) {
    const double factor = factors.empty() ? 1 : factors[i];
    const double angle = position * std::pow(double{rope.base}, -2.0 * i / rope.dims) * rope.scale / factor;
    const double cosine = std::cos(angle) * rope.magnitude, sine = std::sin(angle) * rope.magnitude;
    double& a = style == RopeStyle::kInterleaved ? head[2 * i] : head[i];
    double& b = style == RopeStyle::kInterleaved ? head[2 * i + 1] : head[i + half];
    const double turned = a * cosine - b * sine;
    b = a * sine + b * cosine;
    a = turned;
  }
}

Vector gather(const Vector& x, const std::vector<size_t>& rows, size_t width) {
  Vector out;
  out.reserve(rows.size() * width);
  for (const size_t row : rows) {
    const double* from = x.data() + row * width;
    out.insert(out.end(), from, from + width);
  }
  return out;
}

void scatter(const Vector& from, const std::vector<size_t>& rows, size_t width, Vector& x) {
  for (size_t i = 0; i < rows.size(); ++i) std::copy_n(from.data() + i * width, width, x.data() + rows[i] * width);
}

// Copies what was asked for of the state behind so many layers; tapped: [rows, taps, d].
void take_taps(const ReferenceFeatures& features, int layers_run, size_t d, const Vector& x, Vector& tapped) {
  const size_t taps = features.taps.size();
  for (size_t tap = 0; tap < taps; ++tap) {
    if (features.taps[tap] != layers_run) continue;
    for (size_t i = 0; i < features.tapped.size(); ++i) {
      std::copy_n(&x[usize(features.tapped[i]) * d], d, &tapped[(i * taps + tap) * d]);
    }
  }
}

// Columns `ids` of rows x, [n, width].
Vector select(const Vector& x, size_t width, std::span<const TokenId> ids) {
  Vector out;
  for (size_t row = 0; row < x.size(); row += width) {
    for (const TokenId id : ids) out.push_back(x[row + usize(id)]);
  }
  return out;
}

}  // namespace

// The rows that run one layer, and whom each of them sees there.
struct ReferenceModel::Forest {
  std::vector<size_t> rows;                   // indices in the pass
  std::vector<int32_t> positions;             // [rows]
  std::vector<RopeSet> rope_sets;             // [rows]
  std::vector<std::vector<SeenKey>> visible;  // [rows] from the root on; without a store, indices in `rows`
  ReferenceStore* store = nullptr;

  Forest(std::span<const Row> all, std::span<const LayerSet> layers, int layer, int n_layers);
};

ReferenceModel::Forest::Forest(std::span<const Row> all, std::span<const LayerSet> layers, int layer, int n_layers) {
  std::vector<std::vector<SeenKey>> lineage(all.size());  // of every row, those of its ancestors and itself that run
  for (size_t i = 0; i < all.size(); ++i) {
    S3D_CHECK(all[i].parent >= -1 && all[i].parent < static_cast<int>(i), "a parent comes before its child");
    if (all[i].parent >= 0) lineage[i] = lineage[all[i].parent];
    if (!layers.empty() && !layers[i].has(layer, n_layers)) continue;
    lineage[i].push_back({rows.size(), all[i].position});
    rows.push_back(i);
    positions.push_back(all[i].position);
    visible.push_back(lineage[i]);
  }
}

// The LoRA pairs of one layer and the rows that they are for, of those that run it.
struct ReferenceModel::Lora {
  const std::array<LoraPair, kLoraTargets>* pairs = nullptr;  // null: none
  std::vector<size_t> rows;

  Lora(const ReferenceDraft* draft, std::span<const Row> all, const Forest& forest, int layer, int n_layers);
};

ReferenceModel::Lora::Lora(const ReferenceDraft* draft, std::span<const Row> all, const Forest& forest, int layer,
                           int n_layers) {
  if (draft == nullptr) return;
  const LayerSet kept = draft->adapter->config.layers;
  if (!kept.has(layer, n_layers)) return;
  const int index = layer < kept.first ? layer : layer - (n_layers - kept.count());
  pairs = &draft->adapter->lora[index];
  for (size_t i = 0; i < forest.rows.size(); ++i) {
    if (draft->has(all, forest.rows[i])) rows.push_back(i);
  }
}

// Finds tensors and checks their shapes.
class ReferenceModel::Loader {
 public:
  explicit Loader(const GgufFile& file) : file_(file) {}

  Result<const Tensor*> find(const std::string& name, int64_t cols, int64_t rows) const {
    S3D_ASSIGN(const Tensor* tensor, file_.tensor(name));
    if (tensor->cols() != cols || tensor->rows() != rows) {
      return Error{fmt::format("{}: tensor '{}' is [{}, {}], expected [{}, {}] (rows, columns) by the file's metadata",
                               file_.path(), name, tensor->rows(), tensor->cols(), rows, cols)};
    }
    if (tensor->type != GGML_TYPE_F32 && ggml_get_type_traits(tensor->type)->to_float == nullptr) {
      return Error{fmt::format("{}: tensor '{}' has type {}, which ggml cannot dequantize", file_.path(), name,
                               ggml_type_name(tensor->type))};
    }
    return tensor;
  }

  Status matrix(const std::string& name, int64_t cols, int64_t rows, Matrix& out) const {
    S3D_ASSIGN(const Tensor* tensor, find(name, cols, rows));
    out = Matrix{tensor, 0, rows};
    return Ok();
  }

  // One tensor that holds several matrices, one after another.
  Status fused(const std::string& name, int64_t cols, std::initializer_list<std::pair<Matrix*, int64_t>> parts) const {
    int64_t rows = 0;
    for (const auto& [part, n] : parts) rows += n;
    S3D_ASSIGN(const Tensor* tensor, find(name, cols, rows));
    int64_t first = 0;
    for (const auto& [part, n] : parts) {
      *part = Matrix{tensor, first, n};
      first += n;
    }
    return Ok();
  }

  Status vector(const std::string& name, int64_t size, Vector& out) const {
    S3D_ASSIGN(const Tensor* tensor, find(name, size, 1));
    std::vector<float> values(usize(size));
    row_to_floats(*tensor, 0, values.data());
    out.assign(values.begin(), values.end());
    return Ok();
  }

  Status optional_vector(const std::string& name, int64_t size, Vector& out) const {
    return file_.find_tensor(name) == nullptr ? Ok() : vector(name, size, out);
  }

  Status attention(const std::string& blk, const ModelConfig& c, Layer& layer) const {
    if (c.pre_norms) S3D_TRY(vector(blk + "attn_norm.weight", c.d_model, layer.attn_norm));
    if (file_.find_tensor(blk + "attn_qkv.weight") != nullptr) {
      S3D_TRY(fused(blk + "attn_qkv.weight", c.d_model,
                    {{&layer.wq, c.q_dim()}, {&layer.wk, c.kv_dim()}, {&layer.wv, c.kv_dim()}}));
    } else {
      S3D_TRY(matrix(blk + "attn_q.weight", c.d_model, c.q_dim(), layer.wq));
      S3D_TRY(matrix(blk + "attn_k.weight", c.d_model, c.kv_dim(), layer.wk));
      S3D_TRY(matrix(blk + "attn_v.weight", c.d_model, c.kv_dim(), layer.wv));
    }
    S3D_TRY(optional_vector(blk + "attn_q.bias", c.q_dim(), layer.bq));
    S3D_TRY(optional_vector(blk + "attn_k.bias", c.kv_dim(), layer.bk));
    S3D_TRY(optional_vector(blk + "attn_v.bias", c.kv_dim(), layer.bv));
    S3D_TRY(optional_vector(blk + "attn_q_norm.weight", c.q_norm_size(), layer.q_norm));
    S3D_TRY(optional_vector(blk + "attn_k_norm.weight", c.k_norm_size(), layer.k_norm));
    S3D_TRY(matrix(blk + "attn_output.weight", c.q_dim(), c.d_model, layer.wo));
    if (c.post_norms) S3D_TRY(vector(blk + "post_attention_norm.weight", c.d_model, layer.attn_post_norm));
    return Ok();
  }

  Status feed_forward(const std::string& blk, const ModelConfig& c, Layer& layer) const {
    if (c.pre_norms) S3D_TRY(vector(blk + "ffn_norm.weight", c.d_model, layer.ffn_norm));
    if (file_.find_tensor(blk + "ffn_gate.weight") != nullptr) {
      S3D_TRY(matrix(blk + "ffn_gate.weight", c.d_model, c.d_ff, layer.w_gate));
      S3D_TRY(matrix(blk + "ffn_up.weight", c.d_model, c.d_ff, layer.w_up));
    } else {  // phi3: the gate's rows, then the other half's
      S3D_TRY(fused(blk + "ffn_up.weight", c.d_model, {{&layer.w_gate, c.d_ff}, {&layer.w_up, c.d_ff}}));
    }
    S3D_TRY(matrix(blk + "ffn_down.weight", c.d_ff, c.d_model, layer.w_down));
    if (c.post_norms) S3D_TRY(vector(blk + "post_ffw_norm.weight", c.d_model, layer.ffn_post_norm));
    return Ok();
  }

 private:
  const GgufFile& file_;
};

struct ReferenceModel::Files {
  std::shared_ptr<const GgufFile> model, layers;
  std::vector<TokenId> head_ids;
  int64_t vocab;  // rows of embedding and LM head
};

Result<ReferenceModel> ReferenceModel::load(std::shared_ptr<const GgufFile> file, ModelConfig config,
                                            ReferenceRounding rounding) {
  const int64_t vocab = config.vocab_size;
  return load({.model = file, .layers = std::move(file), .head_ids = {}, .vocab = vocab}, std::move(config), rounding);
}

Result<ReferenceModel> ReferenceModel::load(const Model& model, ReferenceRounding rounding) {
  if (model.side == nullptr) return load(model.file, model.config, rounding);
  const int64_t vocab = model.token_embedding->rows();
  return load({.model = model.file, .layers = model.side->layers, .head_ids = model.side->head_ids, .vocab = vocab},
              model.config, rounding);
}

Result<ReferenceModel> ReferenceModel::load(Files files, ModelConfig config, ReferenceRounding rounding) {
  const Loader loader(*files.model), layer_loader(*files.layers);
  ReferenceModel model;
  const char* head = config.tied_head ? "token_embd.weight" : "output.weight";
  S3D_TRY(loader.matrix("token_embd.weight", config.d_model, files.vocab, model.embedding_));
  S3D_TRY(loader.matrix(head, config.d_model, files.vocab, model.lm_head_));
  S3D_TRY(loader.vector("output_norm.weight", config.d_model, model.output_norm_));
  for (double& weight : model.output_norm_) weight *= config.logit_scale;
  model.layers_.resize(usize(config.n_layers));
  for (size_t i = 0; i < model.layers_.size(); ++i) {
    const std::string blk = fmt::format("blk.{}.", i);
    S3D_TRY(layer_loader.attention(blk, config, model.layers_[i]));
    S3D_TRY(layer_loader.feed_forward(blk, config, model.layers_[i]));
  }
  model.file_ = std::move(files.model);
  model.layers_file_ = std::move(files.layers);
  model.head_ids_ = std::move(files.head_ids);
  model.config_ = std::move(config);
  model.rounding_ = rounding;
  return model;
}

// y[i, r] = w[r] . x[i] for rows x [n, cols]; returns [n, w.rows].
Vector ReferenceModel::multiply(const Matrix& w, Vector x, ThreadPool& pool) const {
  constexpr size_t kChunk = 8;  // weight rows that are decoded together and meet each row of x while it is in cache
  const auto cols = usize(w.tensor->cols()), out = usize(w.rows), n = x.size() / cols;
  if (n == 0) return {};
  const ActFormat format = act_format(w.tensor->type);
  if (rounding_.activations && format != ActFormat::kF32) {
    round_rows_to_int8(x, cols, format == ActFormat::kQ8_256 ? 256 : 32, /*half_scale=*/false);
  }
  Vector y(n * out);
  pool.run([&](int, Team& team) {
    std::vector<float> decoded(cols);
    Vector weights(kChunk * cols);
    team.for_chunks((out + kChunk - 1) / kChunk, 1, [&](size_t chunk_begin, size_t chunk_end) {
      for (size_t begin = chunk_begin * kChunk; begin < std::min(chunk_end * kChunk, out); begin += kChunk) {
        const size_t end = std::min(begin + kChunk, out);
        for (size_t r = begin; r < end; ++r) {
          row_to_floats(*w.tensor, w.first + static_cast<int64_t>(r), decoded.data());
          std::copy(decoded.begin(), decoded.end(), weights.begin() + ((r - begin) * cols));
        }
        for (size_t i = 0; i < n; ++i) {
          for (size_t r = begin; r < end; ++r) {
            y[i * out + r] = dot(weights.data() + (r - begin) * cols, x.data() + i * cols, cols);
          }
        }
      }
    });
  });
  return y;
}

Vector ReferenceModel::multiply(const SideMatrix& w, const Vector& x, ThreadPool& pool) const {
  Vector y = multiply(Matrix{w.tensor, 0, w.tensor->rows()}, x, pool);
  return w.ids.empty() ? y : select(y, usize(w.tensor->rows()), w.ids);
}

Vector ReferenceModel::logits_of(const Vector& normed, ThreadPool& pool) const {
  Vector logits = multiply(lm_head_, normed, pool);
  return head_ids_.empty() ? logits : select(logits, usize(lm_head_.rows), head_ids_);
}

// up (down x) for rows x.
Vector ReferenceModel::low_rank(const LowRank& pair, Vector x, ThreadPool& pool) const {
  return multiply({pair.b, 0, pair.b->rows()}, multiply({pair.a, 0, pair.a->rows()}, std::move(x), pool), pool);
}

// w x, and the pair's b (a x) for the rows that have it.
Vector ReferenceModel::multiply(const Matrix& w, const Lora& lora, LoraTarget target, const Vector& x,
                                ThreadPool& pool) const {
  Vector y = multiply(w, x, pool);
  if (lora.pairs == nullptr) return y;
  const LoraPair& pair = (*lora.pairs)[usize(target)];
  if (!pair) return y;
  const auto out = usize(w.rows);
  const Vector more = low_rank(pair, gather(x, lora.rows, usize(w.tensor->cols())), pool);
  for (size_t i = 0; i < more.size(); ++i) y[lora.rows[i / out] * out + i % out] += more[i];
  return y;
}

// The input of mask `index`.
void ReferenceModel::mask(const ReferenceDraft& draft, int32_t index, float* out) const {
  if (draft.masks == nullptr) return row_to_floats(*draft.adapter->masks, index, out);
  std::copy_n(draft.masks + index * static_cast<std::ptrdiff_t>(config_.d_model), config_.d_model, out);
}

// Embeddings of tokens, masks of the adapter, or what was given.
Vector ReferenceModel::embed(std::span<const Row> rows, const ReferenceDraft* draft,
                             const ReferenceFeatures& features) const {
  const auto d = usize(config_.d_model);
  Vector x;
  x.reserve(rows.size() * d);
  std::vector<float> decoded(d);
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (const float* given = features.input_of(i)) {
      x.insert(x.end(), given, given + d);
      continue;
    }
    const bool is_mask = row.token < 0;
    is_mask ? mask(*draft, -1 - row.token, decoded.data())
            : row_to_floats(*embedding_.tensor, row.token, decoded.data());
    for (const float value : decoded) x.push_back(is_mask ? double{value} : double{value} * config_.embedding_scale);
  }
  return x;
}

// Adds up (down rms(state)) to the inputs of the draft rows that take it.
void ReferenceModel::inject_states(std::span<const Row> rows, const ReferenceDraft& draft, Vector& x,
                                   ThreadPool& pool) const {
  if (!draft.adapter->state) return;
  const auto first = usize(draft.first), d = usize(config_.d_model);
  for (size_t i = 0; i < draft.state.size(); ++i) {
    if (draft.state[i].empty()) continue;
    if (rows[first + i].token >= 0 && !draft.adapter->config.state_on_first_row) continue;
    const Vector injected = low_rank(draft.adapter->state, rms(draft.state[i]), pool);
    for (size_t k = 0; k < d; ++k) x[(first + i) * d + k] += injected[k];
  }
}

// Draft rows: x += up (down rms(x)).
void ReferenceModel::apply_bridge(const ReferenceDraft& draft, Vector& x, ThreadPool& pool) const {
  if (!draft.adapter->bridge) return;
  const size_t first = usize(draft.first) * usize(config_.d_model);
  const Vector more = low_rank(draft.adapter->bridge, rms(Vector(x.begin() + first, x.end())), pool);
  for (size_t i = 0; i < more.size(); ++i) x[first + i] += more[i];
}

// RMSNorm of every `weight.size()` consecutive values: x / sqrt(mean(x^2) + eps) * weight. No weight, no norm.
Vector ReferenceModel::norm(const Vector& x, const Vector& weight) const {
  if (weight.empty()) return x;
  const size_t width = weight.size();
  Vector y(x.size());
  for (size_t begin = 0; begin < x.size(); begin += width) {
    const double mean = dot(x.data() + begin, x.data() + begin, width) / static_cast<double>(width);
    const double scale = 1 / std::sqrt(mean + config_.norm_eps);
    for (size_t k = 0; k < width; ++k) y[begin + k] = x[begin + k] * scale * weight[k];
  }
  return y;
}

// RMSNorm of every row without a weight.
Vector ReferenceModel::rms(const Vector& x) const {
  return norm(x, Vector(usize(config_.d_model), 1.0));
}

// Rotary embedding of all heads of each row; `heads`: [n, heads, head_dim].
void ReferenceModel::rotate(Vector& heads, const Forest& forest, int layer) const {
  const RopeConfig& rope = config_.is_local(layer) ? config_.rope_local : config_.rope;
  const auto head_dim = usize(config_.head_dim);
  const size_t per_row = heads.size() / forest.positions.size() / head_dim;
  for (size_t i = 0; i < forest.positions.size() * per_row; ++i) {
    const size_t row = i / per_row;
    rotate_head(heads.data() + i * head_dim, rope, forest.rope_sets[row], config_.rope_style, forest.positions[row]);
  }
}

// Keys or values as the cache gives them back; `heads`: [n, kv_heads, head_dim].
void ReferenceModel::round_stored(Vector& heads) const {
  if (rounding_.kv == KvType::kF16) {
    for (double& x : heads) x = ggml_fp16_to_fp32(ggml_fp32_to_fp16(static_cast<float>(x)));
  } else if (rounding_.kv == KvType::kQ8_0) {
    round_rows_to_int8(heads, usize(config_.head_dim), 32, /*half_scale=*/true);
  }
}

// softmax(q k^T * scale) v of row i over the keys it sees; q and out: [n, heads, head_dim], k and v: [keys, kv_heads,
// head_dim].
void ReferenceModel::attend_row(const Vector& q, const Vector& k, const Vector& v, const Forest& forest, int layer,
                                size_t i, Vector& out) const {
  const auto head_dim = usize(config_.head_dim), heads = usize(config_.n_heads);
  const auto q_dim = usize(config_.q_dim()), kv_dim = usize(config_.kv_dim());
  const size_t queries_per_kv = heads / usize(config_.n_kv_heads);
  std::vector<SeenKey> visible = forest.visible[i];
  if (config_.is_local(layer)) {
    std::erase_if(visible, [&](SeenKey key) { return forest.positions[i] - key.position >= config_.sliding_window; });
  }
  for (size_t head = 0; head < heads; ++head) {
    const size_t at = head * head_dim, kv_at = head / queries_per_kv * head_dim;
    Vector weights;
    for (const SeenKey& key : visible) {
      const double score = dot(&q[i * q_dim + at], &k[key.index * kv_dim + kv_at], head_dim) * config_.attention_scale;
      const double cap = config_.attention_softcap;
      weights.push_back(cap == 0 ? score : cap * std::tanh(score / cap));
    }
    softmax(weights);
    for (size_t s = 0; s < visible.size(); ++s) {
      for (size_t e = 0; e < head_dim; ++e) {
        out[i * q_dim + at + e] += weights[s] * v[visible[s].index * kv_dim + kv_at + e];
      }
    }
  }
}

Vector ReferenceModel::attend(const Vector& q, const Vector& k, const Vector& v, const Forest& forest, int layer,
                              ThreadPool& pool) const {
  Vector out(q.size(), 0.0);
  pool.run([&](int, Team& team) {
    team.for_chunks(forest.rows.size(), 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) attend_row(q, k, v, forest, layer, i, out);
    });
  });
  return out;
}

Vector ReferenceModel::self_attention(const Vector& x, const Forest& forest, const Lora& lora, int layer,
                                      ThreadPool& pool) const {
  const Layer& w = layers_[layer];
  Vector q = multiply(w.wq, lora, LoraTarget::kQ, x, pool);
  Vector k = multiply(w.wk, lora, LoraTarget::kK, x, pool);
  Vector v = multiply(w.wv, lora, LoraTarget::kV, x, pool);
  add_to_rows(q, w.bq);
  add_to_rows(k, w.bk);
  add_to_rows(v, w.bv);
  q = norm(q, w.q_norm);
  k = norm(k, w.k_norm);
  rotate(q, forest, layer);
  rotate(k, forest, layer);
  round_stored(k);
  round_stored(v);
  if (forest.store != nullptr) forest.store->exchange(layer, k, v);
  return multiply(w.wo, lora, LoraTarget::kOutput, attend(q, k, v, forest, layer, pool), pool);
}

Vector ReferenceModel::feed_forward(const Vector& x, const Lora& lora, int layer, ThreadPool& pool) const {
  const Layer& w = layers_[layer];
  Vector gate = multiply(w.w_gate, lora, LoraTarget::kGate, x, pool);
  const Vector up = multiply(w.w_up, lora, LoraTarget::kUp, x, pool);
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = activate(config_.activation, gate[i]) * up[i];
  return multiply(w.w_down, lora, LoraTarget::kDown, gate, pool);
}

Vector ReferenceModel::run_layer(Vector x, const Forest& forest, const Lora& lora, int layer, ThreadPool& pool) const {
  const Layer& w = layers_[layer];
  add(x, norm(self_attention(norm(x, w.attn_norm), forest, lora, layer, pool), w.attn_post_norm));
  add(x, norm(feed_forward(norm(x, w.ffn_norm), lora, layer, pool), w.ffn_post_norm));
  return x;
}

// Logits of rows `hidden`, [n, d_model].
ReferenceOutput ReferenceModel::output(Vector hidden, const Adapter* adapter, ThreadPool& pool) const {
  const Vector normed = norm(hidden, output_norm_);
  const Vector logits = logits_of(normed, pool);
  if (adapter == nullptr) {
    ReferenceOutput out = {.logits = logits, .hidden = std::move(hidden), .tapped = {}};
    if (const double cap = config_.logit_softcap; cap > 0) {
      for (double& logit : out.logits) logit = cap * std::tanh(logit / cap);
    }
    return out;
  }
  if (adapter->draft_ids.empty()) return {.logits = logits, .hidden = normed, .tapped = {}};
  return {.logits = select(logits, usize(config_.vocab_size), adapter->draft_ids), .hidden = normed, .tapped = {}};
}

// The hidden states of riders after the output norm, as those of a draft pass.
void ReferenceModel::norm_riders(std::span<const Row> rows, std::span<const int> wanted, ReferenceOutput& out) const {
  const auto d = usize(config_.d_model);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (rows[usize(wanted[i])].token >= 0) continue;
    const auto at = out.hidden.begin() + static_cast<std::ptrdiff_t>(i * d);
    const Vector normed = norm(Vector(at, at + static_cast<std::ptrdiff_t>(d)), output_norm_);
    std::copy(normed.begin(), normed.end(), at);
  }
}

Result<ReferenceOutput> ReferenceModel::run(std::span<const Row> rows, std::span<const LayerSet> layers,
                                            std::span<const int> wanted, ThreadPool& pool, const ReferenceDraft* draft,
                                            ReferenceStore* store, const ReferenceFeatures& features) const {
  S3D_CHECK(layers.empty() || layers.size() == rows.size(), "one layer set a row, or none at all");
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool may_be_mask = draft != nullptr && static_cast<int>(i) >= draft->first;
    const int32_t least = may_be_mask ? -draft->adapter->config.masks : 0;
    if (features.input_of(i) == nullptr && (rows[i].token < least || rows[i].token >= config_.vocab_size)) {
      return Error{fmt::format("token {} is outside the vocabulary of {} tokens", rows[i].token, config_.vocab_size)};
    }
  }
  const auto d = usize(config_.d_model);
  const Adapter* adapter = draft != nullptr ? draft->adapter : nullptr;
  int64_t n_tokens = 0;
  for (const Row& row : rows) n_tokens = std::max<int64_t>(n_tokens, row.position + 1);
  Vector x = embed(rows, draft, features);
  Vector tapped(features.tapped.size() * features.taps.size() * d);
  if (draft != nullptr) inject_states(rows, *draft, x, pool);
  for (int layer = 0; layer < config_.n_layers; ++layer) {
    if (draft != nullptr && layer == config_.n_layers - adapter->config.layers.last) apply_bridge(*draft, x, pool);
    Forest forest(rows, layers, layer, config_.n_layers);
    for (const size_t row : forest.rows) {
      forest.rope_sets.push_back(store != nullptr ? store->rope_set(row) : config_.rope_set(n_tokens));
    }
    if (forest.rows.empty()) continue;
    if (store != nullptr) {
      S3D_CHECK(forest.rows.size() == rows.size(), "with a store all rows run the same layers");
      forest.store = store;
      forest.visible = store->seen();
    }
    const Lora lora(draft, rows, forest, layer, config_.n_layers);
    scatter(run_layer(gather(x, forest.rows, d), forest, lora, layer, pool), forest.rows, d, x);
    take_taps(features, layer + 1, d, x, tapped);
  }
  const bool riders = draft != nullptr && draft->riders;
  ReferenceOutput out =
      output(gather(x, std::vector<size_t>(wanted.begin(), wanted.end()), d), riders ? nullptr : adapter, pool);
  if (riders) norm_riders(rows, wanted, out);
  out.tapped = std::move(tapped);
  return out;
}

Vector ReferenceModel::markov_state(const Adapter& adapter, std::span<const TokenId> previous, ThreadPool& pool) const {
  std::vector<Row> rows;
  for (const TokenId token : previous) rows.push_back({token, 0, -1, 0});
  return multiply({adapter.markov_p, 0, adapter.markov_p->rows()}, rms(embed(rows, nullptr)), pool);
}

Vector ReferenceModel::markov_term(const Adapter& adapter, std::span<const TokenId> previous, ThreadPool& pool) const {
  return multiply({adapter.markov_w2, 0, adapter.markov_w2->rows()}, markov_state(adapter, previous, pool), pool);
}

size_t ReferenceModel::weight_bytes() const {
  const auto bytes = [](const Matrix& w) { return usize(w.rows) * ggml_row_size(w.tensor->type, w.tensor->cols()); };
  size_t total = bytes(lm_head_);
  for (const Layer& l : layers_) {
    for (const Matrix* w : {&l.wq, &l.wk, &l.wv, &l.wo, &l.w_gate, &l.w_up, &l.w_down}) total += bytes(*w);
  }
  return total;
}

int append_chain(std::vector<Row>& rows, std::span<const TokenId> tokens, int parent, int first_position) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto index = isize(rows);
    rows.push_back(Row{tokens[i], first_position + static_cast<int>(i), parent, 0});
    parent = index;
  }
  return parent;
}

}  // namespace s3d
