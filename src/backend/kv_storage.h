// Where the pages of a KvCache lie: memory of the backend that reads and writes them.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"
#include "kernels/kv_layout.h"

namespace s3d {

// Pages are numbered from 0 on.
struct KvPageCopy {
  int from, to;
};

// The keys and values of one slot that move to another slot, in all layers and heads.
struct KvMove {
  int from_page, from;  // slot of the page
  int to_page, to;
};

// Thread rule: one call at a time, none during a pass.
class KvStorage {
 public:
  virtual ~KvStorage() = default;

  // Page 0; the others follow it. An address of the backend's memory, which nobody else may read.
  virtual std::byte* pages() const = 0;
  virtual void copy_page(KvPageCopy copy) = 0;
  // In order: a slot may be moved to after it has been moved from.
  virtual void move_slots(std::span<const KvMove> moves) = 0;
};

// Makes room for `n_pages` pages of `layout`. Error: so much memory is not there.
using KvStorageMaker = std::function<Result<std::unique_ptr<KvStorage>>(const KvLayout& layout, size_t n_pages)>;

// In the process's own memory, which is taken when it is first used.
Result<std::unique_ptr<KvStorage>> make_host_kv_storage(const KvLayout& layout, size_t n_pages);

}  // namespace s3d
