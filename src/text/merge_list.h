// The parts of a word that is being joined, as a doubly linked list in one array. Used by both tokenizer models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace s3d {

// Links of part i to its neighbours; parts keep their index for life, and a join keeps the left one's.
class MergeList {
 public:
  static constexpr int64_t kEnd = -1;

  explicit MergeList(size_t size) : links_(size) {
    const auto count = static_cast<int64_t>(size);
    for (int64_t i = 0; i < count; ++i) links_[static_cast<size_t>(i)] = {i - 1, i + 1 < count ? i + 1 : kEnd};
  }

  int64_t prev(int64_t i) const { return links_[static_cast<size_t>(i)].prev; }
  int64_t next(int64_t i) const { return links_[static_cast<size_t>(i)].next; }

  // Takes the part after `left` out of the list.
  void join_with_next(int64_t left) {
    const int64_t after = next(next(left));
    links_[static_cast<size_t>(left)].next = after;
    if (after != kEnd) links_[static_cast<size_t>(after)].prev = left;
  }

 private:
  struct Link {
    int64_t prev;
    int64_t next;
  };
  std::vector<Link> links_;
};

}  // namespace s3d
