#include "engine/runtime.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/test_folder.h"
#include "engine/conversation.h"
#include "engine/speculation.h"
#include "model/adapter.h"
#include "model/drafter_test_maker.h"
#include "model/fingerprint.h"

namespace s3d {
namespace {

// A random model of 106 tokens with a tokenizer, two layers and 512 positions.
std::string tiny_path() {
  return S3D_SOURCE_DIR "/tests/data/models/llama-f32.gguf";
}

std::unique_ptr<Runtime> load(int context = 0) {
  return Runtime::load({.model = tiny_path(), .threads = 2, .context = context}).value();
}

AnswerOptions answer_options(int max_tokens) {
  return {.generate = {.max_tokens = max_tokens, .is_end = [](TokenId) { return false; }}, .stops = {}};
}

TEST(RuntimeTest, TheTextIsThatOfTheTokens) {
  const std::unique_ptr<Runtime> loaded = load();
  Runtime& runtime = *loaded;
  const std::vector<TokenId> prompt = runtime.encode("the in an").value();
  std::string shown;
  const Answer a = runtime
                       .answer(runtime.kv().add_sequence(), prompt, answer_options(24),
                               [&](std::string_view part, bool) { shown += part; })
                       .value();
  EXPECT_EQ(a.generation.tokens.size(), 24U);
  EXPECT_EQ(a.text, shown);
  EXPECT_EQ(runtime.context(), 512);
  EXPECT_EQ(runtime.threads(), 2);
  EXPECT_GT(runtime.memory().weights, 0U);
}

TEST(RuntimeTest, AStopStringEndsTheAnswerBeforeIt) {
  const std::unique_ptr<Runtime> loaded = load();
  Runtime& runtime = *loaded;
  const std::vector<TokenId> prompt = runtime.encode("the in an").value();
  const Answer whole = runtime.answer(runtime.kv().add_sequence(), prompt, answer_options(24)).value();
  ASSERT_GT(whole.text.size(), 8U);
  AnswerOptions options = answer_options(24);
  options.stops = {whole.text.substr(5, 3)};
  const Answer cut = runtime.answer(runtime.kv().add_sequence(), prompt, options).value();
  EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(options.stops[0])));
  EXPECT_EQ(cut.generation.reason, FinishReason::kStop);
  EXPECT_LT(cut.generation.tokens.size(), 24U);
}

TEST(RuntimeTest, ThreadsAndChunksDoNotChangeTheAnswer) {
  std::vector<std::vector<int32_t>> answers;
  for (const auto& [threads, rows] : {std::pair{1, 256}, {2, 256}, {3, 5}}) {
    const std::unique_ptr<Runtime> loaded =
        Runtime::load({.model = tiny_path(), .threads = threads, .max_rows = rows}).value();
    Runtime& runtime = *loaded;
    const std::vector<TokenId> prompt = runtime.encode("the quick brown fox, the lazy dog").value();
    AnswerOptions options = answer_options(20);
    options.generate.sampler = {.temperature = 1, .seed = 3};
    answers.push_back(runtime.answer(runtime.kv().add_sequence(), prompt, options).value().generation.tokens);
  }
  EXPECT_EQ(answers[0], answers[1]);
  EXPECT_EQ(answers[0], answers[2]);
}

// Greedy tokens of a tiny float model: its rounding is a millionth of the gaps. Drafts that were asked for change
// nothing.
TEST(RuntimeTest, TheReferenceBackendGivesTheSameTokens) {
  const std::unique_ptr<Runtime> cpu =
      Runtime::load({.model = tiny_path(), .threads = 2, .kv_type = KvType::kF32}).value();
  const std::unique_ptr<Runtime> reference =
      Runtime::load({.model = tiny_path(), .threads = 2, .kv_type = KvType::kF32, .backend = BackendKind::kReference})
          .value();
  EXPECT_EQ(cpu->backend_kind(), BackendKind::kCpu);
  EXPECT_EQ(reference->backend_kind(), BackendKind::kReference);
  EXPECT_EQ(reference->backend().name(), "reference");
  EXPECT_EQ(reference->memory().weights, 0U) << "nothing is packed";
  const std::vector<TokenId> prompt = cpu->encode("the quick brown fox, the lazy dog").value();
  const auto tokens = [&](Runtime& runtime, Speculator* speculator) {
    AnswerOptions options = answer_options(20);
    options.generate.speculator = speculator;
    return runtime.answer(runtime.kv().add_sequence(), prompt, options).value().generation.tokens;
  };
  const std::vector<TokenId> expected = tokens(*cpu, nullptr);
  EXPECT_EQ(tokens(*reference, nullptr), expected);
  EXPECT_EQ(make_speculator(*reference, {.drafter = "auto"}).value(), nullptr) << "drafts gain nothing here";
  for (const char* drafter : {"layerskip", "s3d-untrained", "suffix"}) {
    const auto speculator =
        make_speculator(*reference, {.drafter = drafter, .draft_rows = 3, .layers = LayerSet{1, 0}}).value();
    EXPECT_EQ(tokens(*reference, speculator.get()), expected) << drafter;
  }
}

// EAGLE and Medusa from files of their own, on both backends, with a planner and without.
TEST(RuntimeTest, DraftersWithFilesOfTheirOwnChangeNoToken) {
  const std::unique_ptr<Runtime> plain =
      Runtime::load({.model = tiny_path(), .threads = 2, .kv_type = KvType::kF32}).value();
  const uint64_t fingerprint = base_fingerprint(plain->file());
  const TestFolder folder;
  const std::vector<std::string> files = {folder / "a.eagle.gguf", folder / "a.medusa.gguf"};
  const auto eagle = drafter_test::eagle_image(plain->config(), {.taps = {1, 2}, .fingerprint = fingerprint});
  const auto medusa = drafter_test::medusa_image(plain->config(), {.rank = 32, .fingerprint = fingerprint});
  ASSERT_TRUE(write_file_atomically(files[0], eagle).ok());
  ASSERT_TRUE(write_file_atomically(files[1], medusa).ok());
  const std::vector<TokenId> prompt = plain->encode("the quick brown fox, the lazy dog").value();
  const auto tokens = [&](Runtime& runtime, Speculator* speculator) {
    AnswerOptions options = answer_options(20);
    options.generate.speculator = speculator;
    return runtime.answer(runtime.kv().add_sequence(), prompt, options).value().generation;
  };
  const std::vector<TokenId> expected = tokens(*plain, nullptr).tokens;
  for (const BackendKind backend : {BackendKind::kCpu, BackendKind::kReference}) {
    const std::unique_ptr<Runtime> runtime =
        Runtime::load(
            {.model = tiny_path(), .threads = 2, .kv_type = KvType::kF32, .backend = backend, .draft_files = files})
            .value();
    for (const char* drafter : {"eagle", "medusa"}) {
      for (const int rows : {0, 3}) {
        const auto speculator =
            make_speculator(*runtime, {.drafter = drafter, .draft_rows = rows, .draft_width = 2}).value();
        const Generation drafted = tokens(*runtime, speculator.get());
        EXPECT_EQ(drafted.tokens, expected) << drafter << " " << rows;
        EXPECT_GT(speculator->extra_bytes(), 0U);
        if (rows > 0) {
          EXPECT_GT(drafted.spec.num_draft_tokens, 0) << drafter;
        }
      }
    }
    std::vector<std::string> open;
    for (const OpenDrafter& one : open_drafters(runtime->draft_files())) {
      if (!one.file.empty()) open.push_back(one.name + " " + one.file);
    }
    EXPECT_EQ(open, (std::vector<std::string>{"eagle " + files[0], "medusa " + files[1]}));
  }
  const auto none = make_speculator(*plain, {.drafter = "eagle"});
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("--draft-file"), std::string::npos) << none.error().message;
  const auto wrong = Runtime::load({.model = tiny_path(), .draft_files = {tiny_path()}});
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message.find("not the file of a drafter"), std::string::npos) << wrong.error().message;
}

// An S3D adapter of masks alone.
void write_adapter(const std::string& path, const Runtime& runtime, LayerSet layers, bool fused = false,
                   const std::vector<TokenId>& draft_ids = {}, const Ngrams& ngrams = {}) {
  const int d = runtime.config().d_model;
  AdapterTensor masks = {std::string(adapter_names::kMasks), {d, 2}, {}};
  for (int i = 0; i < 2 * d; ++i) masks.values.push_back(0.01F * static_cast<float>(i % 17));
  const AdapterConfig config = {
      .base_fingerprint = base_fingerprint(runtime.file()), .layers = layers, .masks = 2, .fused = fused};
  const auto image = adapter_image(config, {masks}, draft_ids, GGML_TYPE_F32, ngrams);
  ASSERT_TRUE(image.ok()) << image.error().message;
  ASSERT_TRUE(write_file_atomically(path, *image).ok());
}

class AdaptersTest : public testing::Test {
 protected:
  AdaptersTest() : plain_(load()), prompt_(plain_->encode("the quick brown fox, the lazy dog").value()) {}

  std::unique_ptr<Runtime> load_with(const std::vector<std::string>& files, BackendKind backend = BackendKind::kCpu) {
    return Runtime::load({.model = tiny_path(), .threads = 2, .backend = backend, .draft_files = files}).value();
  }
  Generation answer(Runtime& runtime, Speculator* speculator) {
    AnswerOptions options = answer_options(20);
    options.generate.speculator = speculator;
    return runtime.answer(runtime.kv().add_sequence(), prompt_, options).value().generation;
  }

  TestFolder folder_;
  std::unique_ptr<Runtime> plain_;
  std::vector<TokenId> prompt_;
};

// Two plans and two vocabularies, and one that rides.
TEST_F(AdaptersTest, SeveralAreOpenOnOneModel) {
  const std::vector<std::string> files = {folder_ / "a.gguf", folder_ / "b.gguf", folder_ / "c.gguf"};
  write_adapter(files[0], *plain_, {1, 1}, false, {5, 9, 2, 33, 40});
  write_adapter(files[1], *plain_, {1, 0}, false, {40, 7, 8});
  write_adapter(files[2], *plain_, {2, 0}, true);
  const std::vector<TokenId> expected = answer(*plain_, nullptr).tokens;
  for (const BackendKind backend : {BackendKind::kCpu, BackendKind::kReference}) {
    const std::unique_ptr<Runtime> runtime = load_with(files, backend);
    EXPECT_EQ(runtime->memory().drafters, 0U) << "opened by whoever needs them";
    EXPECT_EQ(runtime->adapter_path(), files[0]);
    EXPECT_EQ(runtime->draft_vocab(), 5);
    for (const char* name : {"s3d", "s3d=b.gguf", "fused", "s3d-untrained"}) {
      const auto speculator = make_speculator(*runtime, {.drafter = name, .draft_rows = 3}).value();
      const Generation drafted = answer(*runtime, speculator.get());
      EXPECT_EQ(drafted.spec.num_draft_tokens > 0, true) << name;
      if (backend == BackendKind::kCpu) {
        EXPECT_EQ(drafted.tokens, expected) << name;
      }
    }
    EXPECT_GT(runtime->memory().drafters, 0U);
    const auto all = make_speculator(*runtime, {.drafter = "auto"}).value();  // null: a backend for checking
    EXPECT_EQ(all == nullptr, backend == BackendKind::kReference);
    if (all != nullptr) {
      EXPECT_EQ(answer(*runtime, all.get()).tokens, expected);
    }
    std::vector<std::string> open;
    for (const OpenDrafter& one : open_drafters(runtime->draft_files())) {
      if (!one.file.empty()) open.push_back(one.name);
    }
    EXPECT_EQ(open, (std::vector<std::string>{"s3d", "s3d=b.gguf", "fused"}));
  }
}

TEST_F(AdaptersTest, ErrorsComeWhenTheDrafterIsAskedFor) {
  const std::string good = folder_ / "good.gguf", broken = folder_ / "broken.gguf";
  write_adapter(good, *plain_, {1, 1});
  write_adapter(broken, *plain_, {2, 2});  // more layers than the model has
  const auto named = Runtime::load({.model = tiny_path(), .adapter = broken});
  ASSERT_FALSE(named.ok()) << "a person named it as the adapter";
  const std::unique_ptr<Runtime> runtime = load_with({good, broken});
  EXPECT_TRUE(make_speculator(*runtime, {.drafter = "s3d", .draft_rows = 2}).ok());
  const auto asked = make_speculator(*runtime, {.drafter = "s3d=broken.gguf", .draft_rows = 2});
  ASSERT_FALSE(asked.ok());
  EXPECT_EQ(asked.error().message, named.error().message);
  const auto absent = make_speculator(*runtime, {.drafter = "s3d=other.gguf"});
  ASSERT_FALSE(absent.ok());
  EXPECT_NE(absent.error().message.find("there is " + good + ", " + broken), std::string::npos);
  EXPECT_FALSE(make_speculator(*runtime, {.drafter = "suffix=good.gguf"}).ok()) << "it has no file";
  EXPECT_FALSE(make_speculator(*runtime, {.drafter = "s3d="}).ok());
  EXPECT_FALSE(make_speculator(*runtime, {.drafter = "auto=good.gguf"}).ok());
}

// What was found stays open: a file that is moved or replaced meanwhile changes nothing.
TEST_F(AdaptersTest, AFileIsOpenedOnce) {
  const std::string one = folder_ / "one.gguf", other = folder_ / "other.gguf";
  write_adapter(one, *plain_, {1, 1});
  write_adapter(other, *plain_, {1, 0});
  const std::unique_ptr<Runtime> runtime = load_with({one, other});
  for (const std::string& path : {one, other}) ASSERT_TRUE(std::filesystem::remove(path));
  for (const char* name : {"s3d", "s3d=other.gguf", "suffix"}) {
    const auto speculator = make_speculator(*runtime, {.drafter = name, .draft_rows = 2});
    EXPECT_TRUE(speculator.ok()) << name << ": " << speculator.error().message;
  }
}

// The n-grams of the first adapter serve `suffix`, whoever drafts with the adapter.
TEST_F(AdaptersTest, NgramsServeTheTextDrafter) {
  const std::string path = folder_ / "ngrams.gguf";
  write_adapter(path, *plain_, {1, 1}, false, {},
                {.before = {-1}, .last = {prompt_.back()}, .next = {11}, .chance = {0.9F}});
  const std::unique_ptr<Runtime> runtime = load_with({path});
  const auto drafter = make_named_drafter(*runtime, {.drafter = "suffix"}).value();
  DraftTree tree;
  const std::vector<TokenId> tokens = {prompt_.back()};
  ASSERT_TRUE(drafter->draft({.tokens = tokens}, {.nodes = 4, .depth = 4}, tree).ok());
  ASSERT_FALSE(tree.empty());
  EXPECT_EQ(tree[0].token, 11);
}

TEST(RuntimeTest, TheReferenceBackendsContextHasAnEnd) {
  const std::unique_ptr<Runtime> loaded =
      Runtime::load({.model = tiny_path(), .context = 16, .backend = BackendKind::kReference}).value();
  Runtime& runtime = *loaded;
  const std::vector<TokenId> prompt = runtime.encode("the in an").value();
  const Answer a = runtime.answer(runtime.kv().add_sequence(), prompt, answer_options(-1)).value();
  EXPECT_EQ(a.generation.reason, FinishReason::kContext);
  const std::vector<TokenId> too_long(17, prompt[0]);
  EXPECT_FALSE(runtime.answer(runtime.kv().add_sequence(), too_long, answer_options(1)).ok());
}

TEST(RuntimeTest, BackendsHaveNames) {
  for (const BackendKind kind : backend_kinds()) EXPECT_EQ(parse_backend(backend_name(kind)).value(), kind);
  EXPECT_TRUE(parse_backend("auto").ok());
  const std::string unknown = parse_backend("gpu").error().message;
  EXPECT_EQ(unknown.find("backend 'gpu' is not known; expected cpu"), 0U) << unknown;
}

TEST(RuntimeTest, ErrorsSayWhatIsWrong) {
  const auto message = [](const RuntimeOptions& options) { return Runtime::load(options).error().message; };
  EXPECT_NE(message({.model = "/no/such/file.gguf"}).find("/no/such/file.gguf"), std::string::npos);
  EXPECT_NE(message({.model = tiny_path(), .threads = -1}).find("threads"), std::string::npos);
  EXPECT_NE(message({.model = tiny_path(), .context = 513}).find("512"), std::string::npos);
  EXPECT_NE(message({.model = tiny_path(), .context = -1}).find("context"), std::string::npos);
  EXPECT_NE(message({.model = tiny_path(), .sequences = 0}).find("sequences"), std::string::npos);
  EXPECT_NE(message({.model = tiny_path(), .max_rows = 0}).find("rows"), std::string::npos);
  EXPECT_FALSE(load()->encode("").ok());
}

class ConversationTest : public testing::Test {
 protected:
  static PromptMaker prompts(const Runtime& runtime) {
    return PromptMaker::create(runtime.tokenizer(), {.template_name = "chatml"}).value();
  }
};

TEST_F(ConversationTest, ALaterTurnRunsOnlyWhatIsNewAndAnswersTheSame) {
  const std::unique_ptr<Runtime> loaded = load();
  Runtime& runtime = *loaded;
  Conversation conversation(runtime, prompts(runtime), std::nullopt);
  const Answer first = conversation.ask("one", answer_options(6)).value();
  const Answer second = conversation.ask("two", answer_options(6)).value();
  EXPECT_GT(second.generation.timings.cached_tokens, 0);

  const std::unique_ptr<Runtime> fresh = load();
  const auto prompt = prompts(*fresh).chat({{"user", "one"}, {"assistant", first.text}, {"user", "two"}});
  const Answer whole = fresh->answer(fresh->kv().add_sequence(), *prompt, answer_options(6)).value();
  EXPECT_EQ(whole.generation.timings.cached_tokens, 0);
  EXPECT_EQ(second.generation.tokens, whole.generation.tokens);
}

TEST_F(ConversationTest, UndoAndResetForget) {
  const std::unique_ptr<Runtime> loaded = load();
  Runtime& runtime = *loaded;
  Conversation conversation(runtime, prompts(runtime), "s");
  EXPECT_FALSE(conversation.undo());
  const Answer first = conversation.ask("one", answer_options(5)).value();
  EXPECT_TRUE(conversation.undo());
  EXPECT_EQ(conversation.messages().size(), 1U);
  EXPECT_EQ(conversation.ask("one", answer_options(5)).value().generation.tokens, first.generation.tokens);
  conversation.reset(std::nullopt);
  EXPECT_TRUE(conversation.messages().empty());
  EXPECT_EQ(conversation.system(), std::nullopt);
}

TEST_F(ConversationTest, WhatFailsOrIsCancelledLeavesNoTrace) {
  const std::unique_ptr<Runtime> loaded = load(/*context=*/64);
  Runtime& runtime = *loaded;
  Conversation conversation(runtime, prompts(runtime), std::nullopt);
  EXPECT_FALSE(conversation.ask(std::string(200, 'x'), answer_options(5)).ok());
  EXPECT_TRUE(conversation.messages().empty());
  AnswerOptions cancelled = answer_options(5);
  cancelled.generate.cancelled = [] { return true; };
  EXPECT_EQ(conversation.ask("one", cancelled).value().generation.reason, FinishReason::kCancelled);
  EXPECT_TRUE(conversation.messages().empty());
  EXPECT_TRUE(conversation.ask("one", answer_options(5)).ok());
  EXPECT_EQ(conversation.messages().size(), 2U);
}

}  // namespace
}  // namespace s3d
