#include "backend/cuda/device_kv_storage.h"

#include <fmt/format.h>

#include <vector>

#include "backend/cuda/buffer.h"
#include "base/index.h"

namespace s3d::cuda {
namespace {

class DeviceKvStorage : public KvStorage {
 public:
  DeviceKvStorage(std::shared_ptr<Device> device, const KvLayout& layout, Buffer<std::byte> pages,
                  Buffer<MoveTask::Move> moves)
      : device_(std::move(device)), layout_(layout), pages_(std::move(pages)), moves_(std::move(moves)) {}

  std::byte* pages() const override { return pages_.data(); }
  void copy_page(KvPageCopy copy) override { device_->copy(page(copy.to), page(copy.from), layout_.page_bytes()); }

  void move_slots(std::span<const KvMove> moves) override {
    if (layout_.n_layers == 0) return;  // a part of a divided model that has the LM head alone
    std::vector<MoveTask::Move> task_moves;
    for (const KvMove& m : moves) task_moves.push_back({page(m.from_page), page(m.to_page), m.from, m.to});
    const bool uploaded = moves_.assign(*device_, task_moves);
    S3D_CHECK(uploaded, "no memory on the device for a list of moves");
    device_->kernels().moves(device_->stream(), {.layout = layout_, .moves = moves_.data(), .n = isize(moves)});
  }

 private:
  std::byte* page(int number) const { return pages_.data() + usize(number) * layout_.page_bytes(); }

  std::shared_ptr<Device> device_;  // outlives what it holds
  KvLayout layout_;
  Buffer<std::byte> pages_;
  Buffer<MoveTask::Move> moves_;
};

}  // namespace

Result<std::unique_ptr<KvStorage>> make_device_kv_storage(std::shared_ptr<Device> device, const KvLayout& layout,
                                                          size_t n_pages, int most_moves) {
  Buffer<std::byte> pages;
  Buffer<MoveTask::Move> moves;
  if (!pages.ensure(*device, n_pages * layout.page_bytes()) || !moves.ensure(*device, usize(most_moves))) {
    return Error{fmt::format("device {} has {} bytes free", device->name(), device->free_bytes())};
  }
  return std::unique_ptr<KvStorage>(
      std::make_unique<DeviceKvStorage>(std::move(device), layout, std::move(pages), std::move(moves)));
}

}  // namespace s3d::cuda
