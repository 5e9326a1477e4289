#include "serve/engine_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>

#include "base/index.h"
#include "engine/text_sequence.h"
#include "serve/engine_models.h"

namespace s3d::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A random model of 106 tokens with a tokenizer, two layers and 512 positions.
const std::string kPath = S3D_SOURCE_DIR "/tests/data/models/llama-f32.gguf";

std::unique_ptr<Runtime> load() {
  return Runtime::load({.model = kPath, .threads = 2, .sequences = 4}).value();
}

std::shared_ptr<EngineService> serve(EngineServiceOptions options = {}) {
  options.id = "tiny";
  return EngineService::create(load(), std::move(options)).value();
}

// What a job's callbacks said.
struct Listener {
  std::mutex mutex;
  std::condition_variable changed;
  std::string text;
  std::vector<AnswerToken> tokens;
  std::optional<JobEnd> end;

  Job job(const ModelService& model, int max_tokens) {
    Job job;
    job.prompt = model.tokenize("the in an", true, true);
    job.max_tokens = max_tokens;
    job.ignore_end = true;
    job.on_piece = [this](const AnswerPiece& piece) {
      const std::lock_guard lock(mutex);
      EXPECT_FALSE(end.has_value()) << "a piece after the end";
      text += piece.text;
      tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
      changed.notify_all();
    };
    job.on_end = [this](const JobEnd& with) {
      const std::lock_guard lock(mutex);
      EXPECT_FALSE(end.has_value()) << "ended twice";
      end = with;
      changed.notify_all();
    };
    return job;
  }
  const JobEnd& wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return end.has_value(); });
    return *end;
  }
};

ModelService::Submitted submit(ModelService& model, Job job) {
  std::vector<Job> jobs;
  jobs.push_back(std::move(job));
  return model.submit(std::move(jobs));
}

Answer plain_answer(const AnswerOptions& options) {
  const std::unique_ptr<Runtime> runtime = load();
  return TextSequence(*runtime).answer(runtime->encode("the in an").value(), options).value();
}

TEST(EngineService, GivesTheTextOfTheEngine) {
  const auto model = serve();
  AnswerOptions options;
  options.generate.max_tokens = 24;
  options.generate.is_end = [](TokenId) { return false; };
  for (const float temperature : {0.0F, 0.9F}) {
    options.generate.sampler = {.temperature = temperature, .seed = 5};
    const Answer expected = plain_answer(options);
    std::vector<Listener> listeners(4);
    std::vector<Job> jobs;
    for (Listener& listener : listeners) {
      jobs.push_back(listener.job(*model, 24));
      jobs.back().sampler = options.generate.sampler;
    }
    EXPECT_EQ(model->submit(std::move(jobs)).ids.size(), 4U);
    for (Listener& listener : listeners) {
      const JobEnd& end = listener.wait();
      EXPECT_FALSE(end.error.has_value());
      EXPECT_EQ(end.reason, FinishReason::kLength);
      EXPECT_EQ(end.answer_tokens, 24);
      EXPECT_GT(end.plain_tps, 0);
      EXPECT_EQ(end.timings.prompt_tokens, isize(model->tokenize("the in an", true, true)));
      EXPECT_EQ(listener.text, expected.text);
      ASSERT_EQ(listener.tokens.size(), 24U);
      for (size_t i = 0; i < 24; ++i) EXPECT_EQ(listener.tokens[i].id, expected.generation.tokens[i]);
    }
  }
}

TEST(EngineService, AnswersOfOneRequestDiffer) {
  const auto model = serve();
  std::vector<Listener> listeners(2);
  std::vector<Job> jobs;
  for (int i = 0; i < 2; ++i) {
    jobs.push_back(listeners[i].job(*model, 24));
    jobs.back().sampler = {.temperature = 1.5F, .seed = 5};
    jobs.back().stream = usize(i);
  }
  model->submit(std::move(jobs));
  for (Listener& listener : listeners) listener.wait();
  EXPECT_NE(listeners[0].text, listeners[1].text);
}

TEST(EngineService, EndsAtAStopString) {
  const auto model = serve();
  Listener whole;
  submit(*model, whole.job(*model, 24));
  whole.wait();
  const std::string stop = whole.text.substr(whole.text.size() / 2, 3);
  Listener cut;
  Job job = cut.job(*model, 24);
  job.stops = {"not in it", stop};
  submit(*model, std::move(job));
  const JobEnd& end = cut.wait();
  EXPECT_EQ(end.reason, FinishReason::kStop);
  EXPECT_EQ(end.stop, stop);
  EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_LT(end.answer_tokens, 24);
}

TEST(EngineService, GivesLogprobs) {
  const auto model = serve();
  Listener listener;
  Job job = listener.job(*model, 4);
  job.top_logprobs = 3;
  submit(*model, std::move(job));
  listener.wait();
  for (const AnswerToken& token : listener.tokens) {
    ASSERT_EQ(token.top.size(), 3U);
    EXPECT_EQ(token.top[0].id, token.id);  // greedy
    EXPECT_EQ(token.top[0].logprob, token.logprob);
    EXPECT_LT(token.logprob, 0);
    EXPECT_GE(token.top[1].logprob, token.top[2].logprob);
  }
}

// What a model said of its own answer, it says of the same text as a prompt.
TEST(EngineService, ScoresPrompts) {
  const auto model = serve();
  Listener whole;
  Job job = whole.job(*model, 100);
  job.top_logprobs = 2;
  job.sampler = {.temperature = 1.2F, .seed = 3};
  const std::vector<TokenId> prompt = job.prompt;
  submit(*model, std::move(job));
  whole.wait();
  std::vector<TokenId> text = prompt;
  for (const AnswerToken& token : whole.tokens) text.push_back(token.id);
  std::vector<Listener> listeners(3);  // they share passes
  std::vector<Job> jobs;
  std::vector<std::vector<AnswerToken>> scores(3);
  for (size_t i = 0; i < 3; ++i) {
    jobs.push_back(listeners[i].job(*model, static_cast<int>(i)));
    jobs.back().prompt = text;
    jobs.back().top_logprobs = 2;
    jobs.back().score_prompt = true;
    jobs.back().on_piece = [&scores, i](const AnswerPiece& piece) {
      scores[i].insert(scores[i].end(), piece.prompt.begin(), piece.prompt.end());
    };
  }
  model->submit(std::move(jobs));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(listeners[i].wait().answer_tokens, static_cast<int>(i));
    ASSERT_EQ(scores[i].size(), text.size());
    EXPECT_TRUE(std::isnan(scores[i][0].logprob));
    for (size_t at = prompt.size(); at < text.size(); ++at) {
      const AnswerToken& expected = whole.tokens[at - prompt.size()];
      EXPECT_EQ(scores[i][at].id, expected.id);
      EXPECT_EQ(scores[i][at].logprob, expected.logprob);
      ASSERT_EQ(scores[i][at].top.size(), 2U);
      EXPECT_EQ(scores[i][at].top[1].id, expected.top[1].id);
      EXPECT_EQ(scores[i][at].top[1].logprob, expected.top[1].logprob);
    }
  }
}

TEST(EngineService, CancelsAJob) {
  const auto model = serve();
  Listener listener;
  const auto submitted = submit(*model, listener.job(*model, -1));
  {
    std::unique_lock lock(listener.mutex);
    listener.changed.wait(lock, [&] { return !listener.tokens.empty(); });
  }
  model->cancel(submitted.ids.at(0));
  EXPECT_EQ(listener.wait().reason, FinishReason::kCancelled);
  model->cancel(submitted.ids.at(0));  // nothing happens
  model->cancel(12345);
  Listener after;
  submit(*model, after.job(*model, 3));
  EXPECT_EQ(after.wait().answer_tokens, 3);
}

TEST(EngineService, SaysThatItsQueueIsFull) {
  const auto model = serve({.max_waiting = 3});
  std::vector<Listener> listeners(5);
  std::vector<Job> jobs;
  for (Listener& listener : listeners) jobs.push_back(listener.job(*model, 2));
  EXPECT_EQ(model->submit(std::move(jobs)).ids.size(), 5U);  // more than wait ever: an empty queue takes them
  for (Listener& listener : listeners) listener.wait();
  Listener first, second;
  std::vector<Job> one;
  for (int i = 0; i < 200; ++i) {
    Job quiet;
    quiet.prompt = model->tokenize("the", true, true);
    quiet.max_tokens = 50;
    one.push_back(std::move(quiet));
  }
  EXPECT_FALSE(model->submit(std::move(one)).error.has_value());
  std::vector<Job> more;
  more.emplace_back().prompt = {1};
  const auto refused = model->submit(std::move(more));
  ASSERT_TRUE(refused.error.has_value());
  EXPECT_EQ(refused.error->kind, JobError::Kind::kOverloaded);
}

TEST(EngineService, ClosesWithAllJobsEnded) {
  const auto model = serve();
  Listener listener;
  submit(*model, listener.job(*model, -1));
  model->close(std::chrono::milliseconds(0));
  ASSERT_TRUE(listener.end.has_value());
  EXPECT_EQ(submit(*model, listener.job(*model, 1)).error->kind, JobError::Kind::kShuttingDown);
  const auto drained = serve();
  Listener whole;
  submit(*drained, whole.job(*drained, 20));
  drained->close(std::chrono::seconds(100));
  EXPECT_EQ(whole.end->answer_tokens, 20);
}

TEST(EngineService, RefusesADrafterThatIsNotThere) {
  const auto model = serve();
  Listener listener;
  Job job = listener.job(*model, 3);
  job.drafter = "nonsense";
  submit(*model, std::move(job));
  const JobEnd& end = listener.wait();
  ASSERT_TRUE(end.error.has_value());
  EXPECT_EQ(end.error->kind, JobError::Kind::kRefused);
  EXPECT_THAT(end.error->message, HasSubstr("nonsense"));
}

TEST(EngineService, KnowsItsModel) {
  const auto model = serve({.aliases = {"small"}});
  const ModelCard& card = model->card();
  EXPECT_EQ(card.id, "tiny");
  EXPECT_THAT(card.aliases, ElementsAre("small"));
  EXPECT_EQ(card.family, "llama");
  EXPECT_EQ(card.quantization, "F32");
  EXPECT_EQ(card.context, 512);
  EXPECT_EQ(card.vocab_size, 106);
  EXPECT_EQ(card.layers, 2);
  EXPECT_EQ(card.digest.size(), 64U);
  EXPECT_THAT(card.fingerprint, StartsWith("fp_"));
  EXPECT_GT(card.parameters, 1000);
  EXPECT_GT(card.loaded_bytes, 0);
}

TEST(EngineModels, FindsTheFilesOfAFolder) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / "s3d_models_in_test";
  fs::remove_all(folder);
  fs::create_directories(folder / "user" / "repo");
  for (const char* name :
       {"a.gguf", "b.txt", "user/repo/m-Q4_K_M.gguf", "s-00001-of-00002.gguf", "s-00002-of-00002.gguf"}) {
    std::FILE* file = std::fopen((folder / name).c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fclose(file);
  }
  std::vector<std::string> ids;
  for (const ModelSource& source : models_in(folder)) {
    ids.push_back(source.id);
    if (source.id == "user/repo/m-Q4_K_M") {
      EXPECT_THAT(source.aliases, testing::Contains("hf.co/user/repo:Q4_K_M"));
    }
  }
  EXPECT_THAT(ids, ElementsAre("a", "s-00001-of-00002", "user/repo/m-Q4_K_M"));
  EXPECT_TRUE(models_in(folder / "none").empty());
  fs::remove_all(folder);
}

TEST(EngineModels, LoadsModelsByName) {
  EngineModelsOptions options;
  options.folder = S3D_SOURCE_DIR "/tests/data/models";
  options.runtime.threads = 2;
  options.runtime.shorter_context = true;
  const std::unique_ptr<ModelPool> pool = make_model_pool(options);
  EXPECT_GT(pool->list().size(), 10U);
  std::mutex mutex;
  std::condition_variable changed;
  std::shared_ptr<ModelService> model;
  pool->open("qwen3-f32", {}, [&](Result<std::shared_ptr<ModelService>> opened) {
    const std::lock_guard lock(mutex);
    model = opened.value();
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return model != nullptr; });
  EXPECT_EQ(model->card().family, "qwen3");
  EXPECT_TRUE(pool->find("qwen3-f32")->loaded);
  model.reset();
}

}  // namespace
}  // namespace s3d::serve
