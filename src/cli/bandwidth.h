// How fast this machine reads memory: what decoding is compared with.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "model/weights.h"

namespace s3d::cli {

using Bytes = std::span<const std::byte>;

// Memory that is large enough that no cache holds it, in 2 MiB pages where the system gives them, all of it written.
class ReadBuffer {
 public:
  // Error: not enough memory.
  static Result<ReadBuffer> create(size_t bytes, ThreadPool& pool);
  Bytes bytes() const { return {data_.get(), bytes_}; }

 private:
  struct Unmap {
    size_t bytes;
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Unmap> data_;
  size_t bytes_ = 0;
};

// Seconds for one reading of all `parts` by all threads of `pool`, each part split evenly: the least of one for each
// way of reading that the CPU's best kernels have.
double read_seconds(std::span<const Bytes> parts, ThreadPool& pool);

// All matrices that a full pass reads, for measuring with no memory of its own.
std::vector<Bytes> weight_parts(const Model& model);

}  // namespace s3d::cli
