// A model that answers by a script, a server's way to answer, and an exchange over both: for tests of the routes.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/index.h"
#include "serve/app.h"

namespace s3d::serve {

// Tokens 0 … 255 are bytes; 256 is BOS ("<s>"), 257 EOS ("</s>"), 258 … 260 the marks for filling in; 300 + i is piece
// number i of the script. A template writes "role:content|" for each message and "assistant:" at the end.
class FakeModel final : public ModelService {
 public:
  static constexpr TokenId kBos = 256, kFirstPiece = 300;

  std::vector<std::string> script = {"Hel", "lo", "!"};
  std::optional<JobError> refuse;      // submit() says so
  std::optional<JobError> break_with;  // every job ends with it, after `break_after` pieces
  int break_after = 0;
  bool hold = false;  // jobs end only when they are cancelled
  bool fills_in = true;
  std::atomic<int> busy = -1;  // running jobs that load() tells; -1: some numbers for tests of what shows them

  FakeModel() {
    card_.id = "fake";
    card_.aliases = {"other"};
    card_.path = "/models/fake.gguf";
    card_.title = "A fake";
    card_.family = "llama";
    card_.quantization = "Q4_K";
    card_.digest = std::string(64, 'a');
    card_.fingerprint = "fp-1";
    card_.parameters = 134'500'000;
    card_.file_bytes = 1000;
    card_.loaded_bytes = 2000;
    card_.modified = 1'700'000'000;
    card_.context = 64;
    card_.trained_context = 128;
    card_.vocab_size = 1000;
    card_.width = 32;
    card_.layers = 2;
    card_.parallel = 2;
    card_.no_pooling = "this model has no pooling";
    card_.chat_template = "{{ messages }} tools think";
    card_.eos = "</s>";
    card_.drafter = "auto";
  }
  ~FakeModel() override { join(); }
  void join() {  // waits for the end of all jobs
    std::vector<std::thread> threads;
    {
      const std::lock_guard lock(mutex_);
      threads.swap(threads_);
    }
    for (std::thread& thread : threads) thread.join();
  }

  const ModelCard& card() const override { return card_; }
  ModelCard& card() { return card_; }

  std::vector<TokenId> tokenize(std::string_view text, bool add_special, bool /*parse_special*/) const override {
    std::vector<TokenId> ids;
    if (add_special) ids.push_back(kBos);
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string piece(TokenId id, bool special) const override {
    if (id >= 0 && id < 256) return std::string(1, static_cast<char>(id));
    if (id == kBos) return special ? "<s>" : "";
    const int index = id - kFirstPiece;
    return index >= 0 && index < isize(script) ? script[usize(index)] : "";
  }
  TokenId find(std::string_view token) const override {
    const std::map<std::string_view, TokenId> marks = {
        {"<|fim_prefix|>", 258}, {"<|fim_suffix|>", 259}, {"<|fim_middle|>", 260}};
    const auto at = marks.find(token);
    return fills_in && at != marks.end() ? at->second : -1;
  }
  Result<ChatPrompt> render(const ChatInput& chat) const override {
    last_chat = chat;
    std::string text;
    const Result<Json> messages = parse_json(chat.messages);
    for (const Json& message : *messages) {
      if (message["role"] == "tool" && chat.tools.empty()) return Error{"no tools here"};
      text += fmt::format("{}:{}|", message["role"].get<std::string>(), message["content"].get<std::string>());
    }
    return ChatPrompt{text + (chat.add_generation_prompt ? "assistant:" : ""), {}};
  }
  std::vector<TokenId> tokenize_chat(const ChatPrompt& prompt) const override {
    return tokenize(prompt.text, false, false);
  }
  Result<std::shared_ptr<Constraint>> constrain(const ConstraintSpec& spec) const override {
    last_constraint = spec;
    return Error{"keyword 'not' is not supported"};
  }

  Submitted submit(std::vector<Job> jobs) override {
    if (refuse) return {{}, refuse};
    Submitted submitted;
    const std::lock_guard lock(mutex_);
    for (Job& job : jobs) {
      submitted.ids.push_back(++next_id_);
      taken.push_back(job);
      threads_.emplace_back([this, id = next_id_, job = std::move(job)] { run(id, job); });
    }
    return submitted;
  }
  void cancel(JobId id) override {
    const std::lock_guard lock(mutex_);
    cancelled.push_back(id);
    wake_.notify_all();
  }
  LoadStats load() const override {
    if (busy >= 0) return {.running = busy};
    return {.waiting = 3, .running = 2, .kv_used = 16, .kv_capacity = 64};
  }
  std::vector<JobState> jobs() const override {
    return {{.id = 7, .running = true, .prompt_tokens = 5, .answer_tokens = 2}, {.id = 8}};
  }

  // What reached the model.
  std::vector<Job> taken;
  std::vector<JobId> cancelled;
  mutable ChatInput last_chat;
  mutable std::optional<ConstraintSpec> last_constraint;

  int waiting() {  // jobs that are held
    const std::lock_guard lock(mutex_);
    return waiting_;
  }
  std::string prompt_text(size_t job = 0) const {
    std::string text;
    for (const TokenId id : taken.at(job).prompt) text += id < 256 ? piece(id, true) : fmt::format("<{}>", id);
    return text;
  }

 private:
  static AnswerToken token(int index, const Job& job) {
    AnswerToken made{.id = kFirstPiece + index, .logprob = -0.5F};
    if (index % 2 == 1) {
      made.drafted = true;
      made.source = "suffix";
      made.depth = 1;
      made.probability = 0.75F;
    }
    for (int i = 0; i < job.top_logprobs; ++i) made.top.push_back({kFirstPiece + i, -0.5F - static_cast<float>(i)});
    return made;
  }

  static void tell_scores(const Job& job) {
    std::vector<AnswerToken> scores;
    for (int i = 0; i < isize(job.prompt); ++i) {
      AnswerToken scored{.id = job.prompt[usize(i)], .logprob = i == 0 ? NAN : -0.25F * static_cast<float>(i)};
      for (int j = 0; i > 0 && j < job.top_logprobs; ++j) scored.top.push_back({'x', -0.125F});
      scores.push_back(std::move(scored));
    }
    job.on_piece({.text = "", .tokens = {}, .prompt = scores});
  }

  void run(JobId id, const Job& job) {
    JobEnd end;
    if (job.score_prompt) tell_scores(job);
    const int wanted = job.max_tokens < 0 ? isize(script) : std::min(job.max_tokens, isize(script));
    const int most = break_with ? break_after : wanted;
    for (int i = 0; i < most; ++i) {
      const AnswerToken made = token(i, job);
      job.on_piece({script[usize(i)], std::span(&made, 1)});
    }
    if (hold) {
      std::unique_lock lock(mutex_);
      ++waiting_;
      wake_.wait(lock, [&] { return std::find(cancelled.begin(), cancelled.end(), id) != cancelled.end(); });
      end.reason = FinishReason::kCancelled;
    } else if (wanted < isize(script)) {
      end.reason = FinishReason::kLength;
    }
    end.error = break_with;
    end.answer_tokens = most;
    end.timings = {.prompt_tokens = isize(job.prompt),
                   .cached_tokens = 1,
                   .prefill_seconds = 0.5,
                   .decoded_tokens = most - 1,
                   .decode_seconds = 0.25};
    if (job.embed) end.embedding = {0.6F, static_cast<float>(job.prompt.size()) / 10};
    end.spec.num_drafts = 2;
    end.spec.num_draft_tokens = 6;
    end.spec.num_accepted_tokens = 3;
    job.on_end(end);
  }

  ModelCard card_;
  std::mutex mutex_;
  std::condition_variable wake_;
  JobId next_id_ = 0;
  int waiting_ = 0;
  std::vector<std::thread> threads_;
};

// One model that is loaded, and perhaps one that is not.
class FakeDirectory final : public ModelDirectory {
 public:
  std::shared_ptr<FakeModel> model = std::make_shared<FakeModel>();
  bool is_ready = true;
  std::optional<std::string> cannot_open;
  std::optional<KeepAlive> last_keep_alive;
  std::vector<std::string> unloaded;

  std::vector<ModelEntry> list() const override { return {{model->card(), true, 0}}; }
  std::optional<ModelEntry> find(std::string_view name) const override {
    if (name.ends_with(":latest")) name.remove_suffix(7);
    if (!name.empty() && name != "fake" && name != "other") return {};
    return list()[0];
  }
  void open(std::string_view /*name*/, KeepAlive keep_alive, OnReady on_ready) override {
    last_keep_alive = keep_alive;
    if (cannot_open) return on_ready(Error{*cannot_open});
    on_ready(std::shared_ptr<ModelService>(model));
  }
  std::shared_ptr<ModelService> loaded(std::string_view /*name*/) const override { return model; }
  void unload(std::string_view name) override { unloaded.emplace_back(name); }
  bool ready() const override { return is_ready; }
};

// What came back.
struct Reply {
  int status = 0;
  http::Headers headers;
  std::string body;
  bool streamed = false;
  std::vector<std::string> chunks;

  Json json() const { return Json::parse(body); }
  // The JSON of each "data:" line or of each line; "[DONE]" is left out.
  std::vector<Json> events() const {
    std::vector<Json> list;
    for (size_t begin = 0; begin < body.size();) {
      const size_t end = std::min(body.find('\n', begin), body.size());
      std::string line = body.substr(begin, end - begin);
      begin = end + 1;
      if (line.starts_with("data: ")) line = line.substr(6);
      if (line.starts_with("{")) list.push_back(Json::parse(line));
    }
    return list;
  }
};

class FakeResponder final : public http::Responder {
 public:
  void send(int status, http::Headers headers, std::string body) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(reply_.status, 0) << "answered twice";
    reply_.status = status;
    reply_.headers = std::move(headers);
    reply_.body = std::move(body);
    finish();
  }
  void begin(int status, http::Headers headers) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(reply_.status, 0) << "answered twice";
    reply_.status = status;
    reply_.headers = std::move(headers);
    reply_.streamed = true;
  }
  bool write(std::string_view chunk) override {
    const std::lock_guard lock(mutex_);
    reply_.body += chunk;
    reply_.chunks.emplace_back(chunk);
    changed_.notify_all();
    return !left_;
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    finish();
  }
  void on_closed(std::function<void()> left) override { on_left_ = std::move(left); }
  bool closed() const override { return left_; }
  size_t buffered() const override { return 0; }

  Reply wait() {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(20), [this] { return done_; });
    EXPECT_TRUE(came) << "no answer";
    return reply_;
  }
  void wait_for_chunk() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [this] { return !reply_.chunks.empty(); });
  }
  // Until `done` says so of what was written so far.
  void until(const std::function<bool(const std::string& text)>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        if (done(reply_.body)) return;
        if (std::chrono::steady_clock::now() > end) {
          ADD_FAILURE() << "nothing more came after " << reply_.status << " " << reply_.body;
          return;
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  void leave() {
    left_ = true;
    if (on_left_) on_left_();
  }

 private:
  void finish() {
    EXPECT_FALSE(done_);
    done_ = true;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Reply reply_;
  bool done_ = false;
  std::atomic<bool> left_ = false;
  std::function<void()> on_left_;
};

// A server without sockets.
struct FakeServer {
  FakeDirectory models;
  AppOptions options = {.version = "1.2.3"};

  FakeModel& model() { return *models.model; }

  Reply exchange(const std::string& method, const std::string& path, std::string body = "",
                 http::Headers headers = {}) {
    App app(models, options);
    const auto responder = std::make_shared<FakeResponder>();
    http::Request request;
    request.method = method;
    request.path = path;
    request.body = std::move(body);
    request.headers = std::move(headers);
    app.handle(std::move(request), responder);
    Reply reply = responder->wait();
    models.model->join();  // jobs tell the app that they have ended: it must live until then
    return reply;
  }
  Reply get(const std::string& path) { return exchange("GET", path); }
  Reply post(const std::string& path, const Json& body) { return exchange("POST", path, to_text(body)); }

  // The error of a request that is refused: "STATUS PARAM: MESSAGE".
  std::string refusal(const std::string& path, const Json& body) {
    const Reply reply = post(path, body);
    const Json json = reply.json();
    if (!json.contains("error")) return fmt::format("{} {}", reply.status, reply.body);
    if (json["error"].is_string()) return fmt::format("{} {}", reply.status, json["error"].get<std::string>());
    const Json param = json["error"].value("param", Json());
    return fmt::format("{} {}: {}", reply.status, param.is_string() ? param.get<std::string>() : "-",
                       json["error"]["message"].get<std::string>());
  }
};

}  // namespace s3d::serve
