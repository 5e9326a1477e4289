// Keys and values of many sequences, in pages of kPageTokens positions shared by reference.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "backend/kv_pages.h"
#include "backend/kv_storage.h"
#include "base/result.h"
#include "kernels/kv_layout.h"
#include "model/config.h"

namespace s3d {

// The type of stored keys and values, by name; an error lists the names.
Result<KvType> parse_kv_type(std::string_view name);  // "f16", "f32", "q8_0"
std::string_view kv_type_name(KvType type);

class KvSequence;

// Each sequence is a row of slots. Slots [0, length) are committed: slot i holds position i, written by full passes.
// A pass writes the rows of its block into the slots after them ("pending"); then the caller commits, keeps a path, or
// drops them. Pages are taken from a pool of fixed size and copied on write when two sequences share one. Page tables
// (KvPages) are numbers; keys and values lie in a KvStorage, or in several, each with some of the layers.
// Thread rule: structure changes by one thread at a time; the backend's threads write different slots of one pass.
class KvCache {
 public:
  static constexpr int kPageTokens = KvLayout::kPageTokens;

  // Room for `tokens` positions over all sequences (rounded up to pages), in memory that `maker` gives: a backend's own
  // (Backend::make_kv_cache), or the process's, which is touched only when used.
  // Error: more than can be addressed or mapped; says how many bytes were asked for.
  static Result<KvCache> create(const ModelConfig& config, KvType type, int64_t tokens,
                                const KvStorageMaker& maker = make_host_kv_storage);
  // The same over several memories, which share the model's layers in this order.
  struct Part {
    int layers;
    KvStorageMaker maker;
  };
  static Result<KvCache> create(const ModelConfig& config, KvType type, int64_t tokens, std::span<const Part> parts);
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;
  ~KvCache();

  [[nodiscard]] KvSequence add_sequence();            // an empty one
  [[nodiscard]] KvSequence copy_sequence(SeqId seq);  // shares the committed pages
  bool has_sequence(SeqId seq) const;    // false for ids never given or removed; every other call needs true
  int length(SeqId seq) const;           // committed positions
  void truncate(SeqId seq, int length);  // roll back; drops pending rows too

  // The set of rotations that the keys of a sequence have and that passes give to its rows. Another one than before
  // drops all that the sequence holds, because keys of two sets do not fit together.
  RopeSet rope_set(SeqId seq) const;
  void use_rope_set(SeqId seq, RopeSet set);

  // Rows that reserve() is sure to grant this sequence while `sequences` of them take their share of the free pages.
  int64_t available(SeqId seq, int sequences) const;
  // Pages that reserve(seq, rows) would take from the pool, and those that are left there.
  int pages_to_reserve(SeqId seq, int rows) const;
  int free_pages() const;
  // Makes slots [length, length + rows) writable. Error: the pool has no page left (says size and what to raise).
  Status reserve(SeqId seq, int rows);
  // The first `rows` pending slots become committed.
  void commit(SeqId seq, int rows);
  // Pending slots length + path[0], length + path[1], … (ascending) become the committed slots length, length + 1, …
  void commit_path(SeqId seq, std::span<const int> path);

  KvType type() const;
  int64_t capacity() const;  // positions
  int64_t used() const;      // positions in pages that are taken
  size_t bytes() const;      // of the whole pool
  size_t bytes_per_token() const;

  // The same sequences as a backend with the layers of part `i` sees them: layout() and page() are that part's, what is
  // changed is changed for all. Valid as long as this cache.
  KvCache part(size_t i) const;

  // For the backend. Page i of a sequence holds slots [64 i, 64 i + 64) of all layers; offsets within it: KvLayout. Of
  // a cache of several parts, ask part().
  const KvLayout& layout() const;
  int pages(SeqId seq) const;  // those with pending slots included
  std::byte* page(SeqId seq, int page);

 private:
  friend class KvSequence;
  struct Impl;
  explicit KvCache(std::shared_ptr<Impl> impl, size_t part = 0);
  std::shared_ptr<Impl> impl_;
  size_t part_ = 0;
};

// Owns a sequence of a cache: its pages are given back when the handle goes. May outlive the cache (its pages are gone
// then). Thread rule: that of KvCache.
class KvSequence {
 public:
  KvSequence() = default;  // owns nothing
  KvSequence(KvSequence&& other) noexcept;
  KvSequence& operator=(KvSequence&& other) noexcept;
  ~KvSequence();

  SeqId id() const { return id_; }
  operator SeqId() const& { return id_; }  // NOLINT(google-explicit-constructor): a handle stands for its id …
  operator SeqId() && = delete;            // … but for that of a handle that is about to go

 private:
  friend class KvCache;
  KvSequence(std::weak_ptr<KvCache::Impl> cache, SeqId id) : cache_(std::move(cache)), id_(id) {}
  void give_back();

  std::weak_ptr<KvCache::Impl> cache_;
  SeqId id_ = -1;
};

}  // namespace s3d
