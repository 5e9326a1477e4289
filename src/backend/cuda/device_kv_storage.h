// Pages of a KvCache in a device's memory.
#pragma once

#include <memory>

#include "backend/cuda/device.h"
#include "backend/kv_storage.h"

namespace s3d::cuda {

// Commits move at most `most_moves` slots at once. Error: the device has not so much memory left.
Result<std::unique_ptr<KvStorage>> make_device_kv_storage(std::shared_ptr<Device> device, const KvLayout& layout,
                                                          size_t n_pages, int most_moves);

}  // namespace s3d::cuda
