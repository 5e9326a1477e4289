#include "train/trainer.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "train/test_models.h"

namespace s3d::train {
namespace {

using nlohmann::json;

// A folder of its own for each test, with a tiny model and text for it.
class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);  // sums in one order
    folder_ = testing::TempDir() + "s3d-trainer-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    recipe_.model = write_tiny_model({.family = "llama"});
    recipe_.data = {write_text("text.jsonl", 24, 1)};
    recipe_.held_out_data = {write_text("held-out.jsonl", 3, 2)};
    recipe_.out = folder_ + "/out";
    recipe_.adapter = {.head = 1, .tail = 1, .masks = 2, .lora_rank = 4, .markov_rank = 4};
    recipe_.draft_vocab = 64;
    recipe_.max_length = 64;
    recipe_.steps = 12;
    recipe_.groups = 4;
    recipe_.per_group = 3;
    recipe_.warmup = 2;
    recipe_.report_every = 5;
    recipe_.checkpoint_every = 4;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write_text(const char* name, int sequences, uint64_t seed) const {
    std::ofstream out(folder_ + "/" + name);
    for (const Sequence& s : random_dataset(sequences, 4, 14, 64, seed).sequences) {
      const auto middle = s.tokens.begin() + s.prompt_length;
      out << json({{"prompt_tokens", std::vector<int>(s.tokens.begin(), middle)},
                   {"answer_tokens", std::vector<int>(middle, s.tokens.end())}})
          << "\n";
    }
    return folder_ + "/" + name;
  }

  static TrainingResult train(const Recipe& recipe) {
    const auto alone = join_group(0, 1, "", 0);
    const auto result = train_adapter(recipe, **alone);
    EXPECT_TRUE(result.ok()) << result.error().message;
    return result.ok() ? *result : TrainingResult{};
  }

  // Weights and moments of the checkpoint in `out`, one vector.
  static Tensor state(const Recipe& recipe, const std::string& out) {
    std::string settings;
    std::getline(std::ifstream(out + "/recipe.txt") >> std::ws, settings);
    auto base = load_base(recipe.model, torch::kFloat32, torch::kCPU, 64);
    AdapterConfig config = recipe.adapter;
    std::vector<int32_t> ids(static_cast<size_t>(recipe.draft_vocab));
    const DraftParams like = new_params(*base, config, ids, 1);
    std::vector<Tensor> shapes;
    for (const DraftParams::Named& named : like.tensors) shapes.push_back(named.value);
    const auto checkpoint = read_checkpoint(out + "/checkpoint", settings, shapes);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().message;
    if (!checkpoint.ok()) return torch::zeros({1});
    std::vector<Tensor> flat;
    for (const auto* list : {&checkpoint->params, &checkpoint->first_moments, &checkpoint->second_moments}) {
      for (const Tensor& tensor : *list) flat.push_back(tensor.detach().flatten());
    }
    return torch::cat(flat);
  }

  static std::string bytes_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::string folder_;
  Recipe recipe_;
};

TEST_F(TrainerTest, LearnsAndLeavesItsFiles) {
  recipe_.steps = 150;
  recipe_.learning_rate = 1e-2;
  recipe_.held_out_data = recipe_.data;  // can it learn text by heart?
  const TrainingResult result = train(recipe_);
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.steps, 150);
  EXPECT_GT(result.best, 1.5);
  EXPECT_GT(result.stored.mean(), 1.4);
  for (const char* name : {"adapter.gguf", "checkpoint", "curve.csv", "curve.svg", "recipe.txt"}) {
    EXPECT_TRUE(std::filesystem::exists(recipe_.out + "/" + name)) << name;
  }
}

TEST_F(TrainerTest, ResumedRunEndsWithTheSameBits) {
  train(recipe_);
  Recipe parts = recipe_;
  parts.out = folder_ + "/parts";
  for (const int64_t stop : {3, 7, 8}) {
    parts.stop_after = stop;
    const TrainingResult result = train(parts);
    EXPECT_FALSE(result.finished);
    EXPECT_EQ(result.steps, stop);
  }
  parts.stop_after = 0;
  EXPECT_TRUE(train(parts).finished);
  EXPECT_TRUE(state(recipe_, recipe_.out).equal(state(recipe_, parts.out)));
  EXPECT_EQ(bytes_of(recipe_.out + "/adapter.gguf"), bytes_of(parts.out + "/adapter.gguf"));
}

TEST_F(TrainerTest, CheckpointOfAnotherRecipeIsRefused) {
  train(recipe_);
  recipe_.learning_rate *= 2;
  const auto alone = join_group(0, 1, "", 0);
  const auto result = train_adapter(recipe_, **alone);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, testing::HasSubstr("--restart"));
}

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

TEST_F(TrainerTest, TwoRanksEndWithTheWeightsOfOne) {
  train(recipe_);
  Recipe both = recipe_;
  both.out = folder_ + "/both";
  const int port = free_port();
  std::vector<std::string> errors(2);
  const auto work = [&](int rank) {
    at::set_num_threads(1);
    const auto group = join_group(rank, 2, "127.0.0.1", port);
    if (!group.ok()) {
      errors[static_cast<size_t>(rank)] = group.error().message;
      return;
    }
    const auto result = train_adapter(both, **group);
    if (!result.ok()) errors[static_cast<size_t>(rank)] = result.error().message;
  };
  std::thread second(work, 1);
  work(0);
  second.join();
  if (errors[0].find("without c10d") != std::string::npos) GTEST_SKIP() << errors[0];
  ASSERT_EQ(errors, std::vector<std::string>(2));
  // Sums in another order: rounding, which twelve steps of Adam spread.
  EXPECT_LT(relative_error(state(recipe_, both.out), state(recipe_, recipe_.out)), 1e-4);
}

TEST_F(TrainerTest, LossThatIsNoNumberIsAnErrorAndKeepsTheFiles) {
  train(recipe_);
  const std::string good = bytes_of(recipe_.out + "/adapter.gguf");
  auto base = load_base(recipe_.model, torch::kFloat32, torch::kCPU, 64);
  std::vector<int32_t> ids(static_cast<size_t>(recipe_.draft_vocab));
  std::iota(ids.begin(), ids.end(), 0);
  DraftParams huge = new_params(*base, recipe_.adapter, ids, 1);
  {
    const torch::NoGradGuard no_grad;
    for (DraftParams::Named& named : huge.tensors) named.value.fill_(1e30);
  }
  const auto image = params_image(huge, GGML_TYPE_F32);
  ASSERT_TRUE(image.ok());
  recipe_.init = folder_ + "/huge.gguf";
  std::ofstream(recipe_.init, std::ios::binary)
      .write(reinterpret_cast<const char*>(image->data()), static_cast<std::streamsize>(image->size()));
  recipe_.restart = true;
  const auto alone = join_group(0, 1, "", 0);
  const auto result = train_adapter(recipe_, **alone);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, testing::HasSubstr("the loss is"));
  EXPECT_FALSE(state(recipe_, recipe_.out).isnan().any().item<bool>());
}

TEST_F(TrainerTest, FullDiskKeepsTheLastCheckpoint) {
  recipe_.stop_after = 4;
  train(recipe_);
  const Tensor before = state(recipe_, recipe_.out);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small = {.rlim_cur = 4096, .rlim_max = old.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  recipe_.stop_after = 0;
  const auto alone = join_group(0, 1, "", 0);
  const auto result = train_adapter(recipe_, **alone);
  ::setrlimit(RLIMIT_FSIZE, &old);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, testing::HasSubstr(recipe_.out));
  EXPECT_TRUE(state(recipe_, recipe_.out).equal(before));
}

TEST_F(TrainerTest, BadInputIsNamed) {
  const auto alone = join_group(0, 1, "", 0);
  const auto message = [&](auto change) {
    Recipe recipe = recipe_;
    change(recipe);
    const auto result = train_adapter(recipe, **alone);
    return result.ok() ? "" : result.error().message;
  };
  EXPECT_THAT(message([](Recipe& r) { r.data = {"/nowhere.jsonl"}; }), testing::HasSubstr("/nowhere.jsonl"));
  EXPECT_THAT(message([](Recipe& r) { r.adapter.head = 3; }), testing::HasSubstr("--head is 3"));
  EXPECT_THAT(message([](Recipe& r) { r.learning_rate = -1; }), testing::HasSubstr("--learning-rate"));
  const std::string text = folder_ + "/bad.jsonl";
  std::ofstream(text) << R"({"prompt_tokens":[1],"answer_tokens":[2,3]})"
                      << "\n"
                      << R"({"prompt_tokens":[1],"answer_tokens":[2,900]})"
                      << "\n";
  EXPECT_THAT(message([&](Recipe& r) { r.data = {text}; }), testing::HasSubstr("bad.jsonl:2"));
}

}  // namespace
}  // namespace s3d::train
