#include "serve/model_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace s3d::serve {
namespace {

constexpr std::string_view kLatest = ":latest";
// A model takes about its file again for the KV cache and buffers that come with it.
constexpr int64_t kLoadFactor = 2;

bool is_idle(const ModelService& model) {
  const LoadStats load = model.load();
  return load.waiting == 0 && load.running == 0;
}

}  // namespace

struct ModelPool::Slot {
  ModelSource source;
  ModelCard card;      // of the file, or of the loaded model
  LoadedModel loaded;  // null service: it is not
  int64_t keep = 0;    // seconds after the last request; negative: for ever
  bool stays = false;  // whatever requests say of keep_alive
  int64_t used = 0;    // when it was asked for last, or seen at work

  int64_t expires() const { return keep < 0 ? 0 : used + keep; }
};

ModelPool::ModelPool(const std::vector<ModelSource>& sources, PoolOptions options) : options_(std::move(options)) {
  add(sources);
  thread_ = std::thread([this] { run(); });
}

ModelPool::~ModelPool() {
  close(std::chrono::milliseconds(0));
}

int64_t ModelPool::now() const {
  if (options_.now) return options_.now();
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void ModelPool::add(const std::vector<ModelSource>& sources) {
  for (const ModelSource& source : sources) {
    {
      const std::lock_guard lock(mutex_);
      if (slot_of(source.id) != nullptr) continue;
    }
    Result<ModelCard> card = options_.read_card(source);
    if (!card.ok()) continue;
    auto slot = std::make_unique<Slot>();
    slot->source = source;
    slot->card = std::move(*card);
    const std::lock_guard lock(mutex_);
    slots_.push_back(std::move(slot));
  }
}

void ModelPool::rescan() {
  if (options_.scan) add(options_.scan());
}

ModelPool::Slot* ModelPool::slot_of(std::string_view name) const {
  if (name.ends_with(kLatest)) name.remove_suffix(kLatest.size());
  if (name.empty()) return slots_.empty() ? nullptr : slots_.front().get();
  for (const auto& slot : slots_) {
    const auto& aliases = slot->source.aliases;
    if (slot->source.id == name || std::find(aliases.begin(), aliases.end(), name) != aliases.end()) return slot.get();
  }
  return nullptr;
}

std::vector<ModelEntry> ModelPool::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<ModelEntry> entries;
  for (const auto& slot : slots_) {
    const bool loaded = slot->loaded.service != nullptr;
    entries.push_back({slot->card, loaded, loaded ? slot->expires() : 0});
  }
  return entries;
}

std::optional<ModelEntry> ModelPool::find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const Slot* slot = slot_of(name);
  if (slot == nullptr) return {};
  const bool loaded = slot->loaded.service != nullptr;
  return ModelEntry{slot->card, loaded, loaded ? slot->expires() : 0};
}

std::shared_ptr<ModelService> ModelPool::loaded(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const Slot* slot = slot_of(name);
  return slot == nullptr ? nullptr : slot->loaded.service;
}

bool ModelPool::ready() const {
  const std::lock_guard lock(mutex_);
  return !first_is_awaited_;
}

void ModelPool::touch(Slot& slot, KeepAlive keep_alive) const {
  slot.used = now();
  if (keep_alive.seconds && !slot.stays) slot.keep = *keep_alive.seconds;
}

void ModelPool::open(std::string_view name, KeepAlive keep_alive, OnReady on_ready) {
  std::shared_ptr<ModelService> service;
  {
    const std::lock_guard lock(mutex_);
    Slot* slot = closing_ ? nullptr : slot_of(name);
    if (slot != nullptr && slot->loaded.service == nullptr) {
      wanted_.push_back({slot->source.id, keep_alive, std::move(on_ready)});
      wake_.notify_all();
      return;
    }
    if (slot != nullptr) {
      touch(*slot, keep_alive);
      service = slot->loaded.service;
    }
  }
  if (service == nullptr) return on_ready(Error{fmt::format("model '{}' is not served here", name)});
  on_ready(std::move(service));
}

Status ModelPool::load_first() {
  Slot* first = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (slots_.empty()) return Error{"there is no model that can be served"};
    first = slots_.front().get();
    first_is_awaited_ = true;
  }
  S3D_TRY(load_slot(*first));
  const std::lock_guard lock(mutex_);
  first->keep = -1;
  first->stays = true;
  first_is_awaited_ = false;
  return Ok();
}

void ModelPool::run() {
  constexpr auto kTick = std::chrono::seconds(1);
  for (;;) {
    std::deque<Wanted> wanted;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kTick, [this] { return closing_ || !wanted_.empty(); });
      if (closing_) break;
      wanted.swap(wanted_);
    }
    for (const Wanted& one : wanted) serve_one(one);
    unload_idle();
    end_retired();
  }
  std::deque<Wanted> refused;
  {
    const std::lock_guard lock(mutex_);
    refused.swap(wanted_);
  }
  for (Wanted& one : refused) one.on_ready(Error{"the server is shutting down"});
}

void ModelPool::serve_one(const Wanted& wanted) {
  Slot* slot = nullptr;
  {
    const std::lock_guard lock(mutex_);
    slot = slot_of(wanted.id);
  }
  Result<std::shared_ptr<ModelService>> service = load_slot(*slot);
  if (service.ok()) {
    const std::lock_guard lock(mutex_);
    touch(*slot, wanted.keep_alive);
  }
  wanted.on_ready(std::move(service));
}

Result<std::shared_ptr<ModelService>> ModelPool::load_slot(Slot& slot) {
  const std::lock_guard one_at_a_time(load_mutex_);
  {
    const std::lock_guard lock(mutex_);
    if (slot.loaded.service != nullptr) return slot.loaded.service;
  }
  S3D_TRY(make_room(slot));
  auto model = options_.load(slot.source);
  if (!model.ok()) return model.error().within(slot.source.id);
  const std::lock_guard lock(mutex_);
  slot.loaded = std::move(*model);
  slot.card = slot.loaded.service->card();
  slot.keep = options_.keep_alive;
  slot.used = now();
  return slot.loaded.service;
}

// Unloads models that have nothing to do, the one longest unused first, until `wanted` fits. Error: it does not.
Status ModelPool::make_room(const Slot& wanted) {
  if (options_.memory_budget <= 0) return Ok();
  const std::lock_guard lock(mutex_);
  for (;;) {
    int64_t taken = 0;
    Slot* oldest = nullptr;
    for (const auto& slot : slots_) {
      if (slot->loaded.service == nullptr) continue;
      taken += slot->card.loaded_bytes;
      if (is_idle(*slot->loaded.service) && (oldest == nullptr || slot->used < oldest->used)) oldest = slot.get();
    }
    if (taken == 0 || taken + kLoadFactor * wanted.card.file_bytes <= options_.memory_budget) return Ok();
    if (oldest == nullptr) {
      return Error{fmt::format("no memory for {}: other models are at work; try again later, or allow more memory",
                               wanted.source.id)};
    }
    retire(*oldest);
  }
}

void ModelPool::unload(std::string_view name) {
  const std::lock_guard lock(mutex_);
  Slot* slot = slot_of(name);
  if (slot == nullptr || slot->loaded.service == nullptr) return;
  slot->keep = 0;  // unload_idle() does it when the jobs are done
  slot->stays = false;
  wake_.notify_all();
}

void ModelPool::unload_idle() {
  const std::lock_guard lock(mutex_);
  for (const auto& slot : slots_) {
    if (slot->loaded.service == nullptr || slot->keep < 0) continue;
    if (!is_idle(*slot->loaded.service)) {
      slot->used = now();
    } else if (now() >= slot->expires()) {
      retire(*slot);
    }
  }
}

// By mutex_. Calls may still hold the service; end_retired() ends it when none does.
void ModelPool::retire(Slot& slot) {
  retired_.push_back(std::move(slot.loaded));
  slot.loaded = {};
  slot.card.loaded_bytes = 0;
}

void ModelPool::end_retired() {
  std::vector<LoadedModel> free;
  {
    const std::lock_guard lock(mutex_);
    const auto used = [](const LoadedModel& model) { return model.service.use_count() > 2; };  // here and in close()
    const auto at = std::partition(retired_.begin(), retired_.end(), used);
    std::move(at, retired_.end(), std::back_inserter(free));
    retired_.erase(at, retired_.end());
  }
  for (const LoadedModel& model : free) model.close(std::chrono::milliseconds(0));
}

void ModelPool::close(std::chrono::milliseconds drain) {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  std::vector<LoadedModel> models;
  {
    const std::lock_guard lock(mutex_);
    models = std::exchange(retired_, {});
    for (const auto& slot : slots_) {
      if (slot->loaded.service != nullptr) models.push_back(std::exchange(slot->loaded, {}));
    }
  }
  // One after the other: each has the whole time only if the first ends early. Models at work at once are rare.
  for (const LoadedModel& model : models) model.close(drain);
}

}  // namespace s3d::serve
