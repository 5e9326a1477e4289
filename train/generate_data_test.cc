// Text made by the target, and its base records: written while it is made, or by reading it again.
#include "train/generate_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <string>

#include "base/test_folder.h"
#include "engine/runtime.h"
#include "model/fingerprint.h"
#include "train/base_record.h"
#include "train/dataset.h"
#include "train/record_store.h"
#include "train/record_text.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

constexpr int kMaxLength = 48;

class GenerateData : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(prompts_) << "{\"prompt\": \"one\"}\n{\"prompt\": \"two three\"}\n{\"prompt\": \"one\"}\n"
                            << "{\"prompt\": \"four five six\"}\n";
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
  RecordTextOptions record_run() const {
    return {.model = model_, .data = made_, .out = read_, .record = record_, .max_length = kMaxLength, .threads = 1};
  }
  RecordFormat format(RecordStates states = RecordStates::kAnswer) const {
    const GgufFile file = std::move(GgufFile::open(model_)).value();
    const ModelConfig config = read_model_config(file).value();
    return record_format(config, base_fingerprint(file), record_, states);
  }

  const RecordOptions record_ = {.layers = {1, 1}, .soft = 4, .states = true};
  const TestFolder folder_;
  const std::string model_ = S3D_SOURCE_DIR "/tests/data/models/llama-f32.gguf";
  const std::string prompts_ = folder_ / "prompts.jsonl", made_ = folder_ / "made.jsonl";
  const std::string read_ = folder_ / "read.jsonl";
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

TEST_F(GenerateData, TheFileOfAnotherRunIsRefused) {
  ASSERT_TRUE(generate_data(options()).ok());
  const auto refused = [](const DataOptions& run) {
    const auto result = generate_data(run);
    return !result.ok() && result.error().message.find("another run") != std::string::npos;
  };
  DataOptions other = options();
  other.model = S3D_SOURCE_DIR "/tests/data/models/qwen3-f32.gguf";
  EXPECT_TRUE(refused(other));
  other = options();
  other.seed = 2;
  EXPECT_TRUE(refused(other));
  std::ofstream(prompts_) << "{\"prompt\": \"one\"}\n{\"prompt\": \"another\"}\n";
  EXPECT_TRUE(refused(options())) << "other prompts";
}

// Of an array of a record, the numbers of the rows `first` and on.
template <typename T>
std::vector<T> rows_from(int first, const Sequence& sequence, const std::vector<T>& values) {
  const size_t width = values.size() / static_cast<size_t>(sequence.length());
  return {values.begin() + static_cast<std::ptrdiff_t>(width * static_cast<size_t>(first)), values.end()};
}

TEST_F(GenerateData, RecordsOfTextReadAgainAreThoseOfMakingIt) {
  ASSERT_TRUE(generate_data(options()).ok());
  const auto summary = record_text(record_run());
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
    const auto written = made_reader.read(a.record_at, a.length()), same = read_reader.read(b.record_at, b.length());
    ASSERT_TRUE(written.ok() && same.ok());
    const int first = a.prompt_length - 1;  // text that is made has nothing of the rows before
    EXPECT_EQ(written->kv, same->kv);
    EXPECT_EQ(rows_from(first, a, written->soft_tokens), rows_from(first, a, same->soft_tokens));
    EXPECT_EQ(rows_from(first, a, written->soft_probabilities), rows_from(first, a, same->soft_probabilities));
    EXPECT_EQ(rows_from(first, a, written->states), rows_from(first, a, same->states));
    EXPECT_EQ(static_cast<size_t>(a.length()) * static_cast<size_t>(format().d_model), same->states.size());
  }
  EXPECT_EQ(3, record_text(record_run())->there);  // nothing is done twice
}

TEST_F(GenerateData, RecordsWithStatesServeAFormatWithout) {
  ASSERT_TRUE(generate_data(options()).ok());
  const Dataset made = read_dataset({made_}, 1 << 20, kMaxLength).value();
  RecordFormat without = format();
  without.states = RecordStates::kNone;
  auto reader = RecordReader::open(record_path(made_), without);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  EXPECT_TRUE(reader->read(made.sequences.back().record_at, made.sequences.back().length()).ok());
}

TEST_F(GenerateData, RecordsWithMoreSoftTargetsServeAFormatOfFewer) {
  ASSERT_TRUE(generate_data(options()).ok());
  const Sequence sequence = read_dataset({made_}, 1 << 20, kMaxLength).value().sequences.back();
  RecordFormat fewer = format();
  fewer.soft = 2;
  auto reader = RecordReader::open(record_path(made_), fewer);
  ASSERT_TRUE(reader.ok()) << reader.error().message;
  const auto record = reader->read(sequence.record_at, sequence.length());
  ASSERT_TRUE(record.ok()) << record.error().message;
  EXPECT_EQ(static_cast<size_t>(4 * sequence.length()), record->soft_tokens.size());
  RecordFormat more = format();
  more.soft = 5;
  EXPECT_FALSE(RecordReader::open(record_path(made_), more).ok());
}

// Runtime and trainer compute the same keys and values, and both put them in the same place.
TEST_F(GenerateData, RecordsAreWhatTheTrainersBaseComputes) {
  ASSERT_TRUE(generate_data(options()).ok());
  const auto base = load_base(model_, torch::kFloat32, torch::kCPU, kMaxLength);
  ASSERT_TRUE(base.ok()) << base.error().message;
  Dataset data = read_dataset({made_}, base->config.vocab_size, kMaxLength).value();
  const RecordStoreOptions store_options = {
      .layers = record_.layers, .states = RecordStates::kAnswer, .soft_targets = 3};
  const auto read = RecordStore::build(*base, data, store_options);
  ASSERT_TRUE(read.ok()) << read.error().message;
  for (Sequence& sequence : data.sequences) sequence.record_at = -1;
  const auto computed = RecordStore::build(*base, data, store_options);
  ASSERT_TRUE(computed.ok()) << computed.error().message;
  std::vector<int> all(data.sequences.size());
  std::iota(all.begin(), all.end(), 0);
  int64_t shortest = kMaxLength;
  for (const Sequence& sequence : data.sequences) shortest = std::min<int64_t>(shortest, sequence.length() - 1);
  for (int layer = 0; layer < record_.layers.count(); ++layer) {
    const LayerKv a = read->context(all, shortest)(layer), b = computed->context(all, shortest)(layer);
    EXPECT_LT(relative_error(a.keys, b.keys), 5e-3) << layer;
    EXPECT_LT(relative_error(a.values, b.values), 5e-3) << layer;
  }
}

// Before base records had their name, a line named its place otherwise.
TEST_F(GenerateData, TextWithAnUnknownKeyIsTextWithoutARecord) {
  std::ofstream(made_) << R"({"id":0,"prompt_tokens":[1,2],"answer_tokens":[3,4,5],"answer":"","context_at":256})"
                       << "\n";
  const auto data = read_dataset({made_}, 64, kMaxLength);
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_EQ(-1, data->sequences.front().record_at);
  const auto summary = record_text(record_run());  // gives it one
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_LE(0, read_dataset({read_}, 64, kMaxLength).value().sequences.front().record_at);
}

// What an EAGLE layer is trained on: the states of the prompt too, and no keys and values.
TEST_F(GenerateData, RecordsOfTextReadAgainHaveTheStatesOfAllPositions) {
  ASSERT_TRUE(generate_data(options()).ok());
  RecordTextOptions run = record_run();
  run.record.layers = {};
  ASSERT_TRUE(record_text(run).ok());
  const auto base = load_base(model_, torch::kFloat32, torch::kCPU, kMaxLength);
  Dataset data = read_dataset({read_}, base->config.vocab_size, kMaxLength).value();
  const RecordStoreOptions options = {.states = RecordStates::kAll, .soft_targets = 3};
  const auto read = RecordStore::build(*base, data, options);
  ASSERT_TRUE(read.ok()) << read.error().message;
  for (Sequence& sequence : data.sequences) sequence.record_at = -1;
  const auto computed = RecordStore::build(*base, data, options);
  ASSERT_TRUE(computed.ok()) << computed.error().message;
  const Sequence& sequence = data.sequences.back();
  const std::vector<int> last = {static_cast<int>(data.sequences.size()) - 1};
  const Tensor all = torch::arange(1, sequence.length()).unsqueeze(0);  // state() gives those before
  EXPECT_LT(relative_error(read->state(last, all), computed->state(last, all)), 5e-3);
}

TEST_F(GenerateData, StatesOfAnswersAloneAreNotThoseOfAllPositions) {
  ASSERT_TRUE(generate_data(options()).ok());
  const auto wanted = RecordReader::open(record_path(made_), format(RecordStates::kAll));
  ASSERT_FALSE(wanted.ok());
  EXPECT_NE(std::string::npos, wanted.error().message.find("s3d-train record")) << wanted.error().message;
}

TEST_F(GenerateData, RecordsRefuseNoLayers) {
  ASSERT_TRUE(generate_data(options()).ok());
  RecordTextOptions run = record_run();
  run.record.layers = {};
  run.record.states = false;
  const auto summary = record_text(run);
  ASSERT_FALSE(summary.ok());
  EXPECT_NE(std::string::npos, summary.error().message.find("--record-layers 0+0"));
}

}  // namespace
}  // namespace s3d::train
