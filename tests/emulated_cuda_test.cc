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

}  // namespace
}  // namespace s3d
