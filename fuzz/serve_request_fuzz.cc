// Fuzz entry: any bytes as the body of a request to each route. The first byte chooses the route. The model answers
// with two tokens; whatever the body is, each request gets one answer, and that is JSON where it says so.
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "serve/app.h"

namespace s3d::serve {
namespace {

// Tokens are bytes. Jobs end on a thread of their own, as with a real model.
class Model final : public ModelService {
 public:
  Model() {
    card_.id = "m";
    card_.family = "llama";
    card_.context = 512;
    card_.vocab_size = 256;
    card_.chat_template = "tools think";
  }
  ~Model() override { join(); }
  void join() {
    std::vector<std::thread> threads;
    {
      const std::lock_guard lock(mutex_);
      threads.swap(threads_);
    }
    for (std::thread& thread : threads) thread.join();
  }

  const ModelCard& card() const override { return card_; }
  std::vector<TokenId> tokenize(std::string_view text, bool /*add*/, bool /*parse*/) const override {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string piece(TokenId id, bool /*special*/) const override {
    S3D_CHECK(id >= 0 && id < 256, "a token that was not checked");
    return std::string(1, static_cast<char>(id));
  }
  TokenId find(std::string_view token) const override { return token.find("fim") == std::string_view::npos ? -1 : 1; }
  Result<ChatPrompt> render(const ChatInput& chat) const override {
    if (!parse_json(chat.messages).ok()) return Error{"no JSON"};
    return ChatPrompt{chat.messages, {}};
  }
  std::vector<TokenId> tokenize_chat(const ChatPrompt& prompt) const override {
    return tokenize(prompt.text, false, false);
  }
  Result<std::shared_ptr<Constraint>> constrain(const ConstraintSpec& /*spec*/) const override {
    return std::shared_ptr<Constraint>();
  }
  Submitted submit(std::vector<Job> jobs) override {
    Submitted submitted;
    const std::lock_guard lock(mutex_);
    for (Job& job : jobs) {
      submitted.ids.push_back(1);
      S3D_CHECK(job.sampler.check(card_.vocab_size).ok(), "settings that were not checked");
      threads_.emplace_back([job = std::move(job)] {
        const std::vector<AnswerToken> tokens = {{.id = 'a', .top = {{'b', -1}}}, {.id = 0xFF}};
        job.on_piece({"a", tokens});
        job.on_end({.answer_tokens = 2});
      });
    }
    return submitted;
  }
  void cancel(JobId /*id*/) override {}
  LoadStats load() const override { return {}; }
  std::vector<JobState> jobs() const override { return {}; }

 private:
  ModelCard card_;
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

class Models final : public ModelDirectory {
 public:
  std::shared_ptr<Model> model = std::make_shared<Model>();
  std::vector<ModelEntry> list() const override { return {{model->card(), true, 0}}; }
  std::optional<ModelEntry> find(std::string_view /*name*/) const override { return list()[0]; }
  void open(std::string_view /*name*/, KeepAlive /*keep_alive*/, OnReady on_ready) override {
    on_ready(std::shared_ptr<ModelService>(model));
  }
  std::shared_ptr<ModelService> loaded(std::string_view /*name*/) const override { return model; }
  void unload(std::string_view /*name*/) override {}
  bool ready() const override { return true; }
};

class Client final : public http::Responder {
 public:
  void send(int status, http::Headers headers, std::string body) override {
    S3D_CHECK(status != 500, "a body alone breaks nothing");
    const bool json = headers.value_or("Content-Type", "").starts_with("application/json");
    S3D_CHECK(!json || Json::accept(body), "the answer is JSON");
    finish();
  }
  void begin(int /*status*/, http::Headers /*headers*/) override {}
  bool write(std::string_view /*chunk*/) override { return true; }
  void end() override { finish(); }
  void on_closed(std::function<void()> /*left*/) override {}
  bool closed() const override { return false; }
  size_t buffered() const override { return 0; }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
  }

 private:
  void finish() {
    const std::lock_guard lock(mutex_);
    S3D_CHECK(!done_, "answered once");
    done_ = true;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
};

void answer_once(const uint8_t* data, size_t size) {
  static Models models;
  static App app(models, {});
  const Route& route = routes()[data[0] % routes().size()];
  http::Request request;
  request.method = route.method;
  request.path = route.path;
  request.body.assign(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto client = std::make_shared<Client>();
  app.handle(std::move(request), client);
  client->wait();
  models.model->join();
}

}  // namespace
}  // namespace s3d::serve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) s3d::serve::answer_once(data, size);
  return 0;
}
