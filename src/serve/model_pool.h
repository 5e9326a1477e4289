// Several models behind one server: loaded when they are asked for, unloaded when nobody does, within a budget.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "serve/model_service.h"

namespace s3d::serve {

// A model file that can be served.
struct ModelSource {
  std::string id;
  std::vector<std::string> aliases;
  std::string path;
};

// A loaded model and how it is ended.
struct LoadedModel {
  std::shared_ptr<ModelService> service;
  // Ends its jobs, those under way after `drain`, and its thread. Not called on that thread.
  std::function<void(std::chrono::milliseconds drain)> close;
};

struct PoolOptions {
  int64_t keep_alive = 300;      // seconds after the last request; negative: for ever
  int64_t memory_budget = 0;     // bytes of all loaded models; 0: no limit. One model alone is always tried
  std::function<int64_t()> now;  // seconds since 1970; empty: the clock
  std::function<std::vector<ModelSource>()> scan;                  // finds models that came later; empty: none do
  std::function<Result<ModelCard>(const ModelSource&)> read_card;  // of a model that is not loaded
  std::function<Result<LoadedModel>(const ModelSource&)> load;     // on the pool's thread
};

// Thread rule: any thread. A thread of its own loads and unloads.
class ModelPool final : public ModelDirectory {
 public:
  // The first source is the one that an empty name means. A source whose card cannot be read is left out.
  ModelPool(const std::vector<ModelSource>& sources, PoolOptions options);
  ModelPool(const ModelPool&) = delete;
  ModelPool& operator=(const ModelPool&) = delete;
  ~ModelPool() override;  // close(0)

  std::vector<ModelEntry> list() const override;
  std::optional<ModelEntry> find(std::string_view name) const override;
  void open(std::string_view name, KeepAlive keep_alive, OnReady on_ready) override;
  std::shared_ptr<ModelService> loaded(std::string_view name) const override;
  void unload(std::string_view name) override;
  bool ready() const override;

  // Loads the first model now, on the calling thread, to stay until unload(); ready() is false until then.
  Status load_first();
  void rescan();                                      // looks for new models
  void add(const std::vector<ModelSource>& sources);  // those that are not there yet
  // No more models are given out; jobs may go on for so long. Returns when all threads of models have ended.
  void close(std::chrono::milliseconds drain);

 private:
  struct Slot;
  struct Wanted {
    std::string id;
    KeepAlive keep_alive;
    OnReady on_ready;
  };

  void run();
  void serve_one(const Wanted& wanted);
  Result<std::shared_ptr<ModelService>> load_slot(Slot& slot);
  Status make_room(const Slot& wanted);
  void unload_idle();
  void retire(Slot& slot);
  void end_retired();
  void touch(Slot& slot, KeepAlive keep_alive) const;
  Slot* slot_of(std::string_view name) const;  // by mutex_
  int64_t now() const;

  const PoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::unique_ptr<Slot>> slots_;  // by mutex_; a slot never goes
  std::mutex load_mutex_;                     // held while a model is loaded: one at a time
  std::deque<Wanted> wanted_;                 // by mutex_
  std::vector<LoadedModel> retired_;          // by mutex_: unloaded, but somebody may still use them
  bool first_is_awaited_ = false;             // by mutex_
  bool closing_ = false;                      // by mutex_
  std::thread thread_;
};

}  // namespace s3d::serve
