#include "backend/kv_cache.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "base/index.h"

namespace s3d {

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
  struct Memory {
    KvLayout layout;
    std::unique_ptr<KvStorage> storage;  // pages of layout.page_bytes()
  };

  Impl(const KvLayout& whole, int n_pages) : layout(whole), pages(n_pages) {}

  KvLayout layout;  // of all layers
  KvPages pages;
  std::vector<Memory> parts;
};

Result<KvCache> KvCache::create(const ModelConfig& config, KvType type, int64_t tokens, const KvStorageMaker& maker) {
  const Part whole = {config.n_layers, maker};
  return create(config, type, tokens, std::span(&whole, 1));
}

Result<KvCache> KvCache::create(const ModelConfig& config, KvType type, int64_t tokens, std::span<const Part> parts) {
  if (tokens < 1) return Error{fmt::format("KV cache of {} positions: expected at least 1", tokens)};
  const KvLayout layout{type, config.head_dim, config.n_kv_heads, config.n_layers};
  const size_t page_bytes = layout.page_bytes();
  const int64_t n_pages = tokens / kPageTokens + (tokens % kPageTokens != 0);
  constexpr int64_t kMaxPages = INT32_MAX / kPageTokens;  // positions are ints
  if (n_pages > kMaxPages || usize(n_pages) > SIZE_MAX / 2 / page_bytes) {
    return Error{fmt::format("KV cache of {} positions, {} bytes each, is more than can be addressed; ask for fewer",
                             tokens, page_bytes / kPageTokens)};
  }
  auto impl = std::make_shared<Impl>(layout, static_cast<int>(n_pages));
  int first_layer = 0;
  for (const Part& part : parts) {
    const KvLayout mine{type, config.head_dim, config.n_kv_heads, part.layers, first_layer};
    first_layer += part.layers;
    auto storage = part.maker(mine, usize(n_pages));
    if (!storage.ok()) {
      return Error{fmt::format("KV cache of {} positions ({} bytes as {}): {}; use a shorter context or a smaller type",
                               tokens, usize(n_pages) * mine.page_bytes(), kv_type_name(type),
                               storage.error().message)};
    }
    impl->parts.push_back({mine, std::move(*storage)});
  }
  S3D_CHECK(first_layer == config.n_layers, "parts of a cache share the layers");
  return KvCache(std::move(impl));
}

KvCache::KvCache(std::shared_ptr<Impl> impl, size_t part) : impl_(std::move(impl)), part_(part) {}
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;
KvCache::~KvCache() = default;

KvCache KvCache::part(size_t i) const {
  S3D_CHECK(i < impl_->parts.size());
  return KvCache(impl_, i);
}

KvSequence KvCache::add_sequence() {
  return {impl_, impl_->pages.add()};
}

KvSequence KvCache::copy_sequence(SeqId seq) {
  return {impl_, impl_->pages.copy(seq)};
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
  if (cache != nullptr && id_ >= 0) cache->pages.remove(id_);
}

bool KvCache::has_sequence(SeqId seq) const {
  return impl_->pages.has(seq);
}
int KvCache::length(SeqId seq) const {
  return impl_->pages.length(seq);
}
RopeSet KvCache::rope_set(SeqId seq) const {
  return impl_->pages.rope_set(seq);
}

void KvCache::use_rope_set(SeqId seq, RopeSet set) {
  if (impl_->pages.rope_set(seq) == set) return;
  truncate(seq, 0);
  impl_->pages.set_rope_set(seq, set);
}

void KvCache::truncate(SeqId seq, int length) {
  impl_->pages.truncate(seq, length);
}
int64_t KvCache::available(SeqId seq, int sequences) const {
  return impl_->pages.available(seq, sequences);
}
int KvCache::free_pages() const {
  return impl_->pages.free_pages();
}
int KvCache::pages_to_reserve(SeqId seq, int rows) const {
  return impl_->pages.pages_to_reserve(seq, rows);
}

Status KvCache::reserve(SeqId seq, int rows) {
  S3D_ASSIGN(const std::vector<KvPageCopy> copies, impl_->pages.reserve(seq, rows));
  for (const KvPageCopy& copy : copies) {
    for (const Impl::Memory& part : impl_->parts) part.storage->copy_page(copy);
  }
  return Ok();
}

void KvCache::commit(SeqId seq, int rows) {
  impl_->pages.commit(seq, rows);
}

void KvCache::commit_path(SeqId seq, std::span<const int> path) {
  const std::vector<KvMove> moves = impl_->pages.commit_path(seq, path);
  if (moves.empty()) return;
  for (const Impl::Memory& part : impl_->parts) part.storage->move_slots(moves);
}

KvType KvCache::type() const {
  return impl_->layout.type;
}
int64_t KvCache::capacity() const {
  return int64_t{impl_->pages.count()} * kPageTokens;
}
int64_t KvCache::used() const {
  return capacity() - int64_t{impl_->pages.free_pages()} * kPageTokens;
}
size_t KvCache::bytes() const {
  return usize(impl_->pages.count()) * impl_->layout.page_bytes();
}
size_t KvCache::bytes_per_token() const {
  return impl_->layout.page_bytes() / kPageTokens;
}

const KvLayout& KvCache::layout() const {
  return impl_->parts[part_].layout;
}
int KvCache::pages(SeqId seq) const {
  return isize(impl_->pages.pages(seq));
}
std::byte* KvCache::page(SeqId seq, int page) {
  const std::span<const int> pages = impl_->pages.pages(seq);
  S3D_CHECK(page >= 0 && usize(page) < pages.size());
  const Impl::Memory& part = impl_->parts[part_];
  return part.storage->pages() + usize(pages[usize(page)]) * part.layout.page_bytes();
}

}  // namespace s3d
