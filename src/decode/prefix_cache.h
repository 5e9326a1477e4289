// Keys and values of texts that were run before, for later texts that begin alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/kv_cache.h"
#include "s3d/types.h"

namespace s3d {

// A radix tree over token ids: each node holds a sequence of the KV cache with all tokens from the root to its end, and
// shares the pages of its parent's. What is found is a copy that shares them too; whoever writes into a shared page
// gets one of its own. Rows of one prefix are the same to the bit whoever ran them, so a hit changes no answer. Tokens
// of different keys, or of different sets of rotations, never meet. Thread rule: that of KvCache.
class PrefixCache {
 public:
  // Holds at most `bytes` of pages; the least recently used leaves go first. `kv` must outlive it.
  PrefixCache(KvCache& kv, size_t bytes);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // A sequence with the longest known beginning of `tokens`, at most `most` of them; nothing if none is known.
  std::optional<KvSequence> find(const std::string& key, RopeSet set, std::span<const TokenId> tokens, int most);
  // Remembers `tokens`, which are all that `seq` holds, if there are enough of them to be worth it.
  void insert(const std::string& key, SeqId seq, std::span<const TokenId> tokens);
  // Forgets the leaf that was not used for the longest time. False: there is none.
  bool evict();

  int64_t tokens() const { return tokens_; }
  int pages() const { return static_cast<int>(pages_); }  // what evicting all of it can free at most
  size_t bytes() const { return pages_ * page_bytes_; }   // of its nodes; what two of them share in part counts twice

 private:
  struct Node;
  using Key = std::pair<std::string, RopeSet>;

  Node* add_child(Node& parent, std::span<const TokenId> edge, KvSequence sequence);
  Node* split(Node& child, size_t length);
  static void oldest_leaf(Node& node, Node*& oldest);  // NOLINT(misc-no-recursion)

  KvCache& kv_;
  size_t most_pages_, page_bytes_;
  std::map<Key, std::unique_ptr<Node>> roots_;
  uint64_t clock_ = 0;
  int64_t tokens_ = 0;
  size_t pages_ = 0;
};

}  // namespace s3d
