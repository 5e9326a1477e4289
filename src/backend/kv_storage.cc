#include "backend/kv_storage.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/index.h"

namespace s3d {
namespace {

// Copies `n` elements of `width` bytes that lie `step` bytes apart.
void copy(const std::byte* from, std::byte* to, size_t n, size_t width, size_t step) {
  if (step == width) {
    std::memcpy(to, from, n * width);
    return;
  }
  for (size_t i = 0; i < n; ++i) std::memcpy(to + i * step, from + i * step, width);
}

class HostKvStorage : public KvStorage {
 public:
  HostKvStorage(const KvLayout& layout, std::byte* memory, size_t bytes)
      : layout_(layout), memory_(memory), bytes_(bytes) {}
  ~HostKvStorage() override { munmap(memory_, bytes_); }
  HostKvStorage(const HostKvStorage&) = delete;
  HostKvStorage& operator=(const HostKvStorage&) = delete;

  std::byte* pages() const override { return memory_; }
  void copy_page(KvPageCopy copy) override { std::memcpy(page(copy.to), page(copy.from), layout_.page_bytes()); }

  void move_slots(std::span<const KvMove> moves) override {
    const int end = layout_.first_layer + layout_.n_layers;
    for (int layer = layout_.first_layer; layer < end; ++layer) {  // a layer of a page fits the cache, the page may not
      for (const KvMove& m : moves) {
        for (int head = 0; head < layout_.n_kv_heads; ++head) {
          move(m, layout_.key(layer, head, m.from), layout_.key(layer, head, m.to), layout_.head_dim);
          move(m, layout_.value(layer, head, m.from), layout_.value(layer, head, m.to), layout_.padded_head_dim());
        }
      }
    }
  }

 private:
  std::byte* page(int number) const { return memory_ + usize(number) * layout_.page_bytes(); }
  void move(const KvMove& m, const KvLayout::Place& from, const KvLayout::Place& to, int numbers) const {
    const std::byte* from_page = page(m.from_page);
    std::byte* to_page = page(m.to_page);
    copy(from_page + from.numbers, to_page + to.numbers, usize(numbers), layout_.element_bytes(), from.step);
    const auto blocks = usize(layout_.scale_blocks());
    if (blocks > 0) copy(from_page + from.scales, to_page + to.scales, blocks, 2, from.scale_step);
  }

  KvLayout layout_;
  std::byte* memory_;
  size_t bytes_;
};

}  // namespace

Result<std::unique_ptr<KvStorage>> make_host_kv_storage(const KvLayout& layout, size_t n_pages) {
  const size_t bytes = std::max<size_t>(1, n_pages * layout.page_bytes());  // a part without layers has no bytes
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Error{std::strerror(errno)};
  return std::unique_ptr<KvStorage>(std::make_unique<HostKvStorage>(layout, static_cast<std::byte*>(memory), bytes));
}

}  // namespace s3d
