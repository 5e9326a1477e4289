#include "serve/engine_service.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <mutex>
#include <numeric>
#include <string>

#include "base/index.h"
#include "base/test_folder.h"
#include "engine/text_sequence.h"
#include "model/tensor_floats.h"
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

// The model of tests/data with the key of llama.cpp that says how its states become one vector. What is put into the
// file's head is a multiple of its alignment, so that the tensors stay where they are behind it.
std::string embedding_model(uint32_t pooling) {
  std::ifstream in(S3D_SOURCE_DIR "/tests/data/models/qwen3-f32.gguf", std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  std::string keys;
  const auto number = [&keys](uint64_t value, int size) {
    for (int i = 0; i < size; ++i) keys += static_cast<char>(value >> (8 * i));
  };
  const auto text = [&](const std::string& value) {
    number(value.size(), 8);
    keys += value;
  };
  text("qwen3.pooling_type");
  number(4, 4);  // an unsigned number
  number(pooling, 4);
  text("test.filler");
  number(8, 4);  // a text
  text(std::string(31, '.'));
  EXPECT_EQ(keys.size() % 32, 0U);
  constexpr size_t kCount = 16, kKeys = 24;  // where the file says how many keys it has, and where they begin
  bytes[kCount] = static_cast<char>(bytes[kCount] + 2);
  bytes.insert(kKeys, keys);
  static const TestFolder folder;
  const std::string path = folder / "embedding.gguf";
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::shared_ptr<EngineService> serve_embeddings(uint32_t pooling) {
  EngineServiceOptions options;
  options.id = "embedding";
  auto runtime = Runtime::load({.model = embedding_model(pooling), .threads = 2, .sequences = 4});
  return EngineService::create(std::move(runtime).value(), std::move(options)).value();
}

std::vector<float> embed(ModelService& model, std::vector<TokenId> text) {
  Listener listener;
  Job job = listener.job(model, 0);
  job.prompt = std::move(text);
  job.embed = true;
  submit(model, std::move(job));
  const JobEnd& end = listener.wait();
  EXPECT_FALSE(end.error.has_value());
  return end.embedding;
}

// A text's vector for the last token must be its hidden state but for a factor: by it and the output matrix, logits are
// what the model says they are. Gives the factor.
double length_of_state(ModelService& model, const std::vector<TokenId>& text, const std::vector<float>& vector) {
  Listener listener;
  Job job = listener.job(model, 1);
  job.prompt = text;
  job.top_logprobs = 20;
  submit(model, std::move(job));
  listener.wait();
  const GgufFile file = GgufFile::open(model.card().path).value();
  const Tensor* matrix = file.find_tensor("output.weight");
  if (matrix == nullptr) matrix = file.tensor("token_embd.weight").value();
  std::vector<float> row(vector.size());
  const auto logit = [&](TokenId token) {
    row_to_floats(*matrix, token, row.data());
    return std::inner_product(row.begin(), row.end(), vector.begin(), 0.0);
  };
  const std::vector<Alternative>& top = listener.tokens.at(0).top;
  const double first = logit(top.front().id);
  const double factor = static_cast<double>(top.front().logprob - top.back().logprob) / (first - logit(top.back().id));
  for (const Alternative& other : top) {
    EXPECT_NEAR(factor * (first - logit(other.id)), top.front().logprob - other.logprob, 1e-3);
  }
  return factor;
}

TEST(EngineService, EmbedsATextByItsLastToken) {
  const auto model = serve_embeddings(3);
  EXPECT_EQ(model->card().pooling, Pooling::kLast);
  const std::vector<TokenId> text = model->tokenize("the in an the", true, true);
  const std::vector<float> vector = embed(*model, text);
  ASSERT_EQ(isize(vector), model->card().width);
  EXPECT_NEAR(std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0), 1, 1e-6);
  EXPECT_GT(length_of_state(*model, text, vector), 0);
  EXPECT_EQ(embed(*model, text), vector);
  const std::vector<float> llama_cpp = {0.184008F, 0.202463F, -0.207785F, -0.141092F};  // its first numbers
  for (size_t i = 0; i < llama_cpp.size(); ++i) EXPECT_NEAR(vector[i], llama_cpp[i], 5e-4);
}

TEST(EngineService, EmbedsATextByTheMeanOfItsTokens) {
  const auto last = serve_embeddings(3);
  const std::vector<TokenId> text = last->tokenize("the in an the", true, true);
  std::vector<double> sum(usize(last->card().width));
  for (size_t length = 1; length <= text.size(); ++length) {
    const std::vector<TokenId> part(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(length));
    const std::vector<float> vector = embed(*last, part);
    const double factor = length_of_state(*last, part, vector);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += factor * static_cast<double>(vector[i]);
  }
  const double whole = std::sqrt(std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0));
  const auto mean = serve_embeddings(1);
  EXPECT_EQ(mean->card().pooling, Pooling::kMean);
  const std::vector<float> vector = embed(*mean, text);
  for (size_t i = 0; i < sum.size(); ++i) EXPECT_NEAR(vector[i], sum[i] / whole, 1e-4);
  const std::vector<float> llama_cpp = {0.001426F, 0.220097F, -0.132230F, -0.087548F};  // its first numbers
  for (size_t i = 0; i < llama_cpp.size(); ++i) EXPECT_NEAR(vector[i], llama_cpp[i], 5e-4);
}

TEST(EngineService, KnowsWhenThereAreNoEmbeddings) {
  EXPECT_THAT(serve()->card().no_pooling, HasSubstr("llama.pooling_type"));
  EXPECT_EQ(serve()->card().pooling, Pooling::kNone);
  EXPECT_THAT(serve_embeddings(2)->card().no_pooling, HasSubstr("pooling 2"));
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

// Jobs of some clients whose ends are written down; "slow" holds the only place until they are all in the queue.
class Clients {
 public:
  explicit Clients(int max_waiting) : model_(serve({.max_waiting = max_waiting, .scheduler = {.max_running = 1}})) {
    Job slow = holder_.job(*model_, -1);
    holding_ = submit(*model_, std::move(slow)).ids.at(0);
    std::unique_lock lock(holder_.mutex);
    holder_.changed.wait(lock, [this] { return !holder_.tokens.empty(); });
  }
  // Error: it was refused.
  std::optional<JobError> add(const std::string& client, const std::string& name, int count = 1) {
    std::vector<Job> jobs;
    for (int i = 0; i < count; ++i) {
      Job job;
      job.prompt = model_->tokenize("the", true, true);
      job.max_tokens = 2;
      job.client = client;
      job.on_end = [this, name](const JobEnd& end) { ends_.push_back(name + (end.error ? " refused" : "")); };
      jobs.push_back(std::move(job));
    }
    return model_->submit(std::move(jobs)).error;
  }
  ModelService& model() { return *model_; }
  // The names, in the order of their ends.
  std::vector<std::string> ends() {
    model_->cancel(holding_);
    holder_.wait();
    model_->close(std::chrono::seconds(100));
    return ends_;
  }

 private:
  Listener holder_;
  JobId holding_ = 0;
  std::vector<std::string> ends_;
  std::shared_ptr<EngineService> model_;
};

TEST(EngineService, ClientsTakeTurns) {
  Clients clients(64);
  for (int i = 1; i <= 4; ++i) clients.add("greedy", fmt::format("g{}", i));
  clients.add("modest", "m1");
  EXPECT_GE(clients.model().load().waiting, 5);
  EXPECT_GE(clients.model().jobs().size(), 5U);
  EXPECT_THAT(clients.ends(), ElementsAre("g1", "m1", "g2", "g3", "g4"));
}

TEST(EngineService, NobodyFillsTheQueueForAllOthers) {
  Clients clients(4);
  for (int i = 1; i <= 4; ++i) EXPECT_FALSE(clients.add("greedy", fmt::format("g{}", i)).has_value());
  EXPECT_EQ(clients.add("greedy", "g5")->kind, JobError::Kind::kOverloaded);
  EXPECT_FALSE(clients.add("modest", "m1").has_value());
  EXPECT_FALSE(clients.add("third", "t", 1).has_value());
  EXPECT_TRUE(clients.add("fourth", "f", 3).has_value());  // all or none: it would have more than its share
  EXPECT_TRUE(clients.add("modest", "m2").has_value());
  EXPECT_THAT(clients.ends(), ElementsAre("g4 refused", "g3 refused", "g1", "m1", "t", "g2"));
}

TEST(EngineService, CancelsAJobThatWaits) {
  Clients clients(4);
  std::promise<FinishReason> ended;
  Job job;
  job.prompt = {1};
  job.on_end = [&ended](const JobEnd& end) { ended.set_value(end.reason); };
  const auto submitted = submit(clients.model(), std::move(job));
  clients.model().cancel(submitted.ids.at(0));
  EXPECT_EQ(ended.get_future().get(), FinishReason::kCancelled);
  clients.ends();
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
