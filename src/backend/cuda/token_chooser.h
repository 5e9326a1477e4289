// The choice of tokens on a device, from logits that lie there.
#pragma once

#include "backend/cuda/buffer.h"
#include "backend/cuda/tasks.h"
#include "backend/token_choice.h"
#include "base/result.h"

namespace s3d::cuda {

// Thread rule: one call at a time. The device must outlive it.
class TokenChooser {
 public:
  explicit TokenChooser(Device& device) : device_(device) {}

  // Room for whatever is asked of `rows` rows of `width` logits. Error: out of memory.
  Status reserve(int rows, int width) { return prepare(rows, width, {.best = ChoiceAsk::kMost, .sums = true}); }

  // Room for the results of `rows` rows of `width` logits. Error: out of memory.
  Status prepare(int rows, int width, const ChoiceAsk& ask);

  // Starts the choice for `count` rows of `logits`, which become the rows from `at` on of what was prepared.
  void start(const float* logits, int at, int count);

  // 1 + the best token of row `at`, or 0, on the device, once its choice is made.
  const int32_t* next(int at) const { return next_.data() + at; }

  // Fetches the results, once all is done. Error: a kernel failed.
  Status fetch(Choices& out);

  size_t bytes() const;

 private:
  Device& device_;
  ChoiceAsk ask_;
  int rows_ = 0, width_ = 0;
  Buffer<Ranked> piece_best_, tokens_;
  Buffer<uint8_t> piece_finite_, finite_;
  Buffer<float> piece_sums_, sums_;
  Buffer<int32_t> next_;
};

}  // namespace s3d::cuda
