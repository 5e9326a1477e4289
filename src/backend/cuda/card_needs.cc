#include "backend/cuda/card_needs.h"

#include <memory>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_pass.h"
#include "backend/cuda/device_kv_storage.h"
#include "backend/cuda/markov_head.h"
#include "backend/cuda/measuring_device.h"
#include "backend/cuda/token_chooser.h"
#include "base/check.h"
#include "base/index.h"

namespace s3d::cuda {

CardNeeds needs_of(const Model& model, const PlannedUse& use, const LayerRange& range, const Device& like) {
  const ModelConfig& c = model.config;
  const auto device = std::make_shared<MeasuringDevice>(like);
  size_t before = 0;
  const auto more = [&] {
    const size_t now = device->taken();
    return now - std::exchange(before, now);
  };
  const auto taken = [](const Status& status) { S3D_CHECK(status.ok(), "a device that only counts has room"); };
  CardNeeds needs;
  DeviceModel weights = room_for_layers(*device, model, range).value();
  needs.weights = more();
  const bool has_head = range.end == c.n_layers;
  if (has_head) taken(add_room_for_head(*device, model, weights));
  needs.head = more();
  const KvLayout layout{use.kv_type, c.head_dim, c.n_kv_heads, range.end - range.first, range.first};
  const auto pages = usize((use.positions + KvLayout::kPageTokens - 1) / KvLayout::kPageTokens);
  const auto kv = make_device_kv_storage(device, layout, pages, use.limits.rows).value();
  needs.kv = more();
  CudaPass pass(*device, model, weights);
  MarkovHead markov(*device, model, weights.ones);
  TokenChooser chooser(*device);
  taken(pass.reserve(use.limits, nullptr));
  if (has_head) taken(chooser.reserve(use.limits.wanted, c.vocab_size));
  needs.buffers = more();
  std::vector<DeviceAdapter> adapters;
  for (const Adapter& adapter : use.adapters) {
    adapters.push_back(room_for(*device, adapter, c, range).value());
    needs.adapters += more();
    taken(pass.reserve(use.limits, &adapters.back()));
    if (!adapters.back().markov_p.empty()) taken(markov.reserve(adapters.back()));
    needs.buffers += more();
  }
  return needs;
}

}  // namespace s3d::cuda
