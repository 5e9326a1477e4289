// One vector for a whole text, from the hidden states of its tokens.
#pragma once

#include <span>
#include <vector>

#include "model/weights.h"
#include "serve/model_service.h"

namespace s3d::serve {

// Takes the states of one text. Thread rule: one call at a time.
class HiddenPool {
 public:
  // `model` must outlive this. `tokens`: of the text. `pooling`: not kNone.
  HiddenPool(const Model& model, Pooling pooling, int tokens);

  // The first position whose state counts.
  int from() const { return pooling_ == Pooling::kMean ? 0 : tokens_ - 1; }
  // `hidden`: [d_model], before the output norm, of the token at `position`; in their order. One that comes again, as
  // it does when a text is run again, begins the sum anew.
  void add(int position, std::span<const float> hidden);
  // [d_model], of length 1. Error: the states are no numbers.
  Result<std::vector<float>> vector() const;

 private:
  const Model& model_;
  Pooling pooling_;
  int tokens_;
  std::vector<double> sum_;
};

}  // namespace s3d::serve
