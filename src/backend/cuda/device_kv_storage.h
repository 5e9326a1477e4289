// Pages of a KvCache in a device's memory.
#pragma once

#include <memory>

#include "backend/cuda/device.h"
#include "backend/kv_storage.h"

namespace s3d::cuda {

// Error: the device has not so much memory left.
Result<std::unique_ptr<KvStorage>> make_device_kv_storage(std::shared_ptr<Device> device, const KvLayout& layout,
                                                          size_t n_pages);

}  // namespace s3d::cuda
