#include "serve/model_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <map>

#include "serve/fake_model.h"

namespace s3d::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Models whose clock and loading a test holds in its hands.
struct FakePool {
  std::atomic<int64_t> clock = 1000;
  std::mutex mutex;
  std::vector<std::string> events;  // "load a", "close a"; by mutex
  std::map<std::string, std::shared_ptr<FakeModel>> models;
  std::vector<ModelSource> later;  // what a scan finds
  int64_t budget = 0;

  void note(std::string event) {
    const std::lock_guard lock(mutex);
    events.push_back(std::move(event));
  }
  std::vector<std::string> noted() {
    const std::lock_guard lock(mutex);
    return events;
  }

  PoolOptions options() {
    return {.keep_alive = 60,
            .memory_budget = budget,
            .now = [this] { return clock.load(); },
            .scan = [this] { return later; },
            .read_card = [](const ModelSource& source) -> Result<ModelCard> {
              if (source.path == "broken") return Error{"no model"};
              ModelCard card;
              card.id = source.id;
              card.file_bytes = 1000;
              return card;
            },
            .load = [this](const ModelSource& source) -> Result<LoadedModel> {
              if (source.path == "bad") return Error{"cannot be loaded"};
              note("load " + source.id);
              auto model = std::make_shared<FakeModel>();
              model->card().id = source.id;
              model->busy = busy;
              {
                const std::lock_guard lock(mutex);
                models[source.id] = model;
              }
              return LoadedModel{model, [this, id = source.id](std::chrono::milliseconds) { note("close " + id); }};
            }};
  }
  int busy = 0;  // running jobs of models that are loaded from now on

  static std::string open(ModelPool& pool, const std::string& name, KeepAlive keep_alive = {}) {
    std::promise<std::string> promise;
    pool.open(name, keep_alive, [&](Result<std::shared_ptr<ModelService>> model) {
      promise.set_value(model.ok() ? (*model)->card().id : "error: " + model.error().message);
    });
    return promise.get_future().get();
  }
  // Waits until the pool's thread has done it.
  void wait_for(const std::string& event) {
    for (int i = 0; i < 2000; ++i) {
      if (const auto list = noted(); std::find(list.begin(), list.end(), event) != list.end()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "never happened: " << event;
  }
};

const std::vector<ModelSource> kSources = {{"a", {"first"}, "a.gguf"}, {"b", {}, "b.gguf"}, {"c", {}, "bad"}};

TEST(ModelPool, LoadsWhatIsAskedFor) {
  FakePool fake;
  ModelPool pool(kSources, fake.options());
  EXPECT_TRUE(pool.ready());
  EXPECT_EQ(FakePool::open(pool, ""), "a");
  EXPECT_EQ(FakePool::open(pool, "b:latest"), "b");
  EXPECT_EQ(FakePool::open(pool, "first"), "a");
  EXPECT_EQ(FakePool::open(pool, "none"), "error: model 'none' is not served here");
  EXPECT_EQ(FakePool::open(pool, "c"), "error: c: cannot be loaded");
  EXPECT_THAT(fake.noted(), ElementsAre("load a", "load b"));
  EXPECT_EQ(pool.list().size(), 3U);
  EXPECT_TRUE(pool.find("a")->loaded);
  EXPECT_EQ(pool.find("a")->expires, 1060);
  EXPECT_FALSE(pool.find("c")->loaded);
  EXPECT_FALSE(pool.find("none").has_value());
}

TEST(ModelPool, LeavesOutFilesThatAreNoModels) {
  FakePool fake;
  ModelPool pool({{"x", {}, "broken"}, {"a", {}, "a.gguf"}}, fake.options());
  EXPECT_EQ(pool.list().size(), 1U);
  EXPECT_EQ(pool.find("")->card.id, "a");
}

TEST(ModelPool, FindsModelsThatCameLater) {
  FakePool fake;
  ModelPool pool({{"a", {}, "a.gguf"}}, fake.options());
  fake.later = {{"a", {}, "a.gguf"}, {"new", {}, "new.gguf"}};
  pool.rescan();
  EXPECT_EQ(pool.list().size(), 2U);
  EXPECT_EQ(FakePool::open(pool, "new"), "new");
}

TEST(ModelPool, UnloadsWhatNobodyAsksFor) {
  FakePool fake;
  ModelPool pool(kSources, fake.options());
  FakePool::open(pool, "a");
  fake.clock = 1030;
  FakePool::open(pool, "b", {.seconds = -1});
  fake.clock = 1061;
  fake.models.erase("a");
  fake.wait_for("close a");
  EXPECT_FALSE(pool.find("a")->loaded);
  EXPECT_TRUE(pool.find("b")->loaded);
  EXPECT_EQ(pool.find("b")->expires, 0);
  EXPECT_EQ(FakePool::open(pool, "a"), "a");
}

TEST(ModelPool, KeepsAModelThatIsAtWork) {
  FakePool fake;
  fake.busy = 1;
  ModelPool pool(kSources, fake.options());
  FakePool::open(pool, "a", {.seconds = 0});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(pool.find("a")->loaded);
  fake.models["a"]->busy = 0;
  fake.models.erase("a");
  fake.wait_for("close a");
}

TEST(ModelPool, UnloadsOnDemand) {
  FakePool fake;
  ModelPool pool(kSources, fake.options());
  FakePool::open(pool, "a", {.seconds = -1});
  fake.models.erase("a");
  pool.unload("first");
  fake.wait_for("close a");
}

TEST(ModelPool, StaysWithinItsMemory) {
  FakePool fake;
  fake.budget = 4000;  // a fake takes 2000, and 2000 are asked for before it is loaded
  ModelPool pool({{"a", {}, "a"}, {"b", {}, "b"}, {"d", {}, "d"}}, fake.options());
  FakePool::open(pool, "a");
  fake.clock = 1001;
  FakePool::open(pool, "b");
  fake.models.clear();
  fake.clock = 1002;
  FakePool::open(pool, "a");  // so b is the one that was not used longest
  EXPECT_EQ(FakePool::open(pool, "d"), "d");
  fake.wait_for("close b");
  EXPECT_TRUE(pool.find("a")->loaded);
  EXPECT_FALSE(pool.find("b")->loaded);
}

TEST(ModelPool, SaysWhenThereIsNoMemory) {
  FakePool fake;
  fake.budget = 3000;
  fake.busy = 1;
  ModelPool pool(kSources, fake.options());
  EXPECT_EQ(FakePool::open(pool, "a"), "a");
  EXPECT_THAT(FakePool::open(pool, "b"), HasSubstr("no memory for b"));
  fake.models["a"]->busy = 0;
}

TEST(ModelPool, LoadsTheFirstToStay) {
  FakePool fake;
  ModelPool pool(kSources, fake.options());
  EXPECT_TRUE(pool.load_first().ok());
  EXPECT_TRUE(pool.ready());
  FakePool::open(pool, "a", {.seconds = 0});
  EXPECT_EQ(pool.find("")->expires, 0);
  ModelPool bad({{"c", {}, "bad"}}, fake.options());
  EXPECT_EQ(bad.load_first().error().message, "c: cannot be loaded");
  EXPECT_FALSE(bad.ready());
  ModelPool none({}, fake.options());
  EXPECT_FALSE(none.load_first().ok());
}

TEST(ModelPool, ClosesAllModels) {
  FakePool fake;
  {
    ModelPool pool(kSources, fake.options());
    FakePool::open(pool, "a");
    FakePool::open(pool, "b");
    pool.close(std::chrono::milliseconds(0));
    EXPECT_EQ(FakePool::open(pool, "a"), "error: model 'a' is not served here");
  }
  EXPECT_THAT(fake.noted(), ElementsAre("load a", "load b", "close a", "close b"));
}

}  // namespace
}  // namespace s3d::serve
