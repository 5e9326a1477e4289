// Whole runs of all forms of training.
#include "train/trainer.h"

#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "model/drafter_file.h"
#include "train/checkpoint.h"
#include "train/eagle.h"
#include "train/medusa.h"
#include "train/test_models.h"
#include "train/trained_layers.h"

namespace s3d::train {
namespace {

using nlohmann::json;

// A folder of its own for each test, with a tiny model and text for it.
class TrainerTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    at::set_num_threads(1);  // sums in one order
    folder_ = testing::TempDir() + "s3d-trainer-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(folder_.begin() + static_cast<std::ptrdiff_t>(testing::TempDir().size()), folder_.end(), '/', '-');
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    recipe_.model = write_tiny_model({.family = "llama"});
    recipe_.data = {write_text("text.jsonl", 24, 1)};
    recipe_.held_out_data = {write_text("held-out.jsonl", 3, 2)};
    recipe_.out = folder_ + "/out";
    recipe_.adapter = {.layers = {1, 1}, .masks = 2, .lora_rank = 4, .markov_rank = 4};
    recipe_.draft_vocab = 64;
    recipe_.max_length = 64;
    recipe_.steps = 12;
    recipe_.groups = 4;
    recipe_.per_group = 3;
    recipe_.warmup = 2;
    recipe_.report_every = 5;
    recipe_.checkpoint_every = 4;
    if (joint()) {
      recipe_.joint = JointOptions{.ar_weight = 1, .layer_rate = 1e-3};
      recipe_.adapter.lora_rank = 0;
    } else if (form() == "eagle") {
      recipe_.adapter = {};
      recipe_.eagle = EagleOptions{.steps = 2};
      recipe_.groups = 1;  // whole answers
    } else if (form() == "medusa") {
      recipe_.adapter = {};
      recipe_.medusa = MedusaOptions{.heads = 3, .head_rank = 4};
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write_text(const char* name, int sequences, uint64_t seed) const {
    write_dataset(folder_ + "/" + name, random_dataset(sequences, 4, 14, 64, seed));
    return folder_ + "/" + name;
  }

  static std::string_view form() { return GetParam(); }
  static bool joint() { return form() == "joint"; }

  // What a run leaves for the engine.
  static std::vector<std::string> results() {
    if (joint()) return {"base.gguf", "base.adapter.gguf"};
    return {std::string(form()) + ".gguf"};
  }

  static Result<TrainingResult> try_train(const Recipe& recipe) {
    const auto alone = join_group(0, 1, "", 0);
    return recipe.joint ? train_joint(recipe, **alone) : train_drafter(recipe, **alone);
  }

  static TrainingResult train(const Recipe& recipe) {
    const auto result = try_train(recipe);
    EXPECT_TRUE(result.ok()) << result.error().message;
    return result.ok() ? *result : TrainingResult{};
  }

  // The tensors of a new drafter for a base, and its file.
  struct Fresh {
    NamedTensors tensors;
    std::function<Result<std::vector<std::byte>>()> image;
  };
  static Fresh fresh(const Recipe& recipe, const BaseModel& base) {
    std::vector<int32_t> ids(static_cast<size_t>(recipe.draft_vocab));
    std::iota(ids.begin(), ids.end(), 0);
    if (recipe.eagle) {
      const EagleParams params = new_eagle(base, ids);
      return {params.tensors, [&base, params] { return eagle_image(base, params, GGML_TYPE_F32); }};
    }
    if (recipe.medusa) {
      const MedusaParams params = new_medusa(base, recipe.medusa->heads, recipe.medusa->head_rank, ids, 1);
      return {params.tensors, [&base, params] { return medusa_image(base, params, GGML_TYPE_F32); }};
    }
    const DraftParams params = new_params(base, recipe.adapter, ids, 1);
    return {params.tensors, [params] { return params_image(params, GGML_TYPE_F32); }};
  }

  // Weights and moments of the checkpoint in `out`, one vector.
  static Tensor state(const Recipe& recipe, const std::string& out) {
    std::string settings;
    std::getline(std::ifstream(out + "/recipe.txt") >> std::ws, settings);
    auto base = load_base(recipe.model, torch::kFloat32, torch::kCPU, 64);
    std::vector<Tensor> shapes;
    for (const NamedTensor& named : fresh(recipe, *base).tensors) shapes.push_back(named.value);
    if (joint()) {
      const TrainedLayers layers = TrainedLayers::create(*base, recipe.adapter).value();
      shapes.insert(shapes.end(), layers.masters().begin(), layers.masters().end());
    }
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

  // Names and bytes of all tensors of a file: what it holds but for the time that training took.
  static std::string tensors_of(const std::string& path) {
    const auto file = GgufFile::open(path);
    EXPECT_TRUE(file.ok()) << file.error().message;
    std::string out;
    if (!file.ok()) return out;
    for (const s3d::Tensor& tensor : file->tensors()) {
      out += tensor.name + " ";
      out.append(reinterpret_cast<const char*>(tensor.data), tensor.bytes);
    }
    return out;
  }

  std::string folder_;
  Recipe recipe_;
};

TEST_P(TrainerTest, LearnsAndLeavesItsFiles) {
  recipe_.steps = 150;
  recipe_.report_every = 50;
  recipe_.learning_rate = 1e-2;
  recipe_.held_out_data = recipe_.data;  // can it learn text by heart?
  const TrainingResult result = train(recipe_);
  EXPECT_TRUE(result.run.finished);
  EXPECT_EQ(result.run.steps, 150);
  EXPECT_GT(result.run.best, 1.5);
  EXPECT_GT(result.stored.acceptance.mean(), 1.4);
  std::vector<std::string> names = results();
  names.insert(names.end(), {"checkpoint", "curve.csv", "curve.svg", "recipe.txt"});
  for (const std::string& name : names) EXPECT_TRUE(std::filesystem::exists(recipe_.out + "/" + name)) << name;
}

TEST_P(TrainerTest, ResumedRunEndsWithTheSameBits) {
  train(recipe_);
  Recipe parts = recipe_;
  parts.out = folder_ + "/parts";
  for (const int64_t stop : {3, 7, 8}) {
    parts.stop_after = stop;
    const TrainingResult result = train(parts);
    EXPECT_FALSE(result.run.finished);
    EXPECT_EQ(result.run.steps, stop);
  }
  parts.stop_after = 0;
  EXPECT_TRUE(train(parts).run.finished);
  EXPECT_TRUE(state(recipe_, recipe_.out).equal(state(recipe_, parts.out)));
  for (const std::string& name : results()) {
    EXPECT_EQ(tensors_of(recipe_.out + "/" + name), tensors_of(parts.out + "/" + name)) << name;
  }
}

TEST_P(TrainerTest, CheckpointOfAnotherRecipeIsRefused) {
  train(recipe_);
  if (joint()) {
    recipe_.joint->ar_weight *= 2;
  } else {
    recipe_.learning_rate *= 2;
  }
  const auto result = try_train(recipe_);
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

TEST_P(TrainerTest, TwoRanksEndWithTheWeightsOfOne) {
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
    const auto result = joint() ? train_joint(both, **group) : train_drafter(both, **group);
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

TEST_P(TrainerTest, LossThatIsNoNumberIsAnErrorAndKeepsTheFiles) {
  train(recipe_);
  auto base = load_base(recipe_.model, torch::kFloat32, torch::kCPU, 64);
  Fresh huge = fresh(recipe_, *base);
  {
    const torch::NoGradGuard no_grad;
    for (NamedTensor& named : huge.tensors) {
      if (named.name != draft_file_names::kEagleFc) named.value.fill_(1e30);  // a norm would make zeros of its outputs
    }
  }
  const auto image = huge.image();
  ASSERT_TRUE(image.ok());
  recipe_.init = folder_ + "/huge.gguf";
  write_bytes(recipe_.init, *image);
  recipe_.type = GGML_TYPE_F32;  // others cannot hold these values, which is an error of its own
  recipe_.restart = true;
  const auto result = try_train(recipe_);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, testing::HasSubstr("the loss is"));
  EXPECT_FALSE(state(recipe_, recipe_.out).isnan().any().item<bool>());
}

TEST_P(TrainerTest, FullDiskKeepsTheLastCheckpoint) {
  recipe_.stop_after = 4;
  train(recipe_);
  const Tensor before = state(recipe_, recipe_.out);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small = {.rlim_cur = 4096, .rlim_max = old.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  recipe_.stop_after = 0;
  const auto result = try_train(recipe_);
  ::setrlimit(RLIMIT_FSIZE, &old);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, testing::HasSubstr(recipe_.out));
  EXPECT_TRUE(state(recipe_, recipe_.out).equal(before));
}

TEST_P(TrainerTest, BadInputIsNamed) {
  const auto message = [&](auto change) {
    Recipe recipe = recipe_;
    change(recipe);
    const auto result = try_train(recipe);
    return result.ok() ? "" : result.error().message;
  };
  EXPECT_THAT(message([](Recipe& r) { r.data = {"/nowhere.jsonl"}; }), testing::HasSubstr("/nowhere.jsonl"));
  if (form() == "eagle") {
    EXPECT_THAT(message([](Recipe& r) { r.eagle->steps = 0; }), testing::HasSubstr("--eagle-steps is 0"));
    EXPECT_THAT(message([](Recipe& r) { r.eagle->feature_weight = -1; }), testing::HasSubstr("--feature-weight is -1"));
  } else if (form() == "medusa") {
    EXPECT_THAT(message([](Recipe& r) { r.medusa->heads = 16; }), testing::HasSubstr("--heads is 16"));
    EXPECT_THAT(message([](Recipe& r) { r.medusa->head_rank = -1; }), testing::HasSubstr("--head-rank is -1"));
  } else {
    EXPECT_THAT(message([](Recipe& r) { r.adapter.layers.first = 3; }), testing::HasSubstr("--draft-layers is 4"));
  }
  EXPECT_THAT(message([](Recipe& r) { r.learning_rate = -1; }), testing::HasSubstr("--learning-rate"));
  const std::string text = folder_ + "/bad.jsonl";
  std::ofstream(text) << R"({"prompt_tokens":[1],"answer_tokens":[2,3]})"
                      << "\n"
                      << R"({"prompt_tokens":[1],"answer_tokens":[2,900]})"
                      << "\n";
  EXPECT_THAT(message([&](Recipe& r) { r.data = {text}; }), testing::HasSubstr("bad.jsonl:2"));
  if (!joint()) return;
  EXPECT_THAT(message([](Recipe& r) { r.joint->ar_weight = -1; }), testing::HasSubstr("--ar-weight is -1"));
  EXPECT_THAT(message([](Recipe& r) { r.joint->layer_rate = 11; }), testing::HasSubstr("--layer-rate is 11"));
  EXPECT_THAT(message([](Recipe& r) { r.learning_rate = 0; }), testing::HasSubstr("--learning-rate is 0"));
  EXPECT_THAT(message([&](Recipe& r) {
                std::filesystem::create_directories(r.out);
                std::filesystem::copy_file(r.model, r.out + "/base.gguf");
                r.model = r.out + "/base.gguf";
              }),
              testing::HasSubstr("would be overwritten"));
}

INSTANTIATE_TEST_SUITE_P(Forms, TrainerTest, testing::Values("adapter", "joint", "eagle", "medusa"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(TrainerTest, TheFileIsMeasuredAsInTheRun) {
  const TrainingResult result = train(recipe_);
  if (joint()) return;  // its base is measured too, below
  const auto measured = measure_drafter(recipe_, drafter_path(recipe_));
  ASSERT_TRUE(measured.ok()) << measured.error().message;
  EXPECT_EQ(measured->rounds, result.stored.acceptance.rounds);
  EXPECT_EQ(measured->accepted, result.stored.acceptance.accepted);
  EXPECT_EQ(static_cast<int>(measured->reached.size()), recipe_.chain());
  EXPECT_GT(result.run.curve.back().core_seconds, 0);
}

// The base of a joint run is in a type of four bits here: steps far smaller than one of quantization must not be lost.
class JointTrainerTest : public TrainerTest {};

TEST_P(JointTrainerTest, TheWrittenBaseIsTheOneThatWasTrained) {
  recipe_.model = write_tiny_model({.family = "llama", .type = GGML_TYPE_Q4_1, .layers = 3});
  recipe_.held_out_data = recipe_.data;  // can it learn text by heart?
  recipe_.steps = 60;
  recipe_.report_every = 20;
  recipe_.learning_rate = 1e-2;
  const TrainingResult result = train(recipe_);
  ASSERT_EQ(result.run.curve.size(), 4U);
  const CurvePoint &first = result.run.curve.front(), &last = result.run.curve.back();
  EXPECT_LT(last.perplexity, 0.5 * first.perplexity);
  EXPECT_GT(last.agreement, first.agreement);
  EXPECT_GT(last.mean_accepted, first.mean_accepted);
  // The file's figures are those of the best point, not near them.
  const auto best = std::max_element(result.run.curve.begin(), result.run.curve.end(),
                                     [](const auto& a, const auto& b) { return a.mean_accepted < b.mean_accepted; });
  EXPECT_NEAR(result.stored.base.perplexity(), best->perplexity, 1e-6 * best->perplexity);
  EXPECT_EQ(result.stored.base.agreement(), best->agreement);

  const json report = json::parse(bytes_of(recipe_.out + "/report.json"));
  EXPECT_EQ(report.at("before").at("perplexity").get<double>(), first.perplexity);
  EXPECT_EQ(report.at("after").at("perplexity").get<double>(), result.stored.base.perplexity());
  EXPECT_EQ(report.at("base").get<std::string>(), recipe_.out + "/base.gguf");
}

TEST_P(JointTrainerTest, UntrainedItIsTheOldBase) {
  recipe_.stop_after = 1;
  train(recipe_);
  EXPECT_EQ(bytes_of(recipe_.out + "/base.gguf"), bytes_of(recipe_.model));
}

INSTANTIATE_TEST_SUITE_P(Forms, JointTrainerTest, testing::Values("joint"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace s3d::train
