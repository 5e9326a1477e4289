// Text made by the target, and its context: kept while it is made, or by reading it again.
#include "train/generate_data.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "engine/engine.h"
#include "model/fingerprint.h"
#include "train/base_record.h"
#include "train/dataset.h"
#include "train/record_text.h"

namespace s3d::train {
namespace {

constexpr int kMaxLength = 48;

class GenerateData : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(prompts_) << "{\"prompt\": \"one\"}\n{\"prompt\": \"two three\"}\n{\"prompt\": \"one\"}\n"
                            << "{\"prompt\": \"four five six\"}\n";
    clean();
  }
  void TearDown() override {
    clean();
    std::remove(prompts_.c_str());
  }
  void clean() {
    for (const std::string& path : {made_, read_}) {
      std::remove(path.c_str());
      std::remove(record_path(path).c_str());
    }
  }

  DataOptions options() const {
    return {.model = model_,
            .prompts = prompts_,
            .out = made_,
            .raw = true,
            .sequences = 2,
            .max_prompt = 24,
            .max_answer = 12,
            .record = record_,
            .threads = 2};
  }
  RecordTextOptions context_run() const {
    return {.model = model_, .data = made_, .out = read_, .record = record_, .max_length = kMaxLength, .threads = 1};
  }
  RecordFormat format() const {
    const GgufFile file = std::move(GgufFile::open(model_)).value();
    const ModelConfig config = read_model_config(file).value();
    return record_format(config, base_fingerprint(file), record_);
  }

  const RecordOptions record_ = {.layers = {1, 1}, .soft = 4, .states = true};
  const std::string model_ = std::string(S3D_SOURCE_DIR) + "/tests/data/models/llama-f32.gguf";
  const std::string prompts_ = testing::TempDir() + "s3d-prompts.jsonl";
  const std::string made_ = testing::TempDir() + "s3d-made.jsonl", read_ = testing::TempDir() + "s3d-read.jsonl";
};

TEST_F(GenerateData, GoesOnWhereItStoppedAndLeavesOutWhatCameBefore) {
  const auto first = generate_data(options());
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(3, first->written);
  EXPECT_EQ(1, first->left_out);  // "one" again
  const auto again = generate_data(options());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(0, again->written);
  EXPECT_EQ(3, again->there);
}

TEST_F(GenerateData, ContextReadAgainIsWhatWasKeptWhileMaking) {
  ASSERT_TRUE(generate_data(options()).ok());
  const auto summary = record_text(context_run());
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_EQ(3, summary->written);
  const Dataset made = read_dataset({made_}, 1 << 20, kMaxLength).value();
  const Dataset read = read_dataset({read_}, 1 << 20, kMaxLength).value();
  auto made_reader = RecordReader::open(record_path(made_), format()).value();
  auto read_reader = RecordReader::open(record_path(read_), format()).value();
  ASSERT_EQ(made.sequences.size(), read.sequences.size());
  for (size_t i = 0; i < made.sequences.size(); ++i) {
    const Sequence &a = made.sequences[i], &b = read.sequences[i];
    ASSERT_EQ(a.tokens, b.tokens);
    const auto kept = made_reader.read(a.record_at, a.length()), same = read_reader.read(b.record_at, b.length());
    ASSERT_TRUE(kept.ok() && same.ok());
    EXPECT_EQ(kept->kv, same->kv);
    EXPECT_EQ(kept->soft_tokens, same->soft_tokens);
    EXPECT_EQ(kept->soft_probabilities, same->soft_probabilities);
    EXPECT_EQ(kept->states, same->states);
    EXPECT_EQ(static_cast<size_t>(a.length()) * static_cast<size_t>(format().d_model), same->states.size());
  }
  EXPECT_EQ(3, record_text(context_run())->there);  // nothing is done twice
}

TEST_F(GenerateData, AContextWithStatesServesAPlanWithout) {
  ASSERT_TRUE(generate_data(options()).ok());
  const Dataset made = read_dataset({made_}, 1 << 20, kMaxLength).value();
  RecordFormat without = format();
  without.states = false;
  auto reader = RecordReader::open(record_path(made_), without);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  EXPECT_TRUE(reader->read(made.sequences.back().record_at, made.sequences.back().length()).ok());
}

TEST_F(GenerateData, RecordsRefuseNoLayers) {
  ASSERT_TRUE(generate_data(options()).ok());
  RecordTextOptions run = context_run();
  run.record.layers = {};
  const auto summary = record_text(run);
  ASSERT_FALSE(summary.ok());
  EXPECT_NE(std::string::npos, summary.error().message.find("--record-layers 0+0"));
}

}  // namespace
}  // namespace s3d::train
