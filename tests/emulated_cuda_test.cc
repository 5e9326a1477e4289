// The whole engine with the kernels of the CUDA backend on the emulated device: the texts of the CPU, with and without
// drafts, greedy and sampled, for one sequence and several. docs/gpu.md says what such a run proves.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/index.h"
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
  for (options.gpu_layers = 0; options.gpu_layers <= n; ++options.gpu_layers) {
    const auto split = Runtime::load(options).value();
    const std::string name(split->backend().name());
    EXPECT_EQ(name.ends_with("+cuda-emulated"), options.gpu_layers < n) << name;
    EXPECT_EQ(answer(*split, 0, nullptr), expected) << options.gpu_layers;
    const auto speculator =
        make_speculator(*split, {.drafter = "s3d-untrained", .draft_rows = 3, .layers = LayerSet{1, 1}}).value();
    EXPECT_EQ(answer(*split, 0, speculator.get()), expected) << options.gpu_layers;
  }
  options.gpu_layers = -1;
  options.gpu_memory = size_t{16} << 10;  // until there is room for some of the layers
  while (!Runtime::load(options).ok()) options.gpu_memory += size_t{8} << 10;
  const auto some = Runtime::load(options).value();
  EXPECT_TRUE(some->backend().name().ends_with("+cuda-emulated")) << some->backend().name();
  options.gpu_layers = n;
  const auto too_many = Runtime::load(options);
  ASSERT_FALSE(too_many.ok());
  EXPECT_NE(too_many.error().message.find("more than the"), std::string::npos) << too_many.error().message;
  options.backend = BackendKind::kCpu;
  EXPECT_NE(Runtime::load(options).error().message.find("use --backend cuda"), std::string::npos);
}

}  // namespace
}  // namespace s3d
