// The public interface (s3d/engine.h), as a program that links the library meets it.
#include "s3d/engine.h"

#include <gtest/gtest.h>

namespace s3d {
namespace {

// A random model of 106 tokens with a tokenizer, two layers and 512 positions. It has no chat template.
EngineOptions tiny(std::string backend = "cpu") {
  return {.model = S3D_SOURCE_DIR "/tests/data/models/llama-f32.gguf", .threads = 2, .backend = std::move(backend)};
}

GenerateOptions with(const std::string& drafter, int max_tokens = 24) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.speculation.drafter = drafter;
  return options;
}

TEST(Engine, TellsWhatItLoaded) {
  const Engine engine = Engine::load(tiny()).value();
  const ModelInfo info = engine.info();
  EXPECT_EQ(info.family, "llama");
  EXPECT_EQ(info.context, 512);
  EXPECT_EQ(info.layers, 2);
  EXPECT_EQ(info.adapter, "");
  EXPECT_EQ(Engine::load(tiny("reference"))->info().backend, "reference");
}

TEST(Engine, SpeculationIsTheDefaultAndChangesNoToken) {
  EXPECT_EQ(GenerateOptions().speculation.drafter, "auto");
  Engine engine = Engine::load(tiny()).value();
  const Answer plain = engine.complete("the in an", with("off")).value();
  EXPECT_EQ(plain.generation.spec.num_drafts, 0);
  EXPECT_GT(plain.generation.tokens.size(), 0U);
  for (const char* drafter : {"auto", "suffix", "layerskip"}) {
    EXPECT_EQ(engine.complete("the in an", with(drafter)).value().generation.tokens, plain.generation.tokens)
        << drafter;
  }
}

TEST(Engine, ShowsTheTextAsItComes) {
  Engine engine = Engine::load(tiny()).value();
  std::string shown;
  const Answer answer =
      engine.complete("the in an", with("auto"), [&](std::string_view part, bool) { shown += part; }).value();
  EXPECT_EQ(shown, answer.text);
}

TEST(Engine, ASequenceRunsOnlyWhatIsNew) {
  Engine engine = Engine::load(tiny()).value();
  Sequence sequence = engine.new_sequence();
  std::vector<TokenId> prompt = engine.tokenize("the in an").value();
  const Answer first = sequence.complete(prompt, with("auto", 6)).value();
  EXPECT_EQ(first.generation.timings.cached_tokens, 0);
  prompt.insert(prompt.end(), first.generation.tokens.begin(), first.generation.tokens.end());
  const Answer second = sequence.complete(prompt, with("auto", 6)).value();
  EXPECT_GE(second.generation.timings.cached_tokens, static_cast<int>(prompt.size()) - 2);
  EXPECT_EQ(second.generation.tokens, engine.new_sequence().complete(prompt, with("off", 6)).value().generation.tokens);
}

TEST(Engine, HandlesGiveTheirPagesBackAndKeepTheEngineAlive) {
  Engine engine = Engine::load(tiny()).value();  // room for one sequence of 512 positions
  const std::vector<TokenId> prompt = engine.tokenize("the in an the in an the in an the in an the in an").value();
  for (int i = 0; i < 20; ++i) {
    Sequence sequence = engine.new_sequence();
    ASSERT_TRUE(sequence.complete(prompt, with("off", 100)).ok()) << i;
  }
  Sequence kept = engine.new_sequence();
  { const Engine gone = std::move(engine); }
  EXPECT_TRUE(kept.complete(prompt, with("auto", 8)).ok());
}

TEST(Engine, ErrorsNameWhatIsWrong) {
  EXPECT_NE(Engine::load({.model = "/nowhere.gguf"}).error().message.find("/nowhere.gguf"), std::string::npos);
  EngineOptions options = tiny();
  options.kv_type = "f17";
  EXPECT_NE(Engine::load(options).error().message.find("f17"), std::string::npos);
  Engine engine = Engine::load(tiny()).value();
  EXPECT_FALSE(engine.complete("").ok());
  EXPECT_NE(engine.complete("the", with("nobody")).error().message.find("nobody"), std::string::npos);
  EXPECT_NE(engine.complete("the", with("s3d")).error().message.find("adapter"), std::string::npos);
  EXPECT_FALSE(engine.new_chat().ok()) << "the file has no chat template";
}

TEST(Engine, CanBeCancelled) {
  Engine engine = Engine::load(tiny()).value();
  GenerateOptions options = with("auto", -1);
  int asked = 0;
  options.cancelled = [&] { return ++asked > 3; };
  EXPECT_EQ(engine.complete("the in an", options).value().generation.reason, FinishReason::kCancelled);
}

}  // namespace
}  // namespace s3d
