// The reference over a KV cache: the numbers of ReferenceModel, which computes every row anew, and the promises of
// backend.h.
#include "backend/reference/reference_backend.h"

#include <gtest/gtest.h>

#include <random>

namespace s3d {
namespace {

using Floats = std::vector<float>;
using Tokens = std::vector<int32_t>;

struct Case {
  const char* model;
  KvType type;
};

std::shared_ptr<const GgufFile> open_tiny(const std::string& name) {
  const std::string path = std::string(S3D_SOURCE_DIR) + "/tests/data/models/" + name + ".gguf";
  return std::make_shared<const GgufFile>(GgufFile::open(path).value());
}

Tokens some_tokens(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  Tokens tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 100);  // tiny models know 106 and more
  return tokens;
}

class ReferenceBackendTest : public testing::TestWithParam<Case> {
 protected:
  static constexpr int kRows = 32;

  ReferenceBackendTest()
      : file_(open_tiny(GetParam().model)),
        config_(read_model_config(*file_).value()),
        backend_(std::move(ReferenceBackend::create(file_, config_, /*threads=*/2, kRows).value())),
        kv_(KvCache::create(config_, GetParam().type, 512).value()),
        vocab_(static_cast<size_t>(config_.vocab_size)) {}

  Floats run(std::span<const Row> rows, KvUse use = KvUse::kPending) {
    const std::vector<Want> want(rows.size(), Want::kLogits);
    const auto out =
        backend_->run({.rows = rows, .layers = LayerSet::all(config_.n_layers), .kv = use, .want = want}, kv_);
    EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message);
    return {out->logits.begin(), out->logits.end()};
  }

  std::vector<Row> chain(SeqId seq, std::span<const int32_t> tokens) const {
    std::vector<Row> rows;
    for (const int32_t token : tokens) {
      const int i = static_cast<int>(rows.size());
      rows.push_back({token, kv_.length(seq) + i, i - 1, seq});
    }
    return rows;
  }

  // Runs and commits the tokens in chunks; returns the last one's logits.
  Floats feed(SeqId seq, std::span<const int32_t> tokens, size_t chunk = kRows) {
    Floats last;
    for (; !tokens.empty(); tokens = tokens.subspan(std::min(chunk, tokens.size()))) {
      const auto part = tokens.first(std::min(chunk, tokens.size()));
      const Floats logits = run(chain(seq, part));
      kv_.commit(seq, static_cast<int>(part.size()));
      last.assign(logits.end() - static_cast<std::ptrdiff_t>(vocab_), logits.end());
    }
    return last;
  }

  // The last token's logits by a pass without a cache.
  Floats computed_anew(const Tokens& tokens) const {
    const auto model = ReferenceModel::load(file_, config_, {.activations = false, .kv = GetParam().type}).value();
    std::vector<Row> rows;
    const int last = append_chain(rows, tokens);
    ThreadPool pool(1);
    const auto out = model.run(rows, {}, std::vector<int>{last}, pool).value();
    return {out.logits.begin(), out.logits.end()};
  }

  void expect_same(std::span<const float> a, const Floats& b) const {
    ASSERT_EQ(a.size(), b.size());
    // An F32 cache rounds to floats what the pass without a cache keeps as doubles.
    const float most = GetParam().type == KvType::kF32 ? 1e-5F : 0;
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], most) << "logit " << i;
  }

  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  std::unique_ptr<ReferenceBackend> backend_;
  KvCache kv_;
  size_t vocab_;
};

TEST_P(ReferenceBackendTest, ChunksOverTheCacheGiveWhatOnePassGives) {
  const Tokens tokens = some_tokens(75, 1);
  const Floats expected = computed_anew(tokens);
  for (const size_t chunk : {1, 7, kRows}) expect_same(feed(kv_.add_sequence().id(), tokens, chunk), expected);
}

TEST_P(ReferenceBackendTest, TreesSeeTheirOwnPath) {
  const Tokens context = some_tokens(62, 2), tokens = some_tokens(6, 3);
  const std::vector<int> parents = {-1, 0, 0, 1, 2, 4};
  const KvSequence seq = kv_.add_sequence();
  feed(seq, context);
  std::vector<Row> rows;
  std::vector<Tokens> paths;
  for (size_t i = 0; i < parents.size(); ++i) {
    paths.push_back(parents[i] < 0 ? context : paths[static_cast<size_t>(parents[i])]);
    paths[i].push_back(tokens[i]);
    rows.push_back({tokens[i], static_cast<int>(paths[i].size()) - 1, parents[i], seq});
  }
  const Floats logits = run(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    expect_same(std::span(logits).subspan(i * vocab_, vocab_), computed_anew(paths[i]));
  }
  kv_.commit_path(seq, std::vector<int>{0, 2, 4, 5});
  Tokens longer = paths[5];
  longer.push_back(9);
  expect_same(feed(seq, Tokens{9}), computed_anew(longer));
}

TEST_P(ReferenceBackendTest, SequencesCopiesAndRollBackAreKeptApart) {
  const Tokens one = some_tokens(40, 4), two = some_tokens(9, 5);
  const KvSequence a = kv_.add_sequence(), b = kv_.add_sequence();
  feed(a, one);
  feed(b, two);
  const KvSequence copy = kv_.copy_sequence(a);
  std::vector<Row> mixed;  // a row of each, in one pass
  for (const SeqId seq : {a.id(), b.id(), copy.id()}) mixed.push_back({seq == copy ? 8 : 7, kv_.length(seq), -1, seq});
  const Floats logits = run(mixed);
  const auto with = [](Tokens tokens, int32_t more) {
    tokens.push_back(more);
    return tokens;
  };
  expect_same(std::span(logits).first(vocab_), computed_anew(with(one, 7)));
  expect_same(std::span(logits).subspan(vocab_, vocab_), computed_anew(with(two, 7)));
  expect_same(std::span(logits).last(vocab_), computed_anew(with(one, 8)));
  kv_.truncate(copy, 20);
  expect_same(feed(copy, two), computed_anew([&] {
                Tokens tokens(one.begin(), one.begin() + 20);
                tokens.insert(tokens.end(), two.begin(), two.end());
                return tokens;
              }()));
  kv_.truncate(a, static_cast<int>(one.size()));
  run(chain(a, two), KvUse::kScratch);
  EXPECT_EQ(kv_.length(a), static_cast<int>(one.size()));
  expect_same(feed(a, Tokens{7}), computed_anew(with(one, 7)));
}

INSTANTIATE_TEST_SUITE_P(Models, ReferenceBackendTest,
                         testing::Values(Case{"llama-q4_k", KvType::kF16}, Case{"gemma3-f32", KvType::kF16},
                                         Case{"qwen2-f32", KvType::kQ8_0}, Case{"qwen3-f32", KvType::kF32},
                                         Case{"phi3-f32", KvType::kQ8_0}),
                         [](const auto& info) {
                           std::string name = info.param.model;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(ReferenceBackend, GivesWhatIsWanted) {
  const auto file = open_tiny("qwen2-f32");
  const ModelConfig config = read_model_config(*file).value();
  const auto backend = std::move(ReferenceBackend::create(file, config, 1).value());
  EXPECT_EQ(backend->name(), "reference");
  EXPECT_GT(backend->weight_bytes(), 0U);
  KvCache kv = KvCache::create(config, KvType::kF16, 64).value();
  const KvSequence seq = kv.add_sequence();
  const std::vector<Row> rows = {{5, 0, -1, seq}, {6, 1, 0, seq}};
  const LayerSet all = LayerSet::all(config.n_layers);
  const auto last = backend->run({.rows = rows, .layers = all, .want_hidden = true}, kv);
  EXPECT_EQ(last->logits.size(), static_cast<size_t>(config.vocab_size));
  EXPECT_EQ(last->hidden.size(), static_cast<size_t>(config.d_model));
  const std::vector<Want> none(2, Want::kNothing);
  const auto nothing = backend->run({.rows = rows, .layers = all, .want = none}, kv);
  EXPECT_TRUE(nothing->logits.empty());
  EXPECT_TRUE(nothing->hidden.empty());
}

TEST(ReferenceBackend, ErrorsAreThoseOfEveryBackend) {
  const auto file = open_tiny("qwen2-f32");
  ModelConfig config = read_model_config(*file).value();
  config.context_length = 100;
  EXPECT_FALSE(ReferenceBackend::create(file, config, 0).ok());
  EXPECT_FALSE(ReferenceBackend::create(file, config, 1, 0).ok());
  const auto backend = std::move(ReferenceBackend::create(file, config, 1, 100).value());
  KvCache kv = KvCache::create(config, KvType::kF16, 64).value();
  const KvSequence seq = kv.add_sequence();
  const auto message = [&](const std::vector<Row>& rows) {
    const auto out = backend->run({.rows = rows, .layers = LayerSet::all(config.n_layers)}, kv);
    EXPECT_EQ(kv.used(), 0) << "nothing stays reserved";
    return out.ok() ? std::string() : out.error().message;
  };
  EXPECT_NE(message({{1 << 20, 0, -1, seq}}).find("outside the vocabulary"), std::string::npos);
  EXPECT_NE(message({{-1, 0, -1, seq}}).find("there are 0"), std::string::npos);
  EXPECT_NE(message({{1, 0, -1, seq + 3}}).find("no sequence"), std::string::npos);
  EXPECT_NE(message(std::vector<Row>(101, Row{1, 0, -1, seq})).find("at most 100"), std::string::npos);
  std::vector<Row> many;
  append_chain(many, some_tokens(70, 1));
  for (Row& row : many) row.seq = seq;
  EXPECT_NE(message(many).find("KV cache is full"), std::string::npos);
}

}  // namespace
}  // namespace s3d
