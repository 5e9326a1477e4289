#include "backend/kv_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/index.h"

namespace s3d {
namespace {

constexpr int kPage = KvPages::kPageTokens;

int pages_for(int64_t slots) {
  return static_cast<int>((slots + kPage - 1) / kPage);
}

}  // namespace

const KvPages::Sequence& KvPages::at(SeqId seq) const {
  S3D_CHECK(has(seq), "no such sequence");
  return *sequences_[usize(seq)];
}

KvPages::Sequence& KvPages::at(SeqId seq) {
  S3D_CHECK(has(seq), "no such sequence");
  return *sequences_[usize(seq)];
}

bool KvPages::has(SeqId seq) const {
  return seq >= 0 && usize(seq) < sequences_.size() && sequences_[usize(seq)].has_value();
}

int KvPages::free_pages() const {
  return n_pages_ - next_fresh_ + isize(returned_);
}

// Used pages first: their memory is there already.
int KvPages::take_page() {
  int page;
  if (returned_.empty()) {
    page = next_fresh_++;
  } else {
    page = returned_.back();
    returned_.pop_back();
  }
  references_[usize(page)] = 1;
  return page;
}

void KvPages::drop_page(int page) {
  if (--references_[usize(page)] == 0) returned_.push_back(page);
}

void KvPages::drop_pages_after(Sequence& sequence, int keep) {
  while (isize(sequence.pages) > keep) {
    drop_page(sequence.pages.back());
    sequence.pages.pop_back();
  }
}

SeqId KvPages::put(Sequence sequence) {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i]) continue;
    sequences_[i] = std::move(sequence);
    return static_cast<SeqId>(i);
  }
  sequences_.emplace_back(std::move(sequence));
  return static_cast<SeqId>(sequences_.size() - 1);
}

SeqId KvPages::add() {
  return put({});
}

SeqId KvPages::copy(SeqId seq) {
  Sequence copy = at(seq);
  copy.pending = 0;
  copy.pages.resize(usize(pages_for(copy.length)));  // without pages that hold pending slots only
  for (const int page : copy.pages) ++references_[usize(page)];
  return put(std::move(copy));
}

void KvPages::remove(SeqId seq) {
  drop_pages_after(at(seq), 0);
  sequences_[usize(seq)].reset();
}

void KvPages::truncate(SeqId seq, int length) {
  Sequence& sequence = at(seq);
  S3D_CHECK(length >= 0 && length <= sequence.length, "truncate to more than is committed");
  sequence.length = length;
  sequence.pending = 0;
  drop_pages_after(sequence, pages_for(length));
}

int64_t KvPages::available(SeqId seq, int sequences) const {
  const Sequence& sequence = at(seq);
  int64_t pages = free_pages() / std::max(1, sequences);
  const int64_t in_page = int64_t{pages_for(sequence.length)} * kPage - sequence.length;
  if (in_page > 0 && shared(sequence.pages[usize(sequence.length / kPage)])) {
    if (pages == 0) return 0;  // the page must be copied before it is written
    --pages;
  }
  return in_page + pages * kPage;
}

int KvPages::pages_to_reserve(SeqId seq, int rows) const {
  if (rows == 0) return 0;
  const Sequence& sequence = at(seq);
  const int first = sequence.length / kPage;  // the first page that is written
  const int wanted = pages_for(int64_t{sequence.length} + rows);
  const int present = isize(sequence.pages);
  int needed = std::max(0, wanted - present);
  for (int i = first; i < std::min(present, wanted); ++i) {
    if (shared(sequence.pages[usize(i)])) ++needed;
  }
  return needed;
}

Result<std::vector<KvPageCopy>> KvPages::reserve(SeqId seq, int rows) {
  S3D_CHECK(rows >= 0);
  Sequence& sequence = at(seq);
  std::vector<KvPageCopy> copies;
  if (rows == 0) return copies;
  const int first = sequence.length / kPage;
  const int wanted = pages_for(int64_t{sequence.length} + rows);
  const int present = isize(sequence.pages);
  const int needed = pages_to_reserve(seq, rows);
  if (needed > free_pages()) {
    return Error{fmt::format(
        "KV cache is full: {} positions in all, {} in use, {} more wanted for {} rows of a sequence of {}; raise the "
        "context size, shorten the prompt or close a sequence",
        int64_t{n_pages_} * kPage, int64_t{n_pages_ - free_pages()} * kPage, int64_t{needed} * kPage, rows,
        sequence.length)};
  }
  for (int i = first; i < std::min(present, wanted); ++i) {
    int& page = sequence.pages[usize(i)];
    if (!shared(page)) continue;
    const int copy = take_page();
    copies.push_back({page, copy});
    drop_page(page);
    page = copy;
  }
  while (isize(sequence.pages) < wanted) sequence.pages.push_back(take_page());
  sequence.pending = rows;
  return copies;
}

void KvPages::commit(SeqId seq, int rows) {
  Sequence& sequence = at(seq);
  S3D_CHECK(rows >= 0 && rows <= sequence.pending, "commit of more rows than are pending");
  sequence.length += rows;
  sequence.pending = 0;
  drop_pages_after(sequence, pages_for(sequence.length));
}

std::vector<KvMove> KvPages::commit_path(SeqId seq, std::span<const int> path) {
  const Sequence& sequence = at(seq);
  int before = -1;
  for (const int index : path) {
    S3D_CHECK(index > before, "a path's rows ascend");
    before = index;
  }
  S3D_CHECK(before < sequence.pending, "commit of more rows than are pending");
  std::vector<KvMove> moves;
  for (size_t i = 0; i < path.size(); ++i) {  // ascending: a slot is read before it is overwritten
    const int from = sequence.length + path[i], to = sequence.length + static_cast<int>(i);
    if (from == to) continue;
    moves.push_back({sequence.pages[usize(from / kPage)], from % kPage, sequence.pages[usize(to / kPage)], to % kPage});
  }
  commit(seq, isize(path));
  return moves;
}

}  // namespace s3d
