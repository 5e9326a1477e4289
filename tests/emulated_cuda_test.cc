// The whole engine with the kernels of the CUDA backend on the emulated device: the texts of the CPU, with and without
// drafts, greedy and sampled, for one sequence and several. docs/gpu.md says what such a run proves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/index.h"
#include "decode/scheduler.h"
#include "engine/runtime.h"
#include "engine/speculation.h"

namespace s3d {
namespace {

using Tokens = std::vector<TokenId>;

std::unique_ptr<Runtime> load(const std::string& model, BackendKind backend) {
  auto loaded = Runtime::load({.model = S3D_SOURCE_DIR "/tests/data/models/" + model + ".gguf",
                               .threads = 2,
                               .context = 128,
                               .sequences = 3,
                               .backend = backend,
                               .max_rows = 32});
  EXPECT_TRUE(loaded.ok()) << loaded.error().message;
  return std::move(*loaded);
}

DecodeOptions options_of(float temperature, Speculator* speculator) {
  DecodeOptions options;
  options.max_tokens = 8;
  options.sampler = {.temperature = temperature, .seed = 5};
  options.speculator = speculator;
  return options;
}

Tokens answer(Runtime& runtime, float temperature, Speculator* speculator) {
  const Tokens prompt = runtime.encode("the quick brown fox, the lazy dog").value();
  const KvSequence seq = runtime.kv().add_sequence();
  return runtime.answer(seq, prompt, {.generate = options_of(temperature, speculator)}).value().generation.tokens;
}

TEST(EmulatedCuda, WritesTheTextOfTheCpu) {
  for (const char* model : {"llama-q8_0", "qwen2-f32"}) {
    const auto cpu = load(model, BackendKind::kCpu), emulated = load(model, BackendKind::kCudaEmulated);
    EXPECT_EQ(emulated->backend().name(), "cuda-emulated");
    for (const float temperature : {0.0F, 1.0F}) {
      const Tokens expected = answer(*cpu, temperature, nullptr);
      EXPECT_EQ(answer(*emulated, temperature, nullptr), expected) << model;
      for (const char* drafter : {"layerskip", "s3d-untrained", "suffix"}) {
        const auto speculator =
            make_speculator(*emulated, {.drafter = drafter, .draft_rows = 3, .layers = LayerSet{1, 0}}).value();
        EXPECT_EQ(answer(*emulated, temperature, speculator.get()), expected) << model << ' ' << drafter;
      }
    }
    EXPECT_EQ(make_speculator(*emulated, {.drafter = "auto"}).value(), nullptr) << "nothing is gained here";
  }
}

TEST(EmulatedCuda, SequencesTogetherWriteWhatTheyWriteAlone) {
  const auto cpu = load("llama-q4_0", BackendKind::kCpu), emulated = load("llama-q4_0", BackendKind::kCudaEmulated);
  const std::vector<std::string> texts = {"the quick brown fox", "in an", "the lazy dog, the quick"};
  std::vector<Tokens> prompts, alone;
  for (const std::string& text : texts) {
    prompts.push_back(cpu->encode(text).value());
    const KvSequence seq = cpu->kv().add_sequence();
    alone.push_back(generate(cpu->backend(), cpu->kv(), seq, prompts.back(), options_of(1, nullptr)).value().tokens);
  }
  std::vector<BatchItem> items;
  for (const Tokens& prompt : prompts) {
    items.push_back({.seq = emulated->kv().add_sequence(), .prompt = prompt, .options = options_of(1, nullptr)});
  }
  const auto together = generate_batch(emulated->backend(), emulated->kv(), items);
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(together[i].value().tokens, alone[i]) << texts[i];
}

// Layers on the device and the others on the CPU: the text of the CPU for every number of them, drafts included.
TEST(EmulatedCuda, LayersThatDoNotFitStayOnTheCpu) {
  const auto cpu = load("llama-q4_0", BackendKind::kCpu);
  const int n = cpu->config().n_layers;
  const Tokens expected = answer(*cpu, 0, nullptr);
  RuntimeOptions options = {.model = S3D_SOURCE_DIR "/tests/data/models/llama-q4_0.gguf",
                            .threads = 2,
                            .context = 128,
                            .backend = BackendKind::kCudaEmulated,
                            .max_rows = 32};
  for (options.gpu.layers = 0; options.gpu.layers <= n; ++options.gpu.layers) {
    const auto split = Runtime::load(options).value();
    const std::string name(split->backend().name());
    EXPECT_EQ(name.ends_with("+cuda-emulated"), options.gpu.layers < n) << name;
    EXPECT_EQ(answer(*split, 0, nullptr), expected) << options.gpu.layers;
    const auto speculator =
        make_speculator(*split, {.drafter = "s3d-untrained", .draft_rows = 3, .layers = LayerSet{1, 1}}).value();
    EXPECT_EQ(answer(*split, 0, speculator.get()), expected) << options.gpu.layers;
  }
  options.gpu.layers = -1;
  options.gpu.memory = size_t{16} << 10;  // until there is room for some of the layers
  while (!Runtime::load(options).ok()) options.gpu.memory += size_t{8} << 10;
  const auto some = Runtime::load(options).value();
  EXPECT_TRUE(some->backend().name().ends_with("+cuda-emulated")) << some->backend().name();
  options.gpu.layers = n;
  const auto too_many = Runtime::load(options);
  ASSERT_FALSE(too_many.ok());
  EXPECT_NE(too_many.error().message.find("more than the"), std::string::npos) << too_many.error().message;
  options.backend = BackendKind::kCpu;
  EXPECT_NE(Runtime::load(options).error().message.find("use --backend cuda"), std::string::npos);
}

RuntimeOptions on_cards(const std::vector<size_t>& memory) {
  return {.model = S3D_SOURCE_DIR "/tests/data/models/gemma3-f32.gguf",
          .threads = 2,
          .context = 128,
          .backend = BackendKind::kCudaEmulated,
          .gpu = {.emulated = memory},
          .max_rows = 32};
}

size_t bytes_of(const LayerWeights& w) {
  size_t bytes = 0;
  for (const PackedMatrix* matrix : {&w.wq, &w.wk, &w.wv, &w.wo, &w.w_gate, &w.w_up, &w.w_down}) {
    bytes += matrix->bytes();
  }
  return bytes;
}

// The host packs what the CPU computes with, and nothing else.
TEST(EmulatedCuda, WeightsLieInOnePlace) {
  const auto cpu = load("gemma3-f32", BackendKind::kCpu);
  const Model& whole = cpu->model();
  EXPECT_EQ(cpu->memory().on_cards, 0U);
  for (int on_card = 0; on_card <= cpu->config().n_layers; ++on_card) {
    RuntimeOptions options = on_cards({});
    options.gpu.layers = on_card;
    const auto runtime = Runtime::load(options).value();
    size_t expected = 0;
    for (int i = 0; i < cpu->config().n_layers - on_card; ++i) expected += bytes_of(whole.layers[usize(i)]);
    EXPECT_EQ(runtime->memory().weights, expected) << on_card;
    EXPECT_EQ(runtime->memory().on_cards, whole.packed_bytes() - expected) << on_card << ": float weights are as large";
    EXPECT_EQ(runtime->backend().weight_bytes(), whole.packed_bytes()) << on_card;
  }
}

// What is planned is what is done, for every number of layers on one card or two.
TEST(EmulatedCuda, APlanIsWhatIsDone) {
  RuntimeOptions options = on_cards({size_t{64} << 20, size_t{64} << 20});
  for (options.gpu.layers = 0; options.gpu.layers <= 7; options.gpu.layers += 3) {
    for (const std::vector<double>& shares : {std::vector<double>{}, {1, 2}}) {
      options.gpu.shares = shares;
      const std::vector<BackendPart> planned = Runtime::plan(options).value();
      const auto runtime = Runtime::load(options).value();
      ASSERT_EQ(planned.size(), runtime->backend_parts().size());
      size_t kv_bytes = 0;
      for (size_t i = 0; i < planned.size(); ++i) {
        const BackendPart &plan = planned[i], &part = runtime->backend_parts()[i];
        EXPECT_EQ(plan.device, part.device);
        EXPECT_EQ(plan.on_card, part.on_card);
        EXPECT_EQ(plan.first_layer, part.first_layer);
        EXPECT_EQ(plan.end_layer, part.end_layer);
        EXPECT_EQ(plan.kv_bytes, part.kv_bytes);
        EXPECT_EQ(plan.on_card_bytes, part.on_card_bytes);
        EXPECT_EQ(plan.on_card_bytes > 0, plan.on_card);
        EXPECT_GE(plan.weight_bytes, part.weight_bytes) << "norms are counted too";
        kv_bytes += plan.kv_bytes;
      }
      EXPECT_EQ(kv_bytes, runtime->kv().bytes_per_token());
    }
  }
}

Request request_of(int prompt_tokens, int max_tokens, float temperature) {
  Request request;
  for (int i = 0; i < prompt_tokens; ++i) request.prompt.push_back((17 * (i % 7) + 3) % 96);
  request.options = options_of(temperature, nullptr);
  request.options.max_tokens = max_tokens;
  return request;
}

// Several sequences whose keys and values do not fit together, each with a drafter of its own, and one that fits never.
void expect_texts(Runtime& runtime, Runtime& cpu) {
  Scheduler scheduler(runtime.backend(), runtime.kv(), {.step_seconds = 0});
  int answers = 0;
  for (const auto& [prompt_tokens, max_tokens, temperature] :
       {std::tuple(60, 14, 0.0F), {60, 14, 1.0F}, {50, 8, 0.0F}}) {
    const Request alone = request_of(prompt_tokens, max_tokens, temperature);
    const KvSequence seq = cpu.kv().add_sequence();
    const Tokens expected = generate(cpu.backend(), cpu.kv(), seq, alone.prompt, alone.options).value().tokens;
    Request request = alone;
    request.speculator =
        make_speculator(runtime, {.drafter = "s3d-untrained", .draft_rows = 3, .layers = LayerSet{1, 1}}).value();
    scheduler.submit(std::move(request), [&answers, expected](const Result<Generation>& result) {
      ++answers;
      ASSERT_TRUE(result.ok()) << result.error().message;
      EXPECT_EQ(result->tokens, expected);
    });
  }
  scheduler.submit(request_of(200, 1, 0), [&answers](const Result<Generation>& result) {
    ++answers;
    ASSERT_FALSE(result.ok()) << "192 positions are all there are";
    EXPECT_NE(result.error().message.find("the context holds"), std::string::npos) << result.error().message;
  });
  while (!scheduler.idle()) ASSERT_TRUE(scheduler.step().ok());
  EXPECT_EQ(answers, 4);
  EXPECT_GT(scheduler.stats().preemptions, 0) << "memory was never short: nothing was tested";
}

// One card with room for all to the last byte; one that lacks a byte, so that the CPU has a layer; two of different
// sizes. Keys and values have as many positions everywhere: what runs out, runs out on all at once.
TEST(EmulatedCuda, TheSchedulerOnCardsOfDifferentSizes) {
  const auto cpu = load("llama-q8_0", BackendKind::kCpu);
  RuntimeOptions options = {.model = S3D_SOURCE_DIR "/tests/data/models/llama-q8_0.gguf",
                            .threads = 1,
                            .context = 192,
                            .backend = BackendKind::kCudaEmulated,
                            .max_rows = 32};
  const size_t whole = Runtime::plan(options).value().back().on_card_bytes;
  options.gpu.layers = 1;
  const size_t last_layer = Runtime::plan(options).value().back().on_card_bytes;
  options.gpu.layers = -1;
  const struct {
    std::vector<size_t> memory;
    size_t parts, cards;
  } cases[] = {{{whole}, 1, 1}, {{whole - 1}, 2, 1}, {{whole - 1, last_layer}, 2, 2}};
  for (const auto& [memory, n_parts, n_cards] : cases) {
    options.gpu.emulated = memory;
    auto loaded = Runtime::load(options);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const std::vector<BackendPart>& parts = (*loaded)->backend_parts();
    EXPECT_EQ(parts.size(), n_parts);
    EXPECT_EQ(usize(std::count_if(parts.begin(), parts.end(), [](const auto& part) { return part.on_card; })), n_cards);
    expect_texts(**loaded, *cpu);
  }
}

// The least memory of one card that holds that model.
size_t enough_for_one_card() {
  size_t bytes = size_t{64} << 10;
  const auto fits = [&] {
    RuntimeOptions options = on_cards({bytes});
    options.gpu.layers = 7;
    return Runtime::load(options).ok();
  };
  while (!fits()) bytes += bytes / 16;
  return bytes;
}

Result<std::unique_ptr<Runtime>> load_on(const std::vector<size_t>& memory, GpuOptions gpu) {
  RuntimeOptions options = on_cards({});
  options.gpu = std::move(gpu);
  options.gpu.emulated = memory;
  return Runtime::load(options);
}

// All layers have one place, and their keys and values are there too.
void expect_whole(Runtime& runtime) {
  int next = 0;
  for (size_t i = 0; i < runtime.backend_parts().size(); ++i) {
    const BackendPart& part = runtime.backend_parts()[i];
    EXPECT_EQ(part.first_layer, next);
    EXPECT_GT(part.weight_bytes, 0U);
    EXPECT_EQ(runtime.kv().part(i).layout().n_layers, part.end_layer - part.first_layer);
    next = part.end_layer;
  }
  EXPECT_EQ(next, runtime.config().n_layers);
}

// Cards of different memory, each too small for the model: by their memory, by shares, and with the CPU before them.
TEST(EmulatedCuda, SeveralCards) {
  const auto cpu = load("gemma3-f32", BackendKind::kCpu);
  const Tokens expected = answer(*cpu, 0, nullptr), sampled = answer(*cpu, 1, nullptr);
  const size_t enough = enough_for_one_card(), plenty = 2 * enough, some = enough * 3 / 4, most = enough * 7 / 8;
  const struct {
    std::vector<size_t> memory;
    GpuOptions gpu;
    std::string name;  // of the backend, or its end
  } cases[] = {
      {{some, most}, {}, "cuda-emulated+cuda-emulated"},
      {{enough, most}, {}, "cuda-emulated"},
      {{most, plenty}, {}, "cuda-emulated"},
      {{plenty, plenty}, {.shares = {3, 1}}, "cuda-emulated+cuda-emulated"},
      {{plenty, plenty, plenty}, {.cards = {2, 0}, .shares = {1, 1}}, "cuda-emulated+cuda-emulated"},
      {{plenty, plenty}, {.layers = 6, .shares = {1, 1}}, "+cuda-emulated+cuda-emulated"},
  };
  for (const auto& [memory, gpu, name] : cases) {
    auto loaded = load_on(memory, gpu);
    ASSERT_TRUE(loaded.ok()) << name << ": " << loaded.error().message;
    Runtime& runtime = **loaded;
    EXPECT_TRUE(runtime.backend().name() == name || (name[0] == '+' && runtime.backend().name().ends_with(name)))
        << runtime.backend().name() << " for " << name;
    expect_whole(runtime);
    EXPECT_EQ(answer(runtime, 0, nullptr), expected) << name;
    const auto speculator =
        make_speculator(runtime, {.drafter = "s3d-untrained", .draft_rows = 3, .layers = LayerSet{1, 1}}).value();
    EXPECT_EQ(answer(runtime, 1, speculator.get()), sampled) << name;
  }
}

TEST(EmulatedCuda, CardsThatAreNotThereOrTooSmall) {
  const auto message = [](const std::vector<size_t>& memory, const GpuOptions& gpu) -> std::string {
    const auto loaded = load_on(memory, gpu);
    return loaded.ok() ? "no error" : loaded.error().message;
  };
  constexpr size_t kPlenty = size_t{64} << 20, kLittle = size_t{1} << 10;
  using testing::HasSubstr;
  EXPECT_THAT(message({kPlenty, kPlenty}, {.cards = {0, 2}}), HasSubstr("no card 2: there are 2"));
  EXPECT_THAT(message({kPlenty, kPlenty}, {.cards = {1, 1}}), HasSubstr("card 1 is named twice"));
  EXPECT_THAT(message({kPlenty, kPlenty}, {.shares = {1}}), HasSubstr("expected 2 shares"));
  EXPECT_THAT(message({kPlenty, kLittle}, {.layers = 7, .shares = {1, 1}}), HasSubstr("(card 1)"));
  EXPECT_THAT(message({kLittle, kLittle}, {}), HasSubstr("keys and values"));
}

}  // namespace
}  // namespace s3d
