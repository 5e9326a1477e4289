// The matrices of the draft layers while they are trained, and the base model that comes of them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/adapter.h"
#include "train/base_model.h"

namespace s3d::train {

// Training keeps full-precision masters, but passes compute with the values that the masters have in the file's types:
// what is trained and measured is what is written. Gradients pass the rounding as if it were not there; without it,
// steps smaller than half a quantization step would be lost when the file is written (Q4_1: half of a fifteenth of a
// block's range).
class TrainedLayers {
 public:
  // Numbers in memory for each trained one beside its value: master, gradient, two moments.
  static constexpr int kNumbers = 4;

  // Replaces the matrices of the draft layers in `base`, which must stay where it is, by float ones that collect
  // gradients. Errors: a split file; a type that cannot be written again.
  static Result<TrainedLayers> create(BaseModel& base, const AdapterConfig& config);

  // In the order of the draft pass; matrices in the order of LoraTarget.
  const std::vector<Tensor>& masters() const { return masters_; }

  // Lets the gradients of the base's matrices be collected in the masters' own, which must be there.
  void share_gradients();

  // The base's matrices become the masters, rounded to the types of the file.
  void round();

  // Writes the base's file with these matrices. Metadata, types, order and all other tensors are those of the file,
  // byte by byte, and so are rows that training did not change. Written whole or not at all.
  Status write(const std::string& path) const;

 private:
  explicit TrainedLayers(BaseModel& base) : base_(&base) {}
  std::vector<std::byte> encoded(size_t index) const;

  BaseModel* base_;
  std::vector<const s3d::Tensor*> stored_;  // [matrices] in the file
  std::vector<Tensor> values_;              // [matrices] what passes compute with
  std::vector<Tensor> masters_;             // [matrices]
};

// Trained numbers of these layers.
int64_t trained_numbers(const ModelConfig& base, const AdapterConfig& config);

}  // namespace s3d::train
