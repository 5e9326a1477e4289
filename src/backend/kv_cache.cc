#include "backend/kv_cache.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/check.h"

namespace s3d {
namespace {

constexpr int kPage = KvCache::kPageTokens;

int pages_for(int64_t slots) {
  return static_cast<int>((slots + kPage - 1) / kPage);
}

// Moves one slot to an earlier one, within one layer: the keys and values of all heads.
class SlotMover {
 public:
  SlotMover(const KvLayout& layout, int layer) : layout_(layout), layer_(layer) {}

  void move(const std::byte* from_page, int from, std::byte* to_page, int to) const {
    for (int head = 0; head < layout_.n_kv_heads; ++head) {
      move(from_page, layout_.key(layer_, head, from), to_page, layout_.key(layer_, head, to), layout_.head_dim);
      move(from_page, layout_.value(layer_, head, from), to_page, layout_.value(layer_, head, to),
           layout_.padded_head_dim());
    }
  }

 private:
  // Copies `n` elements of `width` bytes that lie `step` bytes apart.
  static void copy(const std::byte* from, std::byte* to, size_t n, size_t width, size_t step) {
    if (step == width) {
      std::memcpy(to, from, n * width);
      return;
    }
    for (size_t i = 0; i < n; ++i) std::memcpy(to + i * step, from + i * step, width);
  }

  void move(const std::byte* from_page, const KvLayout::Place& from, std::byte* to_page, const KvLayout::Place& to,
            int numbers) const {
    copy(from_page + from.numbers, to_page + to.numbers, static_cast<size_t>(numbers), layout_.element_bytes(),
         from.step);
    const auto blocks = static_cast<size_t>(layout_.scale_blocks());
    if (blocks > 0) copy(from_page + from.scales, to_page + to.scales, blocks, 2, from.scale_step);
  }

  const KvLayout& layout_;
  int layer_;
};

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

  ~Impl() {
    if (memory != nullptr) munmap(memory, bytes);
  }

  Sequence& at(SeqId seq) {
    S3D_CHECK(seq >= 0 && static_cast<size_t>(seq) < sequences.size() && sequences[static_cast<size_t>(seq)],
              "no such sequence");
    return *sequences[static_cast<size_t>(seq)];
  }

  std::byte* page(int id) { return memory + static_cast<size_t>(id) * layout.page_bytes(); }
  int free_pages() const { return n_pages - next_fresh + static_cast<int>(returned.size()); }

  // Used pages first: their memory is there already.
  int take_page() {
    int id;
    if (returned.empty()) {
      id = next_fresh++;
    } else {
      id = returned.back();
      returned.pop_back();
    }
    references[static_cast<size_t>(id)] = 1;
    return id;
  }

  void drop_page(int id) {
    if (--references[static_cast<size_t>(id)] == 0) returned.push_back(id);
  }

  void drop_pages_after(Sequence& sequence, int keep) {
    while (static_cast<int>(sequence.pages.size()) > keep) {
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

  bool shared(int id) const { return references[static_cast<size_t>(id)] > 1; }

  KvLayout layout;
  std::byte* memory = nullptr;  // [n_pages] pages of layout.page_bytes()
  size_t bytes = 0;
  int n_pages = 0;
  int next_fresh = 0;         // pages from here on were never taken
  std::vector<int> returned;  // taken once and free again
  std::vector<int> references;
  std::vector<std::optional<Sequence>> sequences;
};

Result<KvCache> KvCache::create(const ModelConfig& config, KvType type, int64_t tokens) {
  if (tokens < 1) return Error{fmt::format("KV cache of {} positions: expected at least 1", tokens)};
  auto impl = std::make_shared<Impl>();
  impl->layout = KvLayout{type, config.head_dim, config.n_kv_heads, config.n_layers};
  const size_t page_bytes = impl->layout.page_bytes();
  const int64_t n_pages = tokens / kPage + (tokens % kPage != 0);
  constexpr int64_t kMaxPages = INT32_MAX / kPage;  // positions are ints
  if (n_pages > kMaxPages || static_cast<size_t>(n_pages) > SIZE_MAX / 2 / page_bytes) {
    return Error{fmt::format("KV cache of {} positions, {} bytes each, is more than can be addressed; ask for fewer",
                             tokens, page_bytes / kPage)};
  }
  impl->n_pages = static_cast<int>(n_pages);
  impl->bytes = static_cast<size_t>(n_pages) * page_bytes;
  void* memory = mmap(nullptr, impl->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return Error{fmt::format("KV cache of {} positions ({} bytes as {}): {}; use a shorter context or a smaller type",
                             tokens, impl->bytes, kv_type_name(type), std::strerror(errno))};
  }
  impl->memory = static_cast<std::byte*>(memory);
  impl->references.assign(static_cast<size_t>(n_pages), 0);
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
  copy.pages.resize(static_cast<size_t>(pages_for(copy.length)));  // without pages that hold pending slots only
  for (const int id : copy.pages) ++impl_->references[static_cast<size_t>(id)];
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
  cache->sequences[static_cast<size_t>(id_)].reset();
}

bool KvCache::has_sequence(SeqId seq) const {
  return seq >= 0 && static_cast<size_t>(seq) < impl_->sequences.size() &&
         impl_->sequences[static_cast<size_t>(seq)].has_value();
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
  if (in_page > 0 && impl_->shared(sequence.pages[static_cast<size_t>(sequence.length / kPage)])) {
    if (pages == 0) return 0;  // the page must be copied before it is written
    --pages;
  }
  return in_page + pages * kPage;
}

Status KvCache::reserve(SeqId seq, int rows) {
  S3D_CHECK(rows >= 0);
  Impl::Sequence& sequence = impl_->at(seq);
  if (rows == 0) return Ok();
  const int first = sequence.length / kPage;  // the first page that is written
  const int wanted = pages_for(int64_t{sequence.length} + rows);
  const int present = static_cast<int>(sequence.pages.size());
  int needed = std::max(0, wanted - present);
  for (int i = first; i < std::min(present, wanted); ++i) {
    if (impl_->shared(sequence.pages[static_cast<size_t>(i)])) ++needed;
  }
  if (needed > impl_->free_pages()) {
    return Error{fmt::format(
        "KV cache is full: {} positions in all, {} in use, {} more wanted for {} rows of a sequence of {}; raise the "
        "context size, shorten the prompt or close a sequence",
        capacity(), used(), int64_t{needed} * kPage, rows, sequence.length)};
  }
  for (int i = first; i < std::min(present, wanted); ++i) {
    int& id = sequence.pages[static_cast<size_t>(i)];
    if (!impl_->shared(id)) continue;
    const int copy = impl_->take_page();
    std::memcpy(impl_->page(copy), impl_->page(id), impl_->layout.page_bytes());
    impl_->drop_page(id);
    id = copy;
  }
  while (static_cast<int>(sequence.pages.size()) < wanted) sequence.pages.push_back(impl_->take_page());
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
  const auto page_of = [&](int slot) { return impl_->page(sequence.pages[static_cast<size_t>(slot / kPage)]); };
  for (int layer = 0; layer < impl_->layout.n_layers; ++layer) {
    const SlotMover mover(impl_->layout, layer);
    for (size_t i = 0; i < path.size(); ++i) {  // ascending: a slot is read before it is overwritten
      const int from = sequence.length + path[i], to = sequence.length + static_cast<int>(i);
      if (from != to) mover.move(page_of(from), from % kPage, page_of(to), to % kPage);
    }
  }
  commit(seq, static_cast<int>(path.size()));
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
  return impl_->bytes;
}
size_t KvCache::bytes_per_token() const {
  return impl_->layout.page_bytes() / kPage;
}

int KvCache::pages(SeqId seq) const {
  return static_cast<int>(impl_->at(seq).pages.size());
}
std::byte* KvCache::page(SeqId seq, int page) {
  Impl::Sequence& sequence = impl_->at(seq);
  S3D_CHECK(page >= 0 && static_cast<size_t>(page) < sequence.pages.size());
  return impl_->page(sequence.pages[static_cast<size_t>(page)]);
}

}  // namespace s3d
