// The promise of backend.h: a row's bits depend on nothing but its own tokens. That the numbers are right is shown by
// tests/families_test.cc, against the reference.
#include "backend/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/kv_cache.h"
#include "base/index.h"

namespace s3d {
namespace {

using Floats = std::vector<float>;
using Tokens = std::vector<int32_t>;

Model load(const std::string& name) {
  auto file = GgufFile::open(std::string(S3D_SOURCE_DIR) + "/tests/data/models/" + name + ".gguf");
  EXPECT_TRUE(file.ok()) << file.error().message;
  const auto shared = std::make_shared<const GgufFile>(std::move(file).value());
  ThreadPool pool(1);
  auto model = load_model(shared, read_model_config(*shared).value(), pool);
  EXPECT_TRUE(model.ok()) << model.error().message;
  return std::move(model).value();
}

// Matrices of different types in one layer: inputs are stored in all formats.
Model mixed_types() {
  Model model = load("llama-q4_k");
  Model other = load("llama-q6_k");
  const size_t rows = model.layers[0].wv.rows(), cols = model.layers[0].wv.cols();
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0.0F, 0.1F);
  Floats values(rows * cols);
  for (float& v : values) v = normal(random);
  std::vector<std::byte> quantized(rows * ggml_row_size(GGML_TYPE_Q8_0, static_cast<int64_t>(cols)));
  ggml_quantize_chunk(GGML_TYPE_Q8_0, values.data(), quantized.data(), 0, static_cast<int64_t>(rows),
                      static_cast<int64_t>(cols), nullptr);
  model.layers[0].wv = PackedMatrix::pack(GGML_TYPE_Q8_0, quantized.data(), rows, cols, nullptr).value();
  model.layers[0].w_down = std::move(other.layers[0].w_down);
  model.layers[0].wk = PackedMatrix::pack(GGML_TYPE_F32, values.data(), rows, cols, nullptr).value();
  return model;
}

std::shared_ptr<const Model> make_model(const std::string& name) {
  return std::make_shared<const Model>(name == "mixed" ? mixed_types() : load(name));
}

Tokens some_tokens(size_t n, int vocab, unsigned seed = 1) {
  std::mt19937 random(seed);
  Tokens tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % static_cast<unsigned>(vocab));
  return tokens;
}

// A backend with a cache, driven by lists of rows.
class Runner {
 public:
  Runner(std::shared_ptr<const Model> model, int threads, const Kernels* kernels, KvType type)
      : vocab_(usize(model->config.vocab_size)),
        layers_(model->config.n_layers),
        backend_(std::move(CpuBackend::create(model, threads, kernels).value())),
        kv_(KvCache::create(model->config, type, 4096).value()) {}

  KvCache& kv() { return kv_; }
  Result<PassOutput> pass(const Block& block) { return backend_->run(block, kv_); }

  // Logits of all rows.
  Floats run(const std::vector<Row>& rows, KvUse use = KvUse::kPending) {
    const std::vector<Want> want(rows.size(), Want::kLogits);
    const auto out = backend_->run(Block{.rows = rows, .layers = {layers_, 0}, .kv = use, .want = want}, kv_);
    EXPECT_TRUE(out.ok()) << out.error().message;
    return {out->logits.begin(), out->logits.end()};
  }

  // A chain of tokens after what is committed.
  std::vector<Row> chain(SeqId seq, std::span<const TokenId> tokens) const {
    std::vector<Row> rows;
    for (size_t i = 0; i < tokens.size(); ++i) {
      rows.push_back({tokens[i], kv_.length(seq) + static_cast<int>(i), static_cast<int>(i) - 1, seq});
    }
    return rows;
  }

  // Runs and commits tokens in chunks of these lengths, over and over; returns the logits of all of them.
  Floats feed(SeqId seq, std::span<const TokenId> tokens, const std::vector<size_t>& chunks) {
    Floats all;
    for (size_t begin = 0, i = 0; begin < tokens.size(); ++i) {
      const auto part = tokens.subspan(begin, std::min(chunks[i % chunks.size()], tokens.size() - begin));
      const Floats logits = run(chain(seq, part));
      kv_.commit(seq, isize(part));
      all.insert(all.end(), logits.begin(), logits.end());
      begin += part.size();
    }
    return all;
  }

  size_t vocab_;
  int layers_;

 private:
  std::unique_ptr<CpuBackend> backend_;
  KvCache kv_;
};

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

struct Case {
  const char* model;
  KvType type;
};

class CpuBackendTest : public testing::TestWithParam<Case> {
 protected:
  CpuBackendTest() : model_(make_model(GetParam().model)), tokens_(some_tokens(90, model_->config.vocab_size)) {}

  Runner runner(int threads, const Kernels* kernels = available_kernels().back()) const {
    return Runner(model_, threads, kernels, GetParam().type);
  }

  std::shared_ptr<const Model> model_;
  Tokens tokens_;
};

TEST_P(CpuBackendTest, ChunksThreadsAndInstructionSetsDoNotMatter) {
  Runner base = runner(1);
  const Floats expected = base.feed(base.kv().add_sequence().id(), tokens_, {1});
  for (const Kernels* kernels : available_kernels()) {
    for (const int threads : {1, 2, 3}) {
      Runner other = runner(threads, kernels);
      for (const std::vector<size_t>& chunks : {std::vector<size_t>{90}, {1, 2, 5, 64, 3}, {16, 4, 9}}) {
        const KvSequence seq = other.kv().add_sequence();
        ASSERT_TRUE(same_bits(other.feed(seq, tokens_, chunks), expected))
            << kernels->name << ", " << threads << " threads, chunks of " << chunks.front();
      }
    }
  }
}

// A tree's rows against the same tokens as a chain, and the pass after keeping one of its paths.
TEST_P(CpuBackendTest, TreesGiveTheBitsOfChains) {
  const std::vector<int> parents = {-1, 0, 0, 1, 2, 2, 4, 6, -1, 3, 7};
  for (const size_t context : {0, 10, 61}) {
    for (const int threads : {1, 2, 3}) {
      Runner tree = runner(threads), plain = runner(1);
      const KvSequence seq = tree.kv().add_sequence();
      tree.feed(seq, std::span(tokens_).first(context), {64});
      const Tokens tokens = some_tokens(parents.size(), model_->config.vocab_size, 7);
      std::vector<Row> rows;
      std::vector<std::vector<int>> paths;
      for (size_t i = 0; i < parents.size(); ++i) {
        paths.push_back(parents[i] < 0 ? std::vector<int>{} : paths[parents[i]]);
        paths[i].push_back(static_cast<int>(i));
        rows.push_back({tokens[i], static_cast<int>(context + paths[i].size()) - 1, parents[i], seq});
      }
      const Floats logits = tree.run(rows);
      const auto tokens_to = [&](size_t i) {
        Tokens all(tokens_.begin(), tokens_.begin() + static_cast<long>(context));
        for (const int r : paths[i]) all.push_back(tokens[r]);
        return all;
      };
      for (size_t i = 0; i < parents.size(); ++i) {
        const KvSequence chain = plain.kv().add_sequence();
        const Floats expected = plain.feed(chain, tokens_to(i), {128});
        ASSERT_TRUE(
            same_bits(std::span(logits).subspan(i * tree.vocab_, tree.vocab_), std::span(expected).last(tree.vocab_)))
            << "row " << i << " after " << context << ", " << threads << " threads";
      }
      tree.kv().commit_path(seq, paths.back());
      Tokens longer = tokens_to(parents.size() - 1);
      longer.push_back(3);
      const Floats next = tree.run(tree.chain(seq, std::span(longer).last(1)));
      const Floats expected = plain.feed(plain.kv().add_sequence().id(), longer, {5});
      ASSERT_TRUE(same_bits(next, std::span(expected).last(tree.vocab_))) << "after the tree";
    }
  }
}

// Rows of three sequences of different lengths, interleaved.
TEST_P(CpuBackendTest, SequencesDoNotSeeEachOther) {
  Runner batch = runner(2), alone = runner(1);
  const std::vector<size_t> lengths = {0, 30, 70};
  std::vector<Row> rows;
  std::vector<Floats> expected;
  std::vector<KvSequence> sequences;
  for (size_t s = 0; s < lengths.size(); ++s) {
    const Tokens tokens = some_tokens(lengths[s] + 4, model_->config.vocab_size, static_cast<unsigned>(s + 20));
    const SeqId seq = sequences.emplace_back(batch.kv().add_sequence());
    batch.feed(seq, std::span(tokens).first(lengths[s]), {64});
    for (const Row& row : batch.chain(seq, std::span(tokens).last(4))) rows.push_back(row);
    expected.push_back(alone.feed(alone.kv().add_sequence().id(), tokens, {1}));
  }
  std::vector<Row> mixed;
  for (size_t i = 0; i < 4; ++i) {
    for (size_t s = 0; s < lengths.size(); ++s) {
      Row row = rows[s * 4 + i];
      row.parent = i == 0 ? -1 : static_cast<int32_t>((i - 1) * lengths.size() + s);
      mixed.push_back(row);
    }
  }
  const Floats logits = batch.run(mixed);
  for (size_t i = 0; i < mixed.size(); ++i) {
    const size_t s = i % lengths.size(), position = lengths[s] + i / lengths.size();
    EXPECT_TRUE(same_bits(std::span(logits).subspan(i * batch.vocab_, batch.vocab_),
                          std::span(expected[s]).subspan(position * batch.vocab_, batch.vocab_)))
        << "row " << i;
  }
}

TEST_P(CpuBackendTest, ScratchRowsLeaveNoTrace) {
  Runner a = runner(2), b = runner(2);
  const KvSequence seq = a.kv().add_sequence(), same = b.kv().add_sequence();
  a.feed(seq, tokens_, {64});
  b.feed(same, tokens_, {64});
  a.run(a.chain(seq, some_tokens(7, 50)), KvUse::kScratch);
  EXPECT_EQ(a.kv().length(seq), isize(tokens_));
  const Tokens next = {1};
  EXPECT_TRUE(same_bits(a.run(a.chain(seq, next)), b.run(b.chain(same, next))));
}

INSTANTIATE_TEST_SUITE_P(Models, CpuBackendTest,
                         testing::Values(Case{"llama-q4_k", KvType::kF16}, Case{"llama-q5_0", KvType::kQ8_0},
                                         Case{"mixed", KvType::kF16}, Case{"gemma3-f32", KvType::kF32},
                                         Case{"qwen2-f32", KvType::kF16}, Case{"qwen3-f32", KvType::kQ8_0},
                                         Case{"phi3-f32", KvType::kF16}, Case{"olmo2-f32", KvType::kF16}),
                         [](const auto& info) {
                           std::string name = info.param.model;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// Contexts of several segments are cut among threads when there are few rows.
TEST(CpuBackend, LongContexts) {
  for (const char* name : {"llama-q4_1", "gemma3-f32"}) {
    Model loaded = load(name);
    loaded.config.context_length = 2000;
    const auto model = std::make_shared<const Model>(std::move(loaded));
    const Tokens tokens = some_tokens(700, model->config.vocab_size);
    const Tokens next = some_tokens(9, model->config.vocab_size, 3);
    const Kernels* kernels = available_kernels().back();
    Floats expected;
    for (const int threads : {1, 2, 5}) {
      Runner runner(model, threads, kernels, KvType::kF16);
      const KvSequence seq = runner.kv().add_sequence();
      Floats logits = runner.feed(seq, tokens, {threads == 1 ? 128U : 77U});
      const Floats rest = runner.feed(seq, next, {usize(threads)});
      logits.insert(logits.end(), rest.begin(), rest.end());
      if (expected.empty()) expected = logits;
      EXPECT_TRUE(same_bits(logits, expected)) << name << ", " << threads << " threads";
    }
  }
}

TEST(CpuBackend, GivesWhatIsWanted) {
  const auto model = make_model("qwen2-f32");
  Runner runner(model, 2, available_kernels().back(), KvType::kF16);
  const KvSequence seq = runner.kv().add_sequence();
  const std::vector<Row> rows = runner.chain(seq, Tokens{5, 6, 7, 8});
  const Floats all = runner.run(rows);
  const size_t vocab = runner.vocab_, d = usize(model->config.d_model);

  const auto last = runner.pass({.rows = rows, .layers = {runner.layers_, 0}, .want = {}});
  EXPECT_TRUE(same_bits(last->logits, std::span(all).last(vocab))) << "the last row is the default";
  EXPECT_TRUE(last->hidden.empty());

  const std::vector<Want> some = {Want::kNothing, Want::kLogits, Want::kLogits, Want::kNothing};
  const auto two = runner.pass({.rows = rows, .layers = {1, runner.layers_ - 1}, .want = some, .want_hidden = true});
  EXPECT_TRUE(same_bits(two->logits, std::span(all).subspan(vocab, 2 * vocab)));
  EXPECT_EQ(two->hidden.size(), 2 * d);

  const std::vector<Want> none(4, Want::kNothing);
  EXPECT_TRUE(runner.pass({.rows = rows, .layers = {runner.layers_, 0}, .want = none})->logits.empty());
  const auto fewer = runner.pass({.rows = rows, .layers = {1, 0}, .want = {}});
  EXPECT_FALSE(same_bits(fewer->logits, std::span(all).last(vocab)));
}

class CpuBackendErrors : public testing::Test {
 protected:
  CpuBackendErrors() : runner_(make_model("qwen2-f32"), 1, available_kernels().front(), KvType::kF16) {
    seq_ = runner_.kv().add_sequence();
  }

  void expect_error(const Block& block, const std::string& part) {
    const auto out = runner_.pass(block);
    ASSERT_FALSE(out.ok()) << part;
    EXPECT_NE(out.error().message.find(part), std::string::npos) << out.error().message;
    EXPECT_EQ(runner_.kv().used(), 0) << "nothing stays reserved";
  }
  void expect_rows_error(const std::vector<Row>& rows, const std::string& part) {
    expect_error({.rows = rows, .layers = all_, .want = {}}, part);
  }

  Runner runner_;
  LayerSet all_{runner_.layers_, 0};
  KvSequence seq_;
};

TEST_F(CpuBackendErrors, AreClear) {
  const std::vector<Row> good = {{1, 0, -1, seq_}};
  expect_rows_error({}, "without rows");
  expect_rows_error(std::vector<Row>(129, good[0]), "at most 128");
  expect_rows_error({{-1, 0, -1, seq_}}, "there are 0");
  expect_rows_error({{1 << 20, 0, -1, seq_}}, "outside the vocabulary");
  expect_rows_error({{1, 0, -1, seq_ + 5}}, "no sequence");
  expect_rows_error({{1, 3, -1, seq_}}, "position 3; expected 0");
  expect_rows_error({{1, 0, 0, seq_}}, "parent 0");
  expect_rows_error({{1, 0, -2, seq_}}, "parent -2");
  expect_rows_error({good[0], {1, 1, 0, runner_.kv().add_sequence().id()}}, "another sequence");
  expect_error({.rows = good, .layers = {runner_.layers_, 1}, .want = {}}, "layers");
  const std::vector<const float*> two_states(2);
  expect_error({.rows = good, .layers = all_, .state = two_states, .want = {}}, "2 states");
  const std::vector<Want> two(2, Want::kLogits);
  expect_error({.rows = good, .layers = all_, .want = two}, "2 wants");
}

TEST(CpuBackend, ContextAndPoolHaveEnds) {
  Model loaded = load("qwen2-f32");
  loaded.config.context_length = 100;
  const auto model = std::make_shared<const Model>(std::move(loaded));
  Runner runner(model, 1, available_kernels().back(), KvType::kF16);
  const KvSequence seq = runner.kv().add_sequence();
  runner.feed(seq, some_tokens(100, 50), {64});
  const std::vector<Row> beyond = runner.chain(seq, Tokens{1});
  const auto out = runner.pass({.rows = beyond, .layers = {runner.layers_, 0}, .want = {}});
  ASSERT_FALSE(out.ok());
  EXPECT_NE(out.error().message.find("context of 100"), std::string::npos) << out.error().message;

  KvCache small = KvCache::create(model->config, KvType::kF16, 64).value();
  const auto backend = std::move(CpuBackend::create(model, 1, available_kernels().back()).value());
  const KvSequence a = small.add_sequence(), b = small.add_sequence();
  const std::vector<Row> rows = {{1, 0, -1, a}, {1, 0, -1, b}};
  const auto full = backend->run({.rows = rows, .layers = {runner.layers_, 0}, .want = {}}, small);
  ASSERT_FALSE(full.ok());
  EXPECT_NE(full.error().message.find("KV cache is full"), std::string::npos) << full.error().message;
  EXPECT_EQ(small.used(), 0) << "the first sequence's page was given back";
}

TEST(CpuBackend, RefusesBadOptions) {
  const auto model = make_model("qwen2-f32");
  EXPECT_FALSE(CpuBackend::create(model, 0, available_kernels().back()).ok());
  EXPECT_FALSE(CpuBackend::create(model, 1, available_kernels().back(), 0).ok());
}

}  // namespace
}  // namespace s3d
