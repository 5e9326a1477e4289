// Which pages the sequences of a cache have: numbers only. What lies in the pages, and where, is a KvStorage's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backend/kv_storage.h"
#include "base/result.h"
#include "kernels/kv_layout.h"
#include "model/config.h"

namespace s3d {

using SeqId = int32_t;

// Page tables, with the meaning that KvCache gives to their calls. Pages are taken from a pool of fixed size, shared by
// reference, and copied on write. Thread rule: one call at a time.
class KvPages {
 public:
  static constexpr int kPageTokens = KvLayout::kPageTokens;

  explicit KvPages(int n_pages) : n_pages_(n_pages), references_(static_cast<size_t>(n_pages)) {}

  SeqId add();
  SeqId copy(SeqId seq);   // shares the committed pages
  void remove(SeqId seq);  // its pages are given back
  bool has(SeqId seq) const;

  int length(SeqId seq) const { return at(seq).length; }
  RopeSet rope_set(SeqId seq) const { return at(seq).rope_set; }
  void set_rope_set(SeqId seq, RopeSet set) { at(seq).rope_set = set; }
  std::span<const int> pages(SeqId seq) const { return at(seq).pages; }  // those with pending slots included

  void truncate(SeqId seq, int length);
  int64_t available(SeqId seq, int sequences) const;
  int pages_to_reserve(SeqId seq, int rows) const;
  // What must be copied before the slots are written, in order. Error: no page is left; nothing has changed.
  Result<std::vector<KvPageCopy>> reserve(SeqId seq, int rows);
  void commit(SeqId seq, int rows);
  // What must be moved, in order.
  std::vector<KvMove> commit_path(SeqId seq, std::span<const int> path);

  int count() const { return n_pages_; }
  int free_pages() const;

 private:
  struct Sequence {
    int length = 0;
    RopeSet rope_set = RopeSet::kShort;
    int pending = 0;         // slots after `length` that may be written and committed
    std::vector<int> pages;  // in slot order; may reach beyond `length` while rows are pending
  };

  Sequence& at(SeqId seq);
  const Sequence& at(SeqId seq) const;
  SeqId put(Sequence sequence);
  bool shared(int page) const { return references_[static_cast<size_t>(page)] > 1; }
  int take_page();
  void drop_page(int page);
  void drop_pages_after(Sequence& sequence, int keep);

  int n_pages_;
  int next_fresh_ = 0;         // pages from here on were never taken
  std::vector<int> returned_;  // taken once and free again
  std::vector<int> references_;
  std::vector<std::optional<Sequence>> sequences_;
};

}  // namespace s3d
