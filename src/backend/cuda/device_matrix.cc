#include "backend/cuda/device_matrix.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/cuda/fragment_layout.h"
#include "backend/cuda/pack_fragments.h"
#include "base/check.h"
#include "base/index.h"

namespace s3d::cuda {
namespace {

constexpr size_t kStageBytes = size_t{16} << 20;  // packed on the host at once

int isize_of(size_t n) {
  return static_cast<int>(n);
}

Error out_of_memory(const Device& device, size_t bytes) {
  return Error{fmt::format(
      "device {}: {} bytes were asked for and {} are free; use a smaller model, a shorter context or --backend cpu",
      device.name(), bytes, device.free_bytes())};
}

void pack(const PackedMatrix& matrix, size_t begin, size_t end, ThreadPool* pool, std::vector<std::byte>& out) {
  const size_t unit_bytes = fragment_unit_bytes(matrix.type(), matrix.cols());
  out.resize((end - begin) * unit_bytes);
  const auto range = [&](size_t first, size_t last) {
    pack_fragments(matrix, begin + first, begin + last, out.data() + first * unit_bytes);
  };
  if (pool == nullptr) return range(0, end - begin);
  pool->run([&](int, Team& team) { team.for_chunks(end - begin, 4, range); });
}

// All matrices of an adapter, in one order.
std::vector<PackedMatrix> matrices_of(const PackedAdapter& adapter) {
  std::vector<PackedMatrix> all;
  for (const PackedAdapter::Layer& layer : adapter.layers()) {
    for (const PackedLora* lora : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      all.push_back(lora->a);
      all.insert(all.end(), lora->b.begin(), lora->b.end());
    }
  }
  for (const PackedMatrix* matrix : {&adapter.state_down(), &adapter.state_up(), &adapter.bridge_down(),
                                     &adapter.bridge_up(), &adapter.markov_p(), &adapter.markov_w2()}) {
    all.push_back(*matrix);
  }
  if (adapter.own_head() != nullptr) all.push_back(*adapter.own_head());
  return all;
}

const std::byte* address(const PackedMatrix& matrix) {
  return matrix.empty() ? nullptr : matrix.unit(0);
}

// Packs and uploads `matrix` to where there is room for it.
void fill(Device& device, const PackedMatrix& matrix, ThreadPool* pool, DeviceMatrix& to) {
  S3D_CHECK(matrix.type() == to.type && isize_of(matrix.rows()) == to.rows && isize_of(matrix.cols()) == to.cols,
            "room for another matrix");
  const size_t unit_bytes = fragment_unit_bytes(matrix.type(), matrix.cols());
  const size_t slice = std::max<size_t>(1, kStageBytes / unit_bytes);
  std::vector<std::byte> staged;
  for (size_t begin = 0; begin < matrix.units(); begin += slice) {
    const size_t end = std::min(matrix.units(), begin + slice);
    pack(matrix, begin, end, pool, staged);
    device.upload(to.weights.data() + begin * unit_bytes, staged.data(), staged.size());
  }
}

// Of an adapter's part that is on this device, or of none.
void fill(Device& device, const PackedMatrix& matrix, DeviceMatrix& to) {
  if (!to.empty()) fill(device, matrix, nullptr, to);
}

void fill(Device& device, const PackedLora& lora, DeviceLora& to) {
  fill(device, lora.a, to.a);
  for (size_t i = 0; i < lora.b.size(); ++i) {
    fill(device, lora.b[i], to.b[i]);
    to.first[i] = static_cast<int>(lora.first[i]);
  }
}

Result<DeviceLayer> upload(Device& device, const LayerWeights& w, ThreadPool* pool) {
  DeviceLayer out;
  const std::pair<const std::vector<float>&, Buffer<float>&> vectors[] = {{w.attn_norm, out.attn_norm},
                                                                          {w.bq, out.bq},
                                                                          {w.bk, out.bk},
                                                                          {w.bv, out.bv},
                                                                          {w.q_norm, out.q_norm},
                                                                          {w.k_norm, out.k_norm},
                                                                          {w.ffn_norm, out.ffn_norm},
                                                                          {w.attn_post_norm, out.attn_post_norm},
                                                                          {w.ffn_post_norm, out.ffn_post_norm}};
  for (const auto& [from, to] : vectors) {
    S3D_ASSIGN(to, cuda::upload(device, from));
  }
  const std::pair<const PackedMatrix&, DeviceMatrix&> matrices[] = {
      {w.wq, out.wq},         {w.wk, out.wk},     {w.wv, out.wv},        {w.wo, out.wo},
      {w.w_gate, out.w_gate}, {w.w_up, out.w_up}, {w.w_down, out.w_down}};
  for (const auto& [from, to] : matrices) {
    S3D_ASSIGN(to, cuda::upload(device, from, pool));
  }
  return out;
}

}  // namespace

Result<DeviceMatrix> room_for(Device& device, const MatrixSize& size) {
  DeviceMatrix out;
  out.type = size.type;
  out.rows = isize_of(size.rows);
  out.cols = isize_of(size.cols);
  const size_t bytes = (size.rows + kUnitRows - 1) / kUnitRows * fragment_unit_bytes(size.type, size.cols);
  if (!out.weights.ensure(device, bytes)) return out_of_memory(device, bytes);
  return out;
}

Result<DeviceMatrix> upload(Device& device, const PackedMatrix& matrix, ThreadPool* pool) {
  if (matrix.empty()) return DeviceMatrix();
  S3D_ASSIGN(DeviceMatrix out, room_for(device, {matrix.type(), matrix.rows(), matrix.cols()}));
  fill(device, matrix, pool, out);
  return out;
}

Result<Buffer<float>> upload(Device& device, const std::vector<float>& vector) {
  Buffer<float> out;
  if (!vector.empty() && !out.assign(device, vector)) return out_of_memory(device, vector.size() * sizeof(float));
  return out;
}

size_t DeviceModel::bytes() const {
  size_t bytes = lm_head->bytes();
  for (const DeviceLayer& layer : layers) {
    for (const DeviceMatrix* matrix :
         {&layer.wq, &layer.wk, &layer.wv, &layer.wo, &layer.w_gate, &layer.w_up, &layer.w_down}) {
      bytes += matrix->bytes();
    }
  }
  return bytes;
}

namespace {

Result<DeviceLayer> upload_layer(Device& device, const Model& model, int layer, const UploadFrom& from) {
  const bool packed = usize(layer) < model.layers.size() && !model.layers[usize(layer)].wo.empty();
  if (packed) return upload(device, model.layers[usize(layer)], from.pool);
  S3D_CHECK(from.reader != nullptr, "weights that are neither packed nor read");
  S3D_ASSIGN(const LayerWeights weights, from.reader->layer(layer, WeightReader::Stay::kNo));
  return upload(device, weights, from.pool);
}

Result<std::shared_ptr<const DeviceMatrix>> upload_head(Device& device, const Model& model, const UploadFrom& from) {
  if (from.head != nullptr) return from.head;
  PackedMatrix head = model.lm_head;
  if (head.empty()) {
    S3D_CHECK(from.reader != nullptr, "an LM head that is neither packed nor read");
    S3D_ASSIGN(head, from.reader->lm_head(WeightReader::Stay::kNo));
  }
  S3D_ASSIGN(DeviceMatrix uploaded, upload(device, head, from.pool));
  return std::shared_ptr<const DeviceMatrix>(std::make_shared<DeviceMatrix>(std::move(uploaded)));
}

}  // namespace

Result<DeviceModel> upload(Device& device, const Model& model, const LayerRange& range, const UploadFrom& from) {
  DeviceModel out;
  out.layers.resize(usize(model.config.n_layers));
  for (int layer = range.first; layer < range.end; ++layer) {
    S3D_ASSIGN(out.layers[usize(layer)], upload_layer(device, model, layer, from));
  }
  S3D_ASSIGN(out.ones, upload(device, std::vector<float>(usize(model.config.d_model), 1.0F)));
  if (range.end < model.config.n_layers) return out;
  S3D_ASSIGN(out.output_norm, upload(device, model.output_norm));
  S3D_ASSIGN(out.lm_head, upload_head(device, model, from));
  if (!model.lm_head_ids.empty() && !out.lm_head_ids.assign(device, model.lm_head_ids)) {
    return out_of_memory(device, model.lm_head_ids.size() * sizeof(int32_t));
  }
  return out;
}

Result<DeviceModel> room_for_layers(Device& device, const Model& model, const LayerRange& range) {
  DeviceModel out;
  out.layers.resize(usize(model.config.n_layers));
  for (int i = range.first; i < range.end; ++i) {
    DeviceLayer& layer = out.layers[usize(i)];
    DeviceMatrix* matrices[] = {&layer.wq, &layer.wk, &layer.wv, &layer.wo, &layer.w_gate, &layer.w_up, &layer.w_down};
    const std::vector<MatrixSize> sizes = layer_matrices(model, i);
    S3D_CHECK(sizes.size() == std::size(matrices));
    for (size_t m = 0; m < sizes.size(); ++m) {
      S3D_ASSIGN(*matrices[m], room_for(device, sizes[m]));
    }
    Buffer<float>* vectors[] = {&layer.attn_norm,    &layer.bq,     &layer.bk,       &layer.bv,
                                &layer.q_norm,       &layer.k_norm, &layer.ffn_norm, &layer.attn_post_norm,
                                &layer.ffn_post_norm};
    const std::vector<size_t> lengths = layer_vectors(model, i);
    S3D_CHECK(lengths.size() <= std::size(vectors));
    for (size_t v = 0; v < lengths.size(); ++v) {
      if (!vectors[v]->ensure(device, lengths[v])) return out_of_memory(device, lengths[v] * sizeof(float));
    }
  }
  const size_t d = usize(model.config.d_model);
  if (!out.ones.ensure(device, d)) return out_of_memory(device, d * sizeof(float));
  return out;
}

Status add_room_for_head(Device& device, const Model& model, DeviceModel& to) {
  const size_t d = usize(model.config.d_model);
  if (!to.output_norm.ensure(device, d)) return out_of_memory(device, d * sizeof(float));
  S3D_ASSIGN(DeviceMatrix head, room_for(device, lm_head_matrix(model)));
  to.lm_head = std::make_shared<DeviceMatrix>(std::move(head));
  const size_t ids = model.lm_head_ids.size();
  if (ids > 0 && !to.lm_head_ids.ensure(device, ids)) return out_of_memory(device, ids * sizeof(int32_t));
  return Ok();
}

// ---- Adapters ------------------------------------------------------------------------------------------------------

namespace {

Status add_room(Device& device, const Tensor* tensor, DeviceMatrix& to) {
  if (tensor == nullptr) return Ok();
  S3D_ASSIGN(to, room_for(device, {tensor->type, usize(tensor->rows()), usize(tensor->cols())}));
  return Ok();
}

// As PackedLora: the a's of pairs that read one input are one matrix.
Status add_room(Device& device, std::span<const LoraPair> pairs, DeviceLora& to) {
  MatrixSize stacked{};
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (!pairs[i]) continue;
    stacked = {pairs[i].a->type, stacked.rows + usize(pairs[i].a->rows()), usize(pairs[i].a->cols())};
    S3D_TRY(add_room(device, pairs[i].b, to.b[i]));
  }
  if (stacked.rows == 0) return Ok();
  S3D_ASSIGN(to.a, room_for(device, stacked));
  return Ok();
}

Status add_room(Device& device, const std::array<LoraPair, kLoraTargets>& pairs, DeviceAdapter::Layer& to) {
  const auto group = [&](LoraTarget first, size_t count) { return std::span(pairs).subspan(usize(first), count); };
  S3D_TRY(add_room(device, group(LoraTarget::kQ, 3), to.qkv));
  S3D_TRY(add_room(device, group(LoraTarget::kOutput, 1), to.output));
  S3D_TRY(add_room(device, group(LoraTarget::kGate, 2), to.gate_up));
  return add_room(device, group(LoraTarget::kDown, 1), to.down);
}

Status add_room_for_markov(Device& device, const Adapter& adapter, DeviceAdapter& to) {
  S3D_TRY(add_room(device, adapter.markov_p, to.markov_p));
  S3D_TRY(add_room(device, adapter.markov_w2, to.markov_w2));
  if (to.markov_p.empty()) return Ok();
  const size_t table = usize(to.markov_p.rows) * (1 + usize(to.markov_w2.rows));
  return to.markov_z.ensure(device, table) ? Ok() : Status(out_of_memory(device, table * sizeof(float)));
}

}  // namespace

Result<DeviceAdapter> room_for(Device& device, const Adapter& adapter, const ModelConfig& base,
                               const LayerRange& range) {
  const LayerSet layers = adapter.config.layers;
  const auto here = [&](int layer) { return layer >= range.first && layer < range.end; };
  DeviceAdapter out;
  out.layers.resize(usize(layers.count()));
  for (int i = 0; i < layers.count(); ++i) {
    const int layer = layers.layer(i, base.n_layers);
    if (here(layer)) S3D_TRY(add_room(device, adapter.lora[usize(i)], out.layers[usize(i)]));
  }
  if (range.first == 0) {
    S3D_TRY(add_room(device, adapter.state.a, out.state_down));
    S3D_TRY(add_room(device, adapter.state.b, out.state_up));
  }
  if (layers.last > 0 && here(base.n_layers - layers.last)) {
    S3D_TRY(add_room(device, adapter.bridge.a, out.bridge_down));
    S3D_TRY(add_room(device, adapter.bridge.b, out.bridge_up));
  }
  if (range.end == base.n_layers) S3D_TRY(add_room_for_markov(device, adapter, out));
  return out;
}

Result<DeviceAdapter> upload(Device& device, const PackedAdapter& adapter, const ModelConfig& base,
                             const LayerRange& range) {
  S3D_ASSIGN(DeviceAdapter out, room_for(device, adapter.source(), base, range));
  for (size_t i = 0; i < out.layers.size(); ++i) {
    const PackedAdapter::Layer& from = adapter.layers()[i];
    DeviceAdapter::Layer& to = out.layers[i];
    fill(device, from.qkv, to.qkv);
    fill(device, from.output, to.output);
    fill(device, from.gate_up, to.gate_up);
    fill(device, from.down, to.down);
  }
  fill(device, adapter.state_down(), out.state_down);
  fill(device, adapter.state_up(), out.state_up);
  fill(device, adapter.bridge_down(), out.bridge_down);
  fill(device, adapter.bridge_up(), out.bridge_up);
  fill(device, adapter.markov_p(), out.markov_p);
  fill(device, adapter.markov_w2(), out.markov_w2);
  if (adapter.own_head() != nullptr && range.end == base.n_layers) {
    S3D_ASSIGN(out.own_head, upload(device, *adapter.own_head(), nullptr));
  }
  out.sources = matrices_of(adapter);
  return out;
}

bool is_source(const DeviceAdapter& on_device, const PackedAdapter& adapter) {
  const std::vector<PackedMatrix> matrices = matrices_of(adapter);
  return std::equal(matrices.begin(), matrices.end(), on_device.sources.begin(), on_device.sources.end(),
                    [](const PackedMatrix& a, const PackedMatrix& b) { return address(a) == address(b); });
}

}  // namespace s3d::cuda
