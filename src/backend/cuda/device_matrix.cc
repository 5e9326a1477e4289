#include "backend/cuda/device_matrix.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/cuda/fragment_layout.h"
#include "backend/cuda/pack_fragments.h"
#include "base/index.h"

namespace s3d::cuda {
namespace {

constexpr size_t kStageBytes = size_t{16} << 20;  // packed on the host at once

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

Result<DeviceLora> upload(Device& device, const PackedLora& lora) {
  DeviceLora out;
  S3D_ASSIGN(out.a, upload(device, lora.a, nullptr));
  for (size_t i = 0; i < lora.b.size(); ++i) {
    S3D_ASSIGN(out.b[i], upload(device, lora.b[i], nullptr));
    out.first[i] = static_cast<int>(lora.first[i]);
  }
  return out;
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

Result<DeviceMatrix> upload(Device& device, const PackedMatrix& matrix, ThreadPool* pool) {
  DeviceMatrix out;
  if (matrix.empty()) return out;
  out.type = matrix.type();
  out.rows = static_cast<int>(matrix.rows());
  out.cols = static_cast<int>(matrix.cols());
  if (!out.weights.ensure(device, fragment_bytes(matrix))) return out_of_memory(device, fragment_bytes(matrix));
  const size_t unit_bytes = fragment_unit_bytes(matrix.type(), matrix.cols());
  const size_t slice = std::max<size_t>(1, kStageBytes / unit_bytes);
  std::vector<std::byte> staged;
  for (size_t begin = 0; begin < matrix.units(); begin += slice) {
    const size_t end = std::min(matrix.units(), begin + slice);
    pack(matrix, begin, end, pool, staged);
    device.upload(out.weights.data() + begin * unit_bytes, staged.data(), staged.size());
  }
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

Result<DeviceAdapter> upload(Device& device, const PackedAdapter& adapter) {
  DeviceAdapter out;
  for (const PackedAdapter::Layer& layer : adapter.layers()) {
    DeviceAdapter::Layer& to = out.layers.emplace_back();
    S3D_ASSIGN(to.qkv, upload(device, layer.qkv));
    S3D_ASSIGN(to.output, upload(device, layer.output));
    S3D_ASSIGN(to.gate_up, upload(device, layer.gate_up));
    S3D_ASSIGN(to.down, upload(device, layer.down));
  }
  S3D_ASSIGN(out.state_down, upload(device, adapter.state_down(), nullptr));
  S3D_ASSIGN(out.state_up, upload(device, adapter.state_up(), nullptr));
  S3D_ASSIGN(out.bridge_down, upload(device, adapter.bridge_down(), nullptr));
  S3D_ASSIGN(out.bridge_up, upload(device, adapter.bridge_up(), nullptr));
  S3D_ASSIGN(out.markov_p, upload(device, adapter.markov_p(), nullptr));
  S3D_ASSIGN(out.markov_w2, upload(device, adapter.markov_w2(), nullptr));
  if (adapter.own_head() != nullptr) {
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
