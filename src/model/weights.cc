#include "model/weights.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "base/index.h"
#include "model/family.h"
#include "model/layout.h"
#include "model/tensor_floats.h"

namespace s3d {
namespace {

// Reads the tensors of one file, packs them, gives their pages back and reports progress. All shapes and types have
// been checked (check_tensors).
class Loader {
 public:
  // `total`: bytes of the tensors that will be read.
  Loader(const GgufFile& file, ThreadPool& pool, const LoadProgress& progress, size_t total)
      : file_(file), pool_(pool), progress_(progress), total_(total) {}

  // Of what is packed from now on.
  void take_memory_together(bool together) { together_ = together; }

  // A vector; empty if the file lacks it.
  Status read(const std::string& name, std::vector<float>& out) {
    const Tensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) return Ok();
    S3D_ASSIGN(out, read_vector(file_, *tensor, static_cast<size_t>(tensor->cols())));
    finished(*tensor);
    return Ok();
  }

  // A whole matrix; `order` as in PackedMatrix::pack.
  Status pack(const std::string& name, PackedMatrix& out, std::span<const int32_t> order = {}) {
    S3D_ASSIGN(const Tensor* tensor, file_.tensor(name));
    S3D_TRY(pack_rows(*tensor, 0, tensor->rows(), out, order));
    finished(*tensor);
    return Ok();
  }

  // A matrix that holds several, one after the other by rows.
  struct Part {
    int64_t rows;
    PackedMatrix& out;
  };
  Status pack_parts(const std::string& name, std::initializer_list<Part> parts) {
    S3D_ASSIGN(const Tensor* tensor, file_.tensor(name));
    int64_t first = 0;
    for (const Part& part : parts) {
      S3D_TRY(pack_rows(*tensor, first, part.rows, part.out));
      first += part.rows;
    }
    S3D_CHECK(first == tensor->rows());
    finished(*tensor);
    return Ok();
  }

 private:
  Status pack_rows(const Tensor& tensor, int64_t first, int64_t rows, PackedMatrix& out,
                   std::span<const int32_t> order = {}) {
    const std::byte* data = tensor.data + static_cast<size_t>(first) * ggml_row_size(tensor.type, tensor.cols());
    auto packed = PackedMatrix::pack(
        tensor.type, data, static_cast<size_t>(rows), static_cast<size_t>(tensor.cols()), &pool_, order,
        [&] { file_.release_pages(tensor); }, together_ ? &memory_ : nullptr);
    if (!packed.ok()) return packed.error().within(fmt::format("{}: tensor \"{}\"", file_.path(), tensor.name));
    out = std::move(*packed);
    return Ok();
  }

  void finished(const Tensor& tensor) {
    file_.release_pages(tensor);
    done_ += tensor.bytes;
    if (progress_) progress_(done_, total_);
  }

  const GgufFile& file_;
  ThreadPool& pool_;
  const LoadProgress& progress_;
  WeightMemory memory_;
  bool together_ = true;
  size_t done_ = 0;
  size_t total_;
};

// Bytes of the tensors that loading reads: all but the embedding table of a model with a head of its own (its rows
// are read on demand) and the small tensors that are part of the config.
size_t bytes_to_read(const GgufFile& file, const ModelConfig& config, const Family& family) {
  size_t bytes = 0;
  for (const TensorSpec& spec : model_specs(config, family)) {
    const Tensor* tensor = file.find_tensor(spec.name);
    const bool on_demand = spec.name == "token_embd.weight" && !config.tied_head;
    if (tensor != nullptr && !on_demand) bytes += tensor->bytes;
  }
  return bytes;
}

Status load_attention(Loader& loader, const ModelConfig& config, const LayerLayout& layout, int layer,
                      LayerWeights& out) {
  const auto name = [layer](std::string_view part) { return layer_tensor(layer, part); };
  S3D_TRY(loader.read(name("attn_norm.weight"), out.attn_norm));
  if (layout.fused_qkv) {
    S3D_TRY(loader.pack_parts(name("attn_qkv.weight"),
                              {{config.q_dim(), out.wq}, {config.kv_dim(), out.wk}, {config.kv_dim(), out.wv}}));
  } else {
    S3D_TRY(loader.pack(name("attn_q.weight"), out.wq));
    S3D_TRY(loader.pack(name("attn_k.weight"), out.wk));
    S3D_TRY(loader.pack(name("attn_v.weight"), out.wv));
  }
  S3D_TRY(loader.read(name("attn_q.bias"), out.bq));
  S3D_TRY(loader.read(name("attn_k.bias"), out.bk));
  S3D_TRY(loader.read(name("attn_v.bias"), out.bv));
  S3D_TRY(loader.read(name("attn_q_norm.weight"), out.q_norm));
  S3D_TRY(loader.read(name("attn_k_norm.weight"), out.k_norm));
  S3D_TRY(loader.pack(name("attn_output.weight"), out.wo));
  return loader.read(name("post_attention_norm.weight"), out.attn_post_norm);
}

Status load_feed_forward(Loader& loader, const ModelConfig& config, const LayerLayout& layout, int layer,
                         LayerWeights& out) {
  const auto name = [layer](std::string_view part) { return layer_tensor(layer, part); };
  S3D_TRY(loader.read(name("ffn_norm.weight"), out.ffn_norm));
  if (layout.fused_gate_up) {
    S3D_TRY(loader.pack_parts(name("ffn_up.weight"), {{config.d_ff, out.w_gate}, {config.d_ff, out.w_up}}));
  } else {
    S3D_TRY(loader.pack(name("ffn_gate.weight"), out.w_gate));
    S3D_TRY(loader.pack(name("ffn_up.weight"), out.w_up));
  }
  S3D_TRY(loader.pack(name("ffn_down.weight"), out.w_down));
  return loader.read(name("post_ffw_norm.weight"), out.ffn_post_norm);
}

// All tokens, `first` at the front; empty when there are none.
std::vector<int32_t> head_order(std::span<const int32_t> first, int vocab_size) {
  if (first.empty()) return {};
  std::vector<int32_t> order(first.begin(), first.end());
  std::vector<bool> taken(static_cast<size_t>(vocab_size));
  for (const int32_t token : first) {
    S3D_CHECK(token >= 0 && token < vocab_size && !taken[static_cast<size_t>(token)], "a bad draft vocabulary");
    taken[static_cast<size_t>(token)] = true;
  }
  for (int32_t token = 0; token < vocab_size; ++token) {
    if (!taken[static_cast<size_t>(token)]) order.push_back(token);
  }
  return order;
}

}  // namespace

ModelConfig side_config(const ModelConfig& base, int vocab) {
  ModelConfig config = base;
  config.n_layers = 1;
  config.local_layer.clear();
  config.sliding_window = 0;
  config.logit_softcap = 0;
  if (vocab > 0) config.vocab_size = vocab;
  return config;
}

std::vector<LayerTensor> side_layer_tensors(const ModelConfig& base) {
  const Family* family = find_family(base.family);
  S3D_CHECK(family != nullptr, "a config of an unknown family");
  std::vector<LayerTensor> out;
  for (const TensorSpec& spec : layer_specs(base, family->layout, 0)) {
    std::vector<int64_t> shape = {spec.cols};
    if (spec.matrix) shape.push_back(spec.rows);
    out.push_back({spec.name, std::move(shape), spec.optional});
  }
  return out;
}

Result<Model> load_side_model(const Model& base, std::shared_ptr<const GgufFile> layers, const PackedMatrix& head,
                              std::vector<int32_t> head_ids, ThreadPool& pool) {
  Model model{};
  model.config = side_config(base.config, isize(head_ids));
  model.file = base.file;
  model.token_embedding = base.token_embedding;
  if (!base.layers.empty()) {
    const LayerLayout& layout = find_family(base.config.family)->layout;
    const LoadProgress nobody;
    Loader loader(*layers, pool, nobody, 0);
    model.layers.resize(1);
    S3D_TRY(load_attention(loader, model.config, layout, 0, model.layers[0]));
    S3D_TRY(load_feed_forward(loader, model.config, layout, 0, model.layers[0]));
  }
  model.output_norm = base.output_norm;
  model.lm_head = head;
  model.side = std::make_shared<const SideParts>(SideParts{std::move(layers), std::move(head_ids)});
  return model;
}

size_t Model::packed_bytes() const {
  size_t bytes = lm_head.bytes();
  for (const LayerWeights& layer : layers) {
    for (const PackedMatrix* matrix :
         {&layer.wq, &layer.wk, &layer.wv, &layer.wo, &layer.w_gate, &layer.w_up, &layer.w_down}) {
      bytes += matrix->bytes();
    }
  }
  return bytes;
}

void Model::embed(int32_t token, float* out) const {
  row_to_floats(*token_embedding, token, out);
  if (config.embedding_scale == 1) return;
  for (int i = 0; i < config.d_model; ++i) out[i] *= config.embedding_scale;
}

Result<Model> open_model(std::shared_ptr<const GgufFile> file, ModelConfig config,
                         std::span<const int32_t> lm_head_first) {
  const Family* family = find_family(config.family);
  S3D_CHECK(family != nullptr, "a config of an unknown family");
  S3D_TRY(check_tensors(*file, config, *family));
  Model model{};
  model.config = std::move(config);
  model.token_embedding = file->find_tensor("token_embd.weight");
  model.lm_head_ids = head_order(lm_head_first, model.config.vocab_size);
  model.file = std::move(file);
  return model;
}

class WeightReader::Impl {
 public:
  Impl(const Model& m, ThreadPool& p, LoadProgress shown)
      : model(m),
        family(*find_family(m.config.family)),
        pool(p),
        progress(std::move(shown)),
        loader(*m.file, p, progress, bytes_to_read(*m.file, m.config, family)) {}

  const Model& model;
  const Family& family;
  ThreadPool& pool;
  LoadProgress progress;
  Loader loader;
};

WeightReader::WeightReader(const Model& model, ThreadPool& pool, LoadProgress progress)
    : impl_(std::make_unique<Impl>(model, pool, std::move(progress))) {}
WeightReader::~WeightReader() = default;

Result<LayerWeights> WeightReader::layer(int layer, Stay stay) {
  LayerWeights weights;
  impl_->loader.take_memory_together(stay == Stay::kYes);
  const ModelConfig& config = impl_->model.config;
  S3D_TRY(load_attention(impl_->loader, config, impl_->family.layout, layer, weights));
  S3D_TRY(load_feed_forward(impl_->loader, config, impl_->family.layout, layer, weights));
  return weights;
}

Result<PackedMatrix> WeightReader::lm_head(Stay stay) {
  PackedMatrix head;
  impl_->loader.take_memory_together(stay == Stay::kYes);
  const Model& model = impl_->model;
  S3D_TRY(impl_->loader.pack(lm_head_tensor(model).name, head, model.lm_head_ids));
  return head;
}

Result<std::vector<float>> WeightReader::output_norm() {
  std::vector<float> norm;
  S3D_TRY(impl_->loader.read("output_norm.weight", norm));
  for (float& weight : norm) weight *= impl_->model.config.logit_scale;
  return norm;
}

ThreadPool& WeightReader::pool() {
  return impl_->pool;
}

std::vector<MatrixSize> layer_matrices(const Model& model, int layer) {
  const ModelConfig& c = model.config;
  std::vector<MatrixSize> out;
  for (const TensorSpec& spec : layer_specs(c, find_family(c.family)->layout, layer)) {
    const Tensor* tensor = spec.matrix ? model.file->find_tensor(spec.name) : nullptr;
    if (tensor == nullptr) continue;
    std::vector<int> parts = {static_cast<int>(spec.rows)};
    if (spec.name.ends_with("attn_qkv.weight")) parts = {c.q_dim(), c.kv_dim(), c.kv_dim()};
    if (spec.name.ends_with("ffn_up.weight") && spec.rows == 2 * int64_t{c.d_ff}) parts = {c.d_ff, c.d_ff};
    for (const int rows : parts) out.push_back({tensor->type, usize(rows), static_cast<size_t>(spec.cols)});
  }
  return out;
}

std::vector<size_t> layer_vectors(const Model& model, int layer) {
  std::vector<size_t> lengths;
  for (const TensorSpec& spec : layer_specs(model.config, find_family(model.config.family)->layout, layer)) {
    const bool there = !spec.matrix && model.file->find_tensor(spec.name) != nullptr;
    if (there) lengths.push_back(static_cast<size_t>(spec.cols));
  }
  return lengths;
}

const Tensor& lm_head_tensor(const Model& model) {
  const Tensor* tensor = model.file->find_tensor(model.config.tied_head ? "token_embd.weight" : "output.weight");
  S3D_CHECK(tensor != nullptr, "a model that was opened has a head");
  return *tensor;
}

MatrixSize lm_head_matrix(const Model& model) {
  const Tensor& tensor = lm_head_tensor(model);
  return {tensor.type, static_cast<size_t>(tensor.rows()), static_cast<size_t>(tensor.cols())};
}

Result<Model> load_model(std::shared_ptr<const GgufFile> file, ModelConfig config, ThreadPool& pool,
                         const LoadProgress& progress, std::span<const int32_t> lm_head_first) {
  S3D_ASSIGN(Model model, open_model(std::move(file), std::move(config), lm_head_first));
  WeightReader reader(model, pool, progress);
  for (int layer = 0; layer < model.config.n_layers; ++layer) {
    S3D_ASSIGN(LayerWeights weights, reader.layer(layer, WeightReader::Stay::kYes));
    model.layers.push_back(std::move(weights));
  }
  S3D_ASSIGN(model.output_norm, reader.output_norm());
  S3D_ASSIGN(model.lm_head, reader.lm_head(WeightReader::Stay::kYes));
  return model;
}

}  // namespace s3d
