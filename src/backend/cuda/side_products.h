// Products with matrices that drafters have beside the model (backend/side_matrix.h), on a device.
#pragma once

#include <map>
#include <memory>
#include <span>

#include "backend/cuda/device_matrix.h"
#include "backend/cuda/input_buffers.h"
#include "backend/side_matrix.h"
#include "base/result.h"
#include "model/weights.h"

namespace s3d::cuda {

// Thread rule: one call at a time.
class SideProducts {
 public:
  // All must outlive it. `model`: whose weights those are; rows of its LM head are read where they lie.
  SideProducts(Device& device, const Model& model, const DeviceModel& weights)
      : device_(device), model_(model), weights_(weights) {}

  // Uploads `w`, unless it is there; it stays as long as this object. Error: out of memory on the device.
  Status take(const SideMatrix& w);

  // out = w x for rows x; `in`: [n, in], `out`: [n, out]. Errors: out of memory on the device; a kernel failed.
  Status multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out);

  size_t bytes() const;  // of buffers, and of the matrices

 private:
  struct Taken {
    PackedMatrix source;  // kept, so that no other matrix lies at its address
    DeviceMatrix matrix;
  };
  Result<const DeviceMatrix*> on_device(const SideMatrix& w);

  Device& device_;
  const Model& model_;
  const DeviceModel& weights_;
  std::map<const std::byte*, Taken> taken_;
  Buffer<float> x_, y_;  // [n][in], [n][out]
  InputBuffers in_;
};

}  // namespace s3d::cuda
