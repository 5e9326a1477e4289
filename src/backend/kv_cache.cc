#include "backend/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/index.h"

namespace s3d {
namespace {

constexpr int kPage = KvCache::kPageTokens;

int pages_for(int64_t slots) {
  return static_cast<int>((slots + kPage - 1) / kPage);
}

}  // namespace

Result<KvType> parse_kv_type(std::string_view name) {
  for (const KvType type : {KvType::kF16, KvType::kF32, KvType::kQ8_0}) {
    if (name == kv_type_name(type)) return type;
  }
  return Error{fmt::format("KV cache type '{}' is not known; expected f16, f32 or q8_0", name)};
}

std::string_view kv_type_name(KvType type) {
  switch (type) {
    case KvType::kF16:
      return "f16";
    case KvType::kF32:
      return "f32";
    case KvType::kQ8_0:
      return "q8_0";
  }
  return "?";
}

struct KvCache::Impl {
  struct Sequence {
    int length = 0;
    RopeSet rope_set = RopeSet::kShort;
    int pending = 0;         // slots after `length` that may be written and committed
    std::vector<int> pages;  // in slot order; may reach beyond `length` while rows are pending
  };

  Sequence& at(SeqId seq) {
    S3D_CHECK(seq >= 0 && usize(seq) < sequences.size() && sequences[seq], "no such sequence");
    return *sequences[seq];
  }

  std::byte* page(int id) const { return storage->pages() + usize(id) * layout.page_bytes(); }
  int free_pages() const { return n_pages - next_fresh + isize(returned); }

  // Used pages first: their memory is there already.
  int take_page() {
    int id;
    if (returned.empty()) {
      id = next_fresh++;
    } else {
      id = returned.back();
      returned.pop_back();
    }
    references[id] = 1;
    return id;
  }

  void drop_page(int id) {
    if (--references[id] == 0) returned.push_back(id);
  }

  void drop_pages_after(Sequence& sequence, int keep) {
    while (isize(sequence.pages) > keep) {
      drop_page(sequence.pages.back());
      sequence.pages.pop_back();
    }
  }

  SeqId add(Sequence sequence) {
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (sequences[i]) continue;
      sequences[i] = std::move(sequence);
      return static_cast<SeqId>(i);
    }
    sequences.emplace_back(std::move(sequence));
    return static_cast<SeqId>(sequences.size() - 1);
  }

  bool shared(int id) const { return references[id] > 1; }

  KvLayout layout;
  std::unique_ptr<KvStorage> storage;  // [n_pages] pages of layout.page_bytes()
  int n_pages = 0;
  int next_fresh = 0;         // pages from here on were never taken
  std::vector<int> returned;  // taken once and free again
  std::vector<int> references;
  std::vector<std::optional<Sequence>> sequences;
};

Result<KvCache> KvCache::create(const ModelConfig& config, KvType type, int64_t tokens, const KvStorageMaker& maker) {
  if (tokens < 1) return Error{fmt::format("KV cache of {} positions: expected at least 1", tokens)};
  auto impl = std::make_shared<Impl>();
  impl->layout = KvLayout{type, config.head_dim, config.n_kv_heads, config.n_layers};
  const size_t page_bytes = impl->layout.page_bytes();
  const int64_t n_pages = tokens / kPage + (tokens % kPage != 0);
  constexpr int64_t kMaxPages = INT32_MAX / kPage;  // positions are ints
  if (n_pages > kMaxPages || usize(n_pages) > SIZE_MAX / 2 / page_bytes) {
    return Error{fmt::format("KV cache of {} positions, {} bytes each, is more than can be addressed; ask for fewer",
                             tokens, page_bytes / kPage)};
  }
  impl->n_pages = static_cast<int>(n_pages);
  auto storage = maker(impl->layout, usize(n_pages));
  if (!storage.ok()) {
    return Error{fmt::format("KV cache of {} positions ({} bytes as {}): {}; use a shorter context or a smaller type",
                             tokens, usize(n_pages) * page_bytes, kv_type_name(type), storage.error().message)};
  }
  impl->storage = std::move(*storage);
  impl->references.assign(usize(n_pages), 0);
  return KvCache(std::move(impl));
}

KvCache::KvCache(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;
KvCache::~KvCache() = default;

KvSequence KvCache::add_sequence() {
  return {impl_, impl_->add({})};
}

KvSequence KvCache::copy_sequence(SeqId seq) {
  Impl::Sequence copy = impl_->at(seq);
  copy.pending = 0;
  copy.pages.resize(usize(pages_for(copy.length)));  // without pages that hold pending slots only
  for (const int id : copy.pages) ++impl_->references[id];
  return {impl_, impl_->add(std::move(copy))};
}

KvSequence::KvSequence(KvSequence&& other) noexcept
    : cache_(std::move(other.cache_)), id_(std::exchange(other.id_, -1)) {}

KvSequence& KvSequence::operator=(KvSequence&& other) noexcept {
  if (this == &other) return *this;
  give_back();
  cache_ = std::move(other.cache_);
  id_ = std::exchange(other.id_, -1);
  return *this;
}

KvSequence::~KvSequence() {
  give_back();
}

void KvSequence::give_back() {
  const std::shared_ptr<KvCache::Impl> cache = cache_.lock();
  if (cache == nullptr || id_ < 0) return;
  cache->drop_pages_after(cache->at(id_), 0);
  cache->sequences[id_].reset();
}

bool KvCache::has_sequence(SeqId seq) const {
  return seq >= 0 && usize(seq) < impl_->sequences.size() && impl_->sequences[seq].has_value();
}

int KvCache::length(SeqId seq) const {
  return impl_->at(seq).length;
}

RopeSet KvCache::rope_set(SeqId seq) const {
  return impl_->at(seq).rope_set;
}

void KvCache::use_rope_set(SeqId seq, RopeSet set) {
  Impl::Sequence& sequence = impl_->at(seq);
  if (sequence.rope_set == set) return;
  truncate(seq, 0);
  sequence.rope_set = set;
}

void KvCache::truncate(SeqId seq, int length) {
  Impl::Sequence& sequence = impl_->at(seq);
  S3D_CHECK(length >= 0 && length <= sequence.length, "truncate to more than is committed");
  sequence.length = length;
  sequence.pending = 0;
  impl_->drop_pages_after(sequence, pages_for(length));
}

int64_t KvCache::available(SeqId seq, int sequences) const {
  const Impl::Sequence& sequence = impl_->at(seq);
  int64_t pages = impl_->free_pages() / std::max(1, sequences);
  int64_t in_page = int64_t{pages_for(sequence.length)} * kPage - sequence.length;
  if (in_page > 0 && impl_->shared(sequence.pages[sequence.length / kPage])) {
    if (pages == 0) return 0;  // the page must be copied before it is written
    --pages;
  }
  return in_page + pages * kPage;
}

int KvCache::free_pages() const {
  return impl_->free_pages();
}

int KvCache::pages_to_reserve(SeqId seq, int rows) const {
  if (rows == 0) return 0;
  const Impl::Sequence& sequence = impl_->at(seq);
  const int first = sequence.length / kPage;  // the first page that is written
  const int wanted = pages_for(int64_t{sequence.length} + rows);
  const int present = isize(sequence.pages);
  int needed = std::max(0, wanted - present);
  for (int i = first; i < std::min(present, wanted); ++i) {
    if (impl_->shared(sequence.pages[i])) ++needed;
  }
  return needed;
}

Status KvCache::reserve(SeqId seq, int rows) {
  S3D_CHECK(rows >= 0);
  Impl::Sequence& sequence = impl_->at(seq);
  if (rows == 0) return Ok();
  const int first = sequence.length / kPage;
  const int wanted = pages_for(int64_t{sequence.length} + rows);
  const int present = isize(sequence.pages);
  const int needed = pages_to_reserve(seq, rows);
  if (needed > impl_->free_pages()) {
    return Error{fmt::format(
        "KV cache is full: {} positions in all, {} in use, {} more wanted for {} rows of a sequence of {}; raise the "
        "context size, shorten the prompt or close a sequence",
        capacity(), used(), int64_t{needed} * kPage, rows, sequence.length)};
  }
  for (int i = first; i < std::min(present, wanted); ++i) {
    int& id = sequence.pages[i];
    if (!impl_->shared(id)) continue;
    const int copy = impl_->take_page();
    impl_->storage->copy_page(impl_->page(id), impl_->page(copy));
    impl_->drop_page(id);
    id = copy;
  }
  while (isize(sequence.pages) < wanted) sequence.pages.push_back(impl_->take_page());
  sequence.pending = rows;
  return Ok();
}

void KvCache::commit(SeqId seq, int rows) {
  Impl::Sequence& sequence = impl_->at(seq);
  S3D_CHECK(rows >= 0 && rows <= sequence.pending, "commit of more rows than are pending");
  sequence.length += rows;
  sequence.pending = 0;
  impl_->drop_pages_after(sequence, pages_for(sequence.length));
}

void KvCache::commit_path(SeqId seq, std::span<const int> path) {
  Impl::Sequence& sequence = impl_->at(seq);
  int before = -1;
  for (const int index : path) {
    S3D_CHECK(index > before, "a path's rows ascend");
    before = index;
  }
  S3D_CHECK(before < sequence.pending, "commit of more rows than are pending");
  const auto page_of = [&](int slot) { return impl_->page(sequence.pages[slot / kPage]); };
  std::vector<KvMove> moves;
  for (size_t i = 0; i < path.size(); ++i) {  // ascending: a slot is read before it is overwritten
    const int from = sequence.length + path[i], to = sequence.length + static_cast<int>(i);
    if (from != to) moves.push_back({page_of(from), from % kPage, page_of(to), to % kPage});
  }
  if (!moves.empty()) impl_->storage->move_slots(moves);
  commit(seq, isize(path));
}

KvType KvCache::type() const {
  return impl_->layout.type;
}
const KvLayout& KvCache::layout() const {
  return impl_->layout;
}
int64_t KvCache::capacity() const {
  return int64_t{impl_->n_pages} * kPage;
}
int64_t KvCache::used() const {
  return capacity() - int64_t{impl_->free_pages()} * kPage;
}
size_t KvCache::bytes() const {
  return usize(impl_->n_pages) * impl_->layout.page_bytes();
}
size_t KvCache::bytes_per_token() const {
  return impl_->layout.page_bytes() / kPage;
}

int KvCache::pages(SeqId seq) const {
  return static_cast<int>(impl_->at(seq).pages.size());
}
std::byte* KvCache::page(SeqId seq, int page) {
  Impl::Sequence& sequence = impl_->at(seq);
  S3D_CHECK(page >= 0 && usize(page) < sequence.pages.size());
  return impl_->page(sequence.pages[page]);
}

}  // namespace s3d
