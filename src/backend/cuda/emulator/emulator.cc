#include "backend/cuda/emulator/emulator.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/index.h"
#include "base/splitmix64.h"

namespace s3d::emulator {
namespace {

constexpr unsigned kWarp = 32;
constexpr size_t kStackBytes = size_t{64} << 10;
constexpr int kPoison = 0xff;

// The emulator whose kernel runs on this thread: kernels are plain functions, which nobody hands it to.
thread_local Emulator* running_emulator = nullptr;

}  // namespace

Emulator& Emulator::current() {
  S3D_CHECK(running_emulator != nullptr, "device code outside of a launch");
  return *running_emulator;
}

Emulator::~Emulator() {
  if (stacks_ != nullptr) munmap(stacks_, stack_count_ * kStackBytes);
}

unsigned Emulator::draw(unsigned below) {
  random_ += 0x9e3779b97f4a7c15U;
  return static_cast<unsigned>(splitmix64(random_) % below);
}

void Emulator::launch(const Launch& launch) {
  const Dim& blocks = launch.blocks;
  const unsigned threads = launch.threads;
  S3D_CHECK(threads > 0 && threads <= 1024 && threads % kWarp == 0, "a block has 32, 64 … 1024 threads");
  S3D_CHECK(blocks.x > 0 && blocks.y > 0 && blocks.z > 0, "a launch without blocks");
  S3D_CHECK(running_emulator == nullptr, "a launch inside of a kernel");
  if (captures_) return captured_.push_back(launch);
  if (stack_count_ < threads) {
    if (stacks_ != nullptr) munmap(stacks_, stack_count_ * kStackBytes);
    void* memory = mmap(nullptr, threads * kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    S3D_CHECK(memory != MAP_FAILED, "no memory for the stacks of a block");
    stacks_ = static_cast<std::byte*>(memory);
    stack_count_ = threads;
  }
  kernel_ = &launch.kernel;
  blocks_ = blocks;
  lanes_ = std::vector<Lane>(threads);
  warps_ = std::vector<Warp>(threads / kWarp);
  if (!launch.early) all_ended();
  note_memory();
  run_blocks(launch);
  find_changes();
}

void Emulator::run_blocks(const Launch& launch) {
  const Dim& blocks = launch.blocks;
  std::vector<unsigned> order(blocks.x * blocks.y * blocks.z);
  std::iota(order.begin(), order.end(), 0U);
  for (size_t left = order.size(); left > 0; --left) {
    std::swap(order[left - 1], order[draw(static_cast<unsigned>(left))]);
    const unsigned index = order[left - 1];
    block_ = {index % blocks.x, index / blocks.x % blocks.y, index / blocks.x / blocks.y};
    running_emulator = this;
    run_block(launch);
    running_emulator = nullptr;
  }
}

void Emulator::begin_capture() {
  S3D_CHECK(!captures_, "a capture inside of a capture");
  captures_ = true;
}

std::vector<Emulator::Launch> Emulator::end_capture() {
  S3D_CHECK(captures_, "the end of a capture that was not begun");
  captures_ = false;
  return std::exchange(captured_, {});
}

void Emulator::run_thread(void* self) {
  (*static_cast<Emulator*>(self)->kernel_)();
}

void Emulator::run_block(const Launch& launch) {
  const size_t shared_bytes = launch.shared_bytes;
  hide_changes();
  shared_ = std::make_unique<std::byte[]>(shared_bytes);
  std::memset(shared_.get(), kPoison, shared_bytes);
  in_barrier_ = done_ = 0;
  draw_order();
  for (size_t i = 0; i < lanes_.size(); ++i) {
    lanes_[i].at = Meeting::kNone;
    lanes_[i].waited = false;
    lanes_[i].copies.assign(1, {});
    lanes_[i].fiber.start(stacks_ + i * kStackBytes, kStackBytes, &run_thread, this);
  }
  while (take_ready()) {
    Lane& lane = lanes_[running_];
    lane.fiber.resume();
    if (!lane.fiber.done()) continue;
    ++done_;
    if (launch.early && !lane.waited) report("a thread ends that has not waited for the kernel before");
    for (const std::vector<Copy>& group : lane.copies) {
      if (!group.empty()) report("a thread ends before its asynchronous copies were waited for");
    }
  }
  if (done_ < lanes_.size()) report("threads wait for others that do not come");
}

// All threads are ready. In every other block the warps do not run at one pace: one goes on as long as it can before
// the next one moves. That finds what is wrong only when a warp is far ahead of others.
void Emulator::draw_order() {
  at_one_pace_ = draw(2) == 0;
  order_.resize(warps_.size());
  std::iota(order_.begin(), order_.end(), 0U);
  for (size_t left = order_.size(); left > 1; --left) {
    std::swap(order_[left - 1], order_[draw(static_cast<unsigned>(left))]);
  }
  for (size_t w = 0; w < warps_.size(); ++w) {
    warps_[w].ready.resize(kWarp);
    std::iota(warps_[w].ready.begin(), warps_[w].ready.end(), static_cast<unsigned>(w) * kWarp);
  }
}

// The thread that runs next; false: none is ready.
bool Emulator::take_ready() {
  const size_t first = at_one_pace_ ? draw(static_cast<unsigned>(order_.size())) : 0;
  for (size_t i = 0; i < order_.size(); ++i) {
    std::vector<unsigned>& ready = warps_[order_[(first + i) % order_.size()]].ready;
    if (ready.empty()) continue;
    std::swap(ready[draw(static_cast<unsigned>(ready.size()))], ready.back());
    running_ = ready.back();
    ready.pop_back();
    return true;
  }
  return false;
}

void Emulator::report(const char* what) const {
  static constexpr const char* kNames[] = {"running", "__syncthreads", "__syncwarp",       "shuffle",
                                           "ballot",  "mma",           "wait_for_previous"};
  std::string text = fmt::format("{}; block ({}, {}, {})", what, block_.x, block_.y, block_.z);
  const auto same = [&](size_t a, size_t b) {
    return lanes_[a].at == lanes_[b].at && lanes_[a].line == lanes_[b].line &&
           lanes_[a].fiber.done() == lanes_[b].fiber.done();
  };
  for (size_t i = 0, first = 0; i < lanes_.size(); ++i) {  // threads that follow each other and wait alike, together
    if (i + 1 < lanes_.size() && same(first, i + 1)) continue;
    const Lane& lane = lanes_[first];
    text +=
        fmt::format("\n  threads {} to {}: {}", first, i,
                    lane.fiber.done()           ? std::string("done")
                    : lane.at == Meeting::kNone ? std::string("running")
                                                : fmt::format("at {} in line {}", kNames[usize(lane.at)], lane.line));
    first = i + 1;
  }
  check_failed(__FILE__, __LINE__, "emulated kernel", text);
}

// ---- Meetings ------------------------------------------------------------------------------------------------------

void Emulator::meet(Meeting meeting, Where where) {
  Lane& lane = lanes_[running_];
  lane.at = meeting;
  lane.line = where.line();
  const bool of_block = is_of_block(meeting);
  const unsigned warp = running_ / kWarp, first = of_block ? 0 : warp * kWarp;
  const unsigned count = of_block ? thread_count() : kWarp;
  for (unsigned i = first; i < first + count; ++i) {  // all that are at a meeting of this circle are at this one
    const Lane& other = lanes_[i];
    if (other.fiber.done()) report("a meeting after the end of some threads");
    const bool in_circle = of_block ? is_of_block(other.at) : other.at != Meeting::kNone;
    if (in_circle && (other.at != meeting || other.line != lane.line)) report("threads meet at different places");
  }
  unsigned& arrived = of_block ? in_barrier_ : warps_[warp].arrived;
  if (++arrived == count) {
    arrived = 0;
    if (!of_block) finish_warp(warp);
    if (meeting == Meeting::kPrevious) show_changes();
    release(first, count);
  }
  const unsigned self = running_;
  lanes_[self].fiber.suspend();
}

void Emulator::release(unsigned first, unsigned count) {
  for (unsigned i = first; i < first + count; ++i) {
    lanes_[i].at = Meeting::kNone;
    warps_[i / kWarp].ready.push_back(i);
  }
}

// What the lanes of a warp get from their meeting.
void Emulator::finish_warp(unsigned warp) {
  const std::span<Lane> lanes = std::span(lanes_).subspan(warp * kWarp, kWarp);
  if (lanes[0].at == Meeting::kShuffle) {
    std::array<uint32_t, kWarp> values;
    for (unsigned i = 0; i < kWarp; ++i) values[i] = lanes[i].value;
    for (Lane& lane : lanes) lane.value = values[lane.from % kWarp];
  } else if (lanes[0].at == Meeting::kBallot) {
    uint32_t votes = 0;
    for (unsigned i = 0; i < kWarp; ++i) votes |= lanes[i].value << i;
    for (Lane& lane : lanes) lane.value = votes;
  } else if (lanes[0].at == Meeting::kMultiply) {
    for (const Lane& lane : lanes) {
      if (lane.shape != lanes[0].shape || lane.signed_a != lanes[0].signed_a) report("threads differ in their mma");
    }
    multiply_fragments(lanes[0].shape, lanes[0].signed_a, warps_[warp].fragments);
  }
}

bool Emulator::is_left_out(Where where) {
  if (!notes_barriers && left_out_barrier.empty()) return false;
  const std::string_view path = where.file_name();
  const std::string site = fmt::format("{}:{}", path.substr(path.rfind('/') + 1), where.line());
  if (notes_barriers) barriers_.insert(site);
  return site == left_out_barrier;
}

void Emulator::sync_block(Where where) {
  if (is_left_out(where)) return;
  meet(Meeting::kBlock, where);
}

// A meeting only where it shows who reads too early: a card lets a thread go on alone.
void Emulator::wait_for_previous(Where where) {
  const unsigned self = running_;
  if (!watched_.empty()) meet(Meeting::kPrevious, where);
  lanes_[self].waited = true;
}

void Emulator::sync_warp(Where where) {
  if (is_left_out(where)) return;
  meet(Meeting::kWarp, where);
}

uint32_t Emulator::shuffle(uint32_t value, unsigned from, Where where) {
  Lane& lane = lanes_[running_];
  lane.value = value;
  lane.from = from;
  meet(Meeting::kShuffle, where);
  return lane.value;
}

uint32_t Emulator::ballot(bool vote, Where where) {
  Lane& lane = lanes_[running_];
  lane.value = vote ? 1 : 0;
  meet(Meeting::kBallot, where);
  return lane.value;
}

void Emulator::multiply(MmaShape shape, bool signed_a, MmaFragment& fragment, Where where) {
  const unsigned self = running_;
  lanes_[self].shape = shape;
  lanes_[self].signed_a = signed_a;
  MmaFragment& slot = warps_[self / kWarp].fragments[self % kWarp];
  slot = fragment;
  if (swaps_registers && shape == MmaShape::kM16N8K32) std::swap(slot.a[1], slot.a[2]);
  meet(Meeting::kMultiply, where);
  fragment.c = slot.c;
}

// ---- Kernels that start early ---------------------------------------------------------------------------------------

void Emulator::watch(std::byte* memory, size_t bytes) {
  watched_.push_back({memory, std::vector<std::byte>(bytes)});
}

void Emulator::forget(const std::byte* memory) {
  std::erase_if(watched_, [&](const Memory& watched) { return watched.begin == memory; });
  all_ended();
}

void Emulator::note_memory() {
  for (Memory& memory : watched_) std::memcpy(memory.before.data(), memory.begin, memory.before.size());
}

void Emulator::find_changes() {
  constexpr size_t kPiece = 32;
  changes_.clear();
  for (const Memory& memory : watched_) {
    for (size_t at = 0; at < memory.before.size(); at += kPiece) {
      const size_t bytes = std::min(kPiece, memory.before.size() - at);
      if (std::memcmp(&memory.before[at], memory.begin + at, bytes) == 0) continue;
      for (size_t i = at; i < at + bytes; ++i) {
        if (memory.before[i] != memory.begin[i]) changes_.push_back({memory.begin + i, {}});
      }
    }
  }
}

// What the launch before wrote, until the block has waited for it.
void Emulator::hide_changes() {
  for (Change& change : changes_) change.value = std::exchange(*change.byte, std::byte{kPoison});
}

void Emulator::show_changes() {
  for (const Change& change : changes_) *change.byte = change.value;
}

// ---- Asynchronous copies -------------------------------------------------------------------------------------------

void Emulator::copy_async(void* shared, const void* global, size_t bytes) {
  S3D_CHECK(reinterpret_cast<uintptr_t>(shared) % bytes == 0 && reinterpret_cast<uintptr_t>(global) % bytes == 0,
            "an asynchronous copy between addresses that are not aligned to its size");
  std::memset(shared, kPoison, bytes);
  lanes_[running_].copies.back().push_back({shared, global, bytes});
}

void Emulator::commit_copies() {
  lanes_[running_].copies.emplace_back();
}

void Emulator::wait_copies(size_t open_groups) {
  std::vector<std::vector<Copy>>& groups = lanes_[running_].copies;
  while (groups.size() > open_groups + 1) {  // the open one does not count
    for (const Copy& copy : groups.front()) std::memcpy(copy.to, copy.from, copy.bytes);
    groups.erase(groups.begin());
  }
}

}  // namespace s3d::emulator
