// Speculation changes no token: every drafter, any number of drafted tokens, chains and trees, threads, batches, types
// of the KV cache and samplers, against plain decoding, on real models.
//
// By default a fixed sample of the matrix runs (its size is told by kSample). S3D_LOSSLESS=full runs all of it, over 40
// prompts of 128 tokens: hours. S3D_LOSSLESS=N runs every N-th of its configurations, likewise with 128 tokens. A model
// that scripts/fetch-model has not fetched is skipped.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <tuple>

#include "base/atomic_file.h"
#include "base/test_folder.h"
#include "engine/model_path.h"
#include "engine/prompt.h"
#include "engine/prompt_file.h"
#include "engine/runtime.h"
#include "engine/speculation.h"
#include "model/adapter.h"
#include "model/drafter_test_maker.h"
#include "model/fingerprint.h"

namespace s3d {
namespace {

struct Size {
  size_t stride;  // every so many configurations
  size_t prompts;
  int tokens;
};
constexpr Size kSample = {.stride = 311, .prompts = 40, .tokens = 24};
constexpr Size kFull = {.stride = 1, .prompts = 40, .tokens = 128};

Size chosen_size() {
  const char* value = std::getenv("S3D_LOSSLESS");
  if (value == nullptr) return kSample;
  Size size = kFull;
  if (std::string_view(value) != "full") size.stride = std::stoul(value);  // throws at anything but a number
  return size;
}

struct Configuration {
  std::string drafter;
  int draft_rows, draft_width, batch;
  size_t sampler;
};

SamplerOptions sampler_of(size_t index) {
  switch (index) {
    case 1:
      return {.temperature = 1.0F, .seed = 7};
    case 2:
      return {.temperature = 0.8F, .top_k = 40, .top_p = 0.9F, .min_p = 0.02F, .seed = 8};
    case 3:
      return {.temperature = 0.7F,
              .repetition_penalty = 1.1F,
              .presence_penalty = 0.2F,
              .frequency_penalty = 0.1F,
              .logit_bias = {{260, 1.5F}, {280, -2.0F}},
              .seed = 9};
    default:
      return {};
  }
}
constexpr size_t kSamplers = 4;

std::vector<Configuration> all_configurations(const Runtime& runtime) {
  std::vector<Configuration> out;
  for (const OpenDrafter& drafter : open_drafters(runtime.draft_files())) {
    for (int rows = 0; rows <= 8; ++rows) {
      for (const int width : {1, 3}) {
        for (const int batch : {1, 3}) {
          for (size_t sampler = 0; sampler < kSamplers; ++sampler) {
            out.push_back({drafter.name, rows, width, batch, sampler});
          }
        }
      }
    }
  }
  return out;
}

std::vector<std::vector<TokenId>> read_prompts(const Runtime& runtime, size_t count) {
  std::vector<std::vector<TokenId>> prompts;
  const PromptMaker maker = PromptMaker::create(runtime.tokenizer()).value();
  for (const char* file : {"chat", "code", "extraction", "qa", "translation"}) {
    const std::string path = std::string(S3D_SOURCE_DIR) + "/bench/prompts/" + file + ".jsonl";
    const std::vector<FilePrompt> all = read_prompt_file(path).value();
    for (const FilePrompt& prompt : all) {
      std::vector<TokenId> tokens = maker.question(prompt.turns[0]).value();
      if (tokens.size() < 300) prompts.push_back(std::move(tokens));
    }
  }
  std::vector<std::vector<TokenId>> out;  // evenly from all files
  for (size_t i = 0; i < count; ++i) out.push_back(prompts[i * prompts.size() / count]);
  return out;
}

// An engine and what plain decoding says on it, kept for all configurations.
class Contest {
 public:
  // `adapter`: its file; empty: the one that is found. `draft_files`: of other drafters.
  Contest(const std::string& model, int threads, KvType kv_type, const Size& size, const std::string& adapter = "",
          const std::vector<std::string>& draft_files = {})
      : loaded_(Runtime::load({.model = model,
                               .threads = threads,
                               .context = 512,
                               .sequences = 3,
                               .kv_type = kv_type,
                               .adapter = adapter,
                               .draft_files = draft_files})
                    .value()),
        runtime_(*loaded_),
        size_(size),
        prompts_(read_prompts(runtime_, size.prompts)) {}

  const Runtime& runtime() const { return runtime_; }
  void expect_same(const Configuration& c) {
    std::vector<std::unique_ptr<Speculator>> speculators;
    std::vector<BatchItem> items;
    std::vector<size_t> numbers;
    for (int i = 0; i < c.batch; ++i) {
      auto speculator =
          make_speculator(runtime_, {.drafter = c.drafter, .draft_rows = c.draft_rows, .draft_width = c.draft_width});
      ASSERT_TRUE(speculator.ok()) << speculator.error().message;
      speculators.push_back(std::move(*speculator));
      numbers.push_back(next_++ % prompts_.size());
      items.push_back(item(numbers.back(), c.sampler, speculators.back().get()));
    }
    const auto all = generate_batch(runtime_.backend(), runtime_.kv(), items, runtime_.costs());
    for (size_t i = 0; i < items.size(); ++i) {
      ASSERT_TRUE(all[i].ok()) << all[i].error().message;
      EXPECT_EQ(all[i]->tokens, plain(numbers[i], c.sampler))
          << c.drafter << ", " << c.draft_rows << " rows, width " << c.draft_width << ", batch " << c.batch
          << ", sampler " << c.sampler << ", prompt " << numbers[i] << ", " << runtime_.threads() << " threads, KV "
          << kv_type_name(runtime_.kv().type());
      accepted += all[i]->spec.num_accepted_tokens;
    }
  }

  int64_t accepted = 0;

 private:
  BatchItem item(size_t prompt, size_t sampler, Speculator* speculator) {
    return {.seq = runtime_.kv().add_sequence(),
            .prompt = prompts_[prompt],
            .options = {.sampler = sampler_of(sampler),
                        .max_tokens = size_.tokens,
                        .is_end = [this](TokenId token) { return runtime_.tokenizer().is_end(token); },
                        .stream = prompt,
                        .speculator = speculator}};
  }
  const std::vector<int32_t>& plain(size_t prompt, size_t sampler) {
    auto& known = plain_[{prompt, sampler}];
    if (known.empty()) {
      const BatchItem alone = item(prompt, sampler, nullptr);
      known = runtime_.generate(alone.seq, alone.prompt, alone.options).value().tokens;
    }
    return known;
  }

  std::unique_ptr<Runtime> loaded_;
  Runtime& runtime_;
  Size size_;
  std::vector<std::vector<TokenId>> prompts_;
  std::map<std::pair<size_t, size_t>, std::vector<int32_t>> plain_;
  size_t next_ = 0;
};

class Lossless : public testing::TestWithParam<const char*> {};

TEST_P(Lossless, SpeculationChangesNoToken) {
  if (!find_model(GetParam()).ok()) GTEST_SKIP() << GetParam() << " is absent: scripts/fetch-model " << GetParam();
  const Size size = chosen_size();
  size_t number = 0, run = 0;
  int64_t accepted = 0;
  for (const int threads : {2, 1, 3, 4}) {
    for (const KvType kv_type : {KvType::kF16, KvType::kQ8_0}) {
      Contest contest(GetParam(), threads, kv_type, size);
      for (const Configuration& c : all_configurations(contest.runtime())) {
        if (number++ % size.stride != 0) continue;
        contest.expect_same(c);
        ++run;
        if (HasFatalFailure()) return;
      }
      accepted += contest.accepted;
    }
  }
  // Over all engines: what the planner drafts on one of them depends on measured costs, fixed numbers of rows do not.
  EXPECT_GT(accepted, 0) << "no draft was ever accepted: nothing was tested";
  RecordProperty("configurations", static_cast<int>(run));
}

INSTANTIATE_TEST_SUITE_P(All, Lossless, testing::Values("smollm2-135m", "qwen2.5-coder-0.5b"),
                         [](const auto& info) { return info.index == 0 ? "SmolLM2" : "QwenCoder"; });

// A fused adapter without training: every mask is the mean of some embeddings, LoRA a few small random numbers.
std::string write_fused_adapter(const Runtime& runtime) {
  const ModelConfig& config = runtime.config();
  const auto d = static_cast<size_t>(config.d_model);
  constexpr int kMasks = 2, kEvery = 64, kRank = 8;
  std::vector<float> row(d), mean(d);
  for (TokenId token = 0; token < config.vocab_size; token += kEvery) {
    runtime.model().embed(token, row.data());
    for (size_t i = 0; i < d; ++i) mean[i] += row[i] * kEvery / static_cast<float>(config.vocab_size);
  }
  std::vector<AdapterTensor> tensors = {
      {std::string(adapter_names::kMasks), {config.d_model, kMasks}, std::vector<float>(mean)}};
  tensors[0].values.insert(tensors[0].values.end(), mean.begin(), mean.end());
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.02F);
  for (int t = 0; t < kLoraTargets; ++t) {
    const auto target = static_cast<LoraTarget>(t);
    const auto [out, in] = lora_target_shape(config, target);
    for (const auto& [part, rows, cols] : {std::tuple('a', kRank, in), std::tuple('b', out, kRank)}) {
      AdapterTensor tensor = {adapter_names::lora(1, target, part), {cols, rows}, {}};
      for (int i = 0; i < rows * cols; ++i) tensor.values.push_back(normal(random));
      tensors.push_back(std::move(tensor));
    }
  }
  const AdapterConfig adapter = {.base_fingerprint = base_fingerprint(runtime.file()),
                                 .layers = LayerSet::all(config.n_layers),
                                 .masks = kMasks,
                                 .fused = true};
  std::string path = testing::TempDir() + "s3d-fused-" + config.name + ".gguf";
  EXPECT_TRUE(write_file_atomically(path, adapter_image(adapter, tensors, {}, GGML_TYPE_F16).value()).ok());
  return path;
}

TEST(LosslessFused, MasksThatRideChangeNoToken) {
  if (!find_model("smollm2-135m").ok()) GTEST_SKIP() << "smollm2-135m is absent: scripts/fetch-model smollm2-135m";
  const Size size = chosen_size();
  const std::string adapter =
      write_fused_adapter(*Runtime::load({.model = "smollm2-135m", .threads = 1, .context = 64}).value());
  int64_t accepted = 0;
  for (const int threads : {1, 2}) {
    Contest contest("smollm2-135m", threads, KvType::kF16, size, adapter);
    size_t number = 0;
    for (const Configuration& c : all_configurations(contest.runtime())) {
      constexpr size_t kMore = 8;  // this drafter alone has few configurations
      if (c.drafter != "fused" || number++ % std::max<size_t>(1, size.stride / kMore) != 0) continue;
      contest.expect_same(c);
      if (HasFatalFailure()) return;
    }
    accepted += contest.accepted;
  }
  EXPECT_GT(accepted, 0) << "no draft was ever accepted: nothing was tested";
  std::remove(adapter.c_str());
}

// EAGLE and Medusa without training, which guess that a token comes twice: now and then that is right.
TEST(LosslessDraftFiles, LayersAndHeadsOfTheirOwnChangeNoToken) {
  if (!find_model("smollm2-135m").ok()) GTEST_SKIP() << "smollm2-135m is absent: scripts/fetch-model smollm2-135m";
  const Size size = chosen_size();
  const std::unique_ptr<Runtime> plain = Runtime::load({.model = "smollm2-135m", .threads = 1, .context = 64}).value();
  const uint64_t fingerprint = base_fingerprint(plain->file());
  const TestFolder folder;
  const std::vector<std::string> files = {folder / "eagle.gguf", folder / "medusa.gguf"};
  const auto eagle =
      drafter_test::eagle_image(plain->config(), {.type = GGML_TYPE_Q8_0, .echo = true, .fingerprint = fingerprint});
  const auto medusa =
      drafter_test::medusa_image(plain->config(), {.type = GGML_TYPE_Q8_0, .echo = true, .fingerprint = fingerprint});
  ASSERT_TRUE(write_file_atomically(files[0], eagle).ok());
  ASSERT_TRUE(write_file_atomically(files[1], medusa).ok());
  std::map<std::string, int64_t> accepted;
  for (const KvType kv_type : {KvType::kF16, KvType::kQ8_0}) {
    Contest contest("smollm2-135m", 2, kv_type, size, "", files);
    size_t number = 0;
    for (const Configuration& c : all_configurations(contest.runtime())) {
      constexpr size_t kMore = 4;  // these drafters alone have few configurations
      const bool theirs = c.drafter == "eagle" || c.drafter == "medusa";
      if (!theirs || number++ % std::max<size_t>(1, size.stride / kMore) != 0) continue;
      const int64_t before = contest.accepted;
      contest.expect_same(c);
      if (HasFatalFailure()) return;
      accepted[c.drafter] += contest.accepted - before;
    }
  }
  EXPECT_GT(accepted["eagle"] + accepted["medusa"], 0) << "no draft was ever accepted: nothing was tested";
}

TEST(LosslessDraftModel, ASecondModelChangesNoToken) {
  // The model drafts for itself through a second copy: every draft is right, or the two copies are not independent.
  if (!find_model("smollm2-135m").ok()) GTEST_SKIP() << "smollm2-135m is absent: scripts/fetch-model smollm2-135m";
  const std::unique_ptr<Runtime> loaded =
      Runtime::load({.model = "smollm2-135m", .threads = 2, .context = 256}).value();
  Runtime& runtime = *loaded;
  const std::vector<TokenId> prompt = runtime.encode("The tide comes in twice a day, and the").value();
  const auto text = [&](Speculator* speculator) {
    const KvSequence seq = runtime.kv().add_sequence();
    Generation g = runtime.generate(seq, prompt, {.max_tokens = 40, .speculator = speculator}).value();
    return g;
  };
  auto speculator = make_speculator(runtime, {.drafter = "model", .draft_rows = 3, .draft_model = "smollm2-135m"});
  ASSERT_TRUE(speculator.ok()) << speculator.error().message;
  const Generation drafted = text(speculator->get());
  EXPECT_EQ(drafted.tokens, text(nullptr).tokens);
  // An end inside a draft leaves the rest of it unused; what was looked at was right.
  for (const double rate : drafted.spec.acceptance_by_depth()) EXPECT_DOUBLE_EQ(rate, 1.0);
}

}  // namespace
}  // namespace s3d
