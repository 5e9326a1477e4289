// A matrix that a drafter multiplies rows with beside passes: of a file of its own, or rows of the base's LM head.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "file/gguf.h"
#include "kernels/packed_matrix.h"
#include "model/weights.h"
#include "s3d/types.h"

namespace s3d {

// Const after it is made. `tensor` points into a file that must outlive it.
struct SideMatrix {
  const Tensor* tensor = nullptr;  // [rows, in]: what the reference reads
  std::vector<TokenId> ids;        // rows of `tensor`, in this order; empty: all
  PackedMatrix packed;             // the same for the kernels; empty where only a device has the base's LM head
  size_t own_bytes = 0;            // of `packed`, where nobody else holds them

  bool empty() const { return tensor == nullptr; }
  size_t rows() const { return ids.empty() ? static_cast<size_t>(tensor->rows()) : ids.size(); }
  size_t cols() const { return static_cast<size_t>(tensor->cols()); }
};

// Whether it is the first rows of the LM head of `model` as that is packed, which is no side model.
bool begins_head(const SideMatrix& w, const Model& model);

// Packs a tensor of `file`; null gives an empty matrix. Errors name the tensor: those of PackedMatrix::pack.
Result<SideMatrix> pack_side_matrix(const GgufFile& file, const Tensor* tensor, ThreadPool* pool);

// The rows of the base's LM head for `ids` (empty: all tokens, in the vocabulary's order). Shares the base's packed
// weights where these begin with the same tokens in the same order, else packs its own copy. Error: out of memory.
Result<SideMatrix> side_head(const Model& base, std::span<const TokenId> ids, ThreadPool* pool);

}  // namespace s3d
