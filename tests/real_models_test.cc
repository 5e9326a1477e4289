// The engine on real weights against the double reference: logits within a stated bound, and the greedy text the same
// wherever the reference's choice is clear. A model that scripts/fetch-model has not fetched is skipped.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/model_path.h"
#include "engine/runtime.h"
#include "norm_error.h"
#include "test_engine.h"

namespace s3d {
namespace {

struct RealModel {
  const char* name;
  double bound;  // of logits_error; what 8-bit activations and a half float KV cache cost this model
};

constexpr RealModel kModels[] = {{"smollm2-135m", 0.06}, {"gemma3-270m", 0.06}, {"qwen2.5-coder-0.5b", 0.05}};

constexpr int kAnswer = 16;

// Ends in a repetition, so that most choices are clear.
constexpr const char* kPrompt =
    "def tide(hours):\n    return amplitude * cos(2 * pi * hours / 12.42)\n\nThe tide comes in twice a day, and the "
    "harbour fills with boats. Count them: one, two, three, four, five, six, seven, eight.\nThe tide comes in twice a "
    "day, and the";

class RealModels : public testing::TestWithParam<RealModel> {
 protected:
  void SetUp() override {
    const auto path = find_model(GetParam().name);
    if (!path.ok()) GTEST_SKIP() << GetParam().name << " is absent: scripts/fetch-model " << GetParam().name;
    path_ = *path;
  }
  std::string path_;
};

// Of a row: the best token, and how far above the second it is in units of the row's deviation.
struct Choice {
  int32_t token;
  double gap;
};

Choice choice_of(std::span<const double> logits) {
  const auto best = std::max_element(logits.begin(), logits.end());
  double second = -INFINITY, sum = 0, squares = 0;
  for (auto it = logits.begin(); it != logits.end(); ++it) {
    if (it != best) second = std::max(second, *it);
    sum += *it;
    squares += *it * *it;
  }
  const auto n = static_cast<double>(logits.size());
  return {static_cast<int32_t>(best - logits.begin()), (*best - second) / std::sqrt(squares / n - sum / n * (sum / n))};
}

TEST_P(RealModels, LogitsAndGreedyTextAgreeWithTheReference) {
  auto loaded = Runtime::load({.model = path_, .threads = 2, .context = 256});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  Runtime& runtime = **loaded;
  const auto prompt = runtime.encode(kPrompt);
  ASSERT_TRUE(prompt.ok()) << prompt.error().message;
  DecodeOptions options{.max_tokens = kAnswer};
  options.is_end = [](int32_t) { return false; };
  const auto answer = runtime.generate(runtime.kv().add_sequence(), *prompt, options);
  ASSERT_TRUE(answer.ok()) << answer.error().message;

  std::vector<int32_t> tokens = *prompt;
  tokens.insert(tokens.end(), answer->tokens.begin(), answer->tokens.end());
  std::vector<Row> rows;
  append_chain(rows, tokens);
  std::vector<int> wanted;  // the rows that decided the answer
  for (size_t i = prompt->size() - 1; i + 1 < tokens.size(); ++i) wanted.push_back(static_cast<int>(i));
  const auto file = open_file(path_);
  const ModelConfig config = config_of(*file);
  const std::vector<double> reference = reference_logits(file, config, rows, {}, wanted);
  const TestEngine parts = open_engine(path_);
  const auto n_context = static_cast<int>(prompt->size()) - 1;
  rows.resize(tokens.size() - 1);
  const std::vector<float> logits = engine_logits(parts, rows, n_context, KvType::kF16, LayerSet::all(config.n_layers));

  const auto vocab = static_cast<size_t>(config.vocab_size);
  const double bound = GetParam().bound;
  double worst = 0;
  int clear = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto row = std::span(reference).subspan(i * vocab, vocab);
    worst = std::max(worst, logits_error(std::span<const float>(logits).subspan(i * vocab, vocab), row));
    // An error of `bound` deviations a logit moves the gap of two by sqrt(2) as much; four times that is never seen.
    const Choice choice = choice_of(row);
    if (choice.gap < 4 * std::sqrt(2.0) * bound) continue;
    ++clear;
    EXPECT_EQ(answer->tokens[i], choice.token) << "token " << i << ", gap " << choice.gap;
  }
  RecordProperty("norm_relative_error", fmt::format("{:.2e}", worst));
  RecordProperty("clear_choices", clear);
  EXPECT_LT(worst, bound);
  EXPECT_GE(clear, kAnswer / 4);
}

// The choices behind an answer that `engine` has just given on `seq`: its rows after the prompt again, in one pass.
std::vector<Choice> choices_again(Runtime& runtime, SeqId seq, const std::vector<int32_t>& prompt,
                                  const std::vector<int32_t>& answer) {
  runtime.kv().truncate(seq, static_cast<int>(prompt.size()) - 1);
  std::vector<int32_t> tokens = {prompt.back()};
  tokens.insert(tokens.end(), answer.begin(), answer.end() - 1);
  std::vector<Row> rows;
  append_chain(rows, tokens, -1, runtime.kv().length(seq));
  for (Row& row : rows) row.seq = seq;
  const std::vector<Want> want(rows.size(), Want::kLogits);
  const auto out = runtime.backend().run(
      {.rows = rows, .layers = LayerSet::all(runtime.config().n_layers), .want = want}, runtime.kv());
  EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message);
  std::vector<Choice> choices;
  const auto vocab = static_cast<size_t>(runtime.config().vocab_size);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = out->logits.subspan(i * vocab, vocab);
    choices.push_back(choice_of(std::vector<double>(row.begin(), row.end())));
  }
  return choices;
}

// The whole engine on the reference, with its KV cache: the CPU backend's text until a choice is not clear.
TEST(RealModel, TheReferenceBackendWritesTheSameText) {
  constexpr int kTokens = 8;
  const auto path = find_model("smollm2-135m");
  if (!path.ok()) GTEST_SKIP() << "smollm2-135m is absent: scripts/fetch-model smollm2-135m";
  DecodeOptions options{.max_tokens = kTokens};
  options.is_end = [](int32_t) { return false; };
  std::vector<int32_t> answers[2];
  std::vector<Choice> choices;
  for (const BackendKind backend : {BackendKind::kCpu, BackendKind::kReference}) {
    auto loaded = Runtime::load({.model = *path, .threads = 2, .context = 256, .backend = backend});
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    Runtime& runtime = **loaded;
    const auto prompt = runtime.encode(kPrompt).value();
    const KvSequence seq = runtime.kv().add_sequence();
    auto& answer = answers[backend == BackendKind::kReference];
    answer = runtime.generate(seq, prompt, options).value().tokens;
    if (backend == BackendKind::kReference) choices = choices_again(runtime, seq, prompt, answer);
  }
  int clear = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    EXPECT_EQ(choices[i].token, answers[1][i]) << "rows together choose as rows alone";
    if (choices[i].gap >= 4 * std::sqrt(2.0) * kModels[0].bound) {
      ++clear;
      EXPECT_EQ(answers[0][i], answers[1][i]) << "token " << i << ", gap " << choices[i].gap;
    }
    if (answers[0][i] != answers[1][i]) break;  // two texts from here on
  }
  RecordProperty("clear_choices", clear);
  EXPECT_GE(clear, kTokens / 4);
}

INSTANTIATE_TEST_SUITE_P(Models, RealModels, testing::ValuesIn(kModels), [](const auto& info) {
  std::string name = info.param.name;
  for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
  return name;
});

}  // namespace
}  // namespace s3d
