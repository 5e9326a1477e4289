// The S3D drafter against what docs/adapter.md says of Markov and confidence head, on a tiny model with an adapter of
// random numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include "backend/adapter_test_maker.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/forwarding_backend.h"
#include "backend/packed_adapter.h"
#include "base/index.h"
#include "decode/drafters.h"

namespace s3d {
namespace {

constexpr int kMasks = 3;
constexpr int kMarkovRank = 32;
constexpr uint64_t kFingerprint = 7;
constexpr LayerSet kPlan = {1, 1};

// Tells how many rows the last pass had.
class CountingBackend : public ForwardingBackend {
 public:
  explicit CountingBackend(std::unique_ptr<Backend> real) : ForwardingBackend(*real), real_(std::move(real)) {}
  int rows_run() const { return rows_run_; }

  Result<PassOutput> run(const Block& block, KvCache& kv) override {
    rows_run_ = isize(block.rows);
    return ForwardingBackend::run(block, kv);
  }

 private:
  std::unique_ptr<Backend> real_;
  int rows_run_ = 0;
};

class S3dDrafterTest : public testing::TestWithParam<bool> {
 protected:
  S3dDrafterTest()
      : file_(std::make_shared<const GgufFile>(
            std::move(GgufFile::open(std::string(S3D_SOURCE_DIR) + "/tests/data/models/llama-f32.gguf")).value())),
        config_(read_model_config(*file_).value()),
        kv_(KvCache::create(config_, KvType::kF32, 64).value()) {
    const Adapter adapter = make_adapter(GetParam());
    weights_ = adapter.confidence_w;
    bias_ = adapter.confidence_b;
    ThreadPool pool(1);
    model_ = std::make_shared<const Model>(load_model(file_, config_, pool, {}, adapter.draft_ids).value());
    adapter_ = PackedAdapter::create(adapter, *model_, &pool).value();
    backend_ =
        std::make_unique<CountingBackend>(std::move(CpuBackend::create(model_, 1, available_kernels().back())).value());
    seq_ = kv_.add_sequence();
    drafter_ = make_s3d_drafter(*backend_, kv_, adapter_);
  }

  Adapter make_adapter(bool confidence) const {
    namespace names = adapter_names;
    std::mt19937 random(5);
    std::vector<AdapterTensor> tensors;
    const auto add = [&](std::string_view name, std::vector<int64_t> shape, float deviation) {
      std::normal_distribution<float> normal(0, deviation);
      AdapterTensor tensor = {std::string(name), shape, {}};
      tensor.values.resize(usize(shape[0] * (shape.size() > 1 ? shape[1] : 1)));
      for (float& value : tensor.values) value = normal(random);
      tensors.push_back(std::move(tensor));
    };
    std::vector<TokenId> ids;
    for (int i = 1; i <= 40; ++i) ids.push_back(config_.vocab_size - 2 * i);
    add(names::kMasks, {config_.d_model, kMasks}, 1);
    add(names::kMarkovP, {config_.d_model, kMarkovRank}, 0.2F);
    add(names::kMarkovW2, {kMarkovRank, static_cast<int64_t>(ids.size())}, 0.3F);
    if (confidence) {
      add(names::kConfidenceW, {config_.d_model + kMarkovRank}, 0.1F);
      add(names::kConfidenceB, {1}, 0.1F);
    }
    const AdapterConfig config = {.base_fingerprint = kFingerprint, .layers = kPlan, .masks = kMasks};
    auto image = adapter_image(config, tensors, ids, GGML_TYPE_F32).value();
    auto file = std::make_shared<const GgufFile>(std::move(GgufFile::from_bytes(std::move(image), "adapter")).value());
    return open_adapter(file, config_, kFingerprint).value();
  }

  // Logits of row `depth` of a draft after `last` when `previous` was chosen for the row before, as probabilities; and
  // what the confidence head makes of its hidden state and z.
  struct Expected {
    std::vector<double> probabilities;
    double confidence = 0;
  };
  Expected expected(TokenId last, int depth, int32_t previous) {
    std::vector<Row> rows;
    for (int j = 0; j <= kMasks; ++j) rows.push_back({j == 0 ? last : -j, j, j - 1, seq_});
    const std::vector<Want> want(rows.size(), Want::kLogits);
    const auto out = backend_->run({.rows = rows,
                                    .layers = kPlan,
                                    .adapter = adapter_.get(),
                                    .kv = KvUse::kScratch,
                                    .want = want,
                                    .want_hidden = true},
                                   kv_);
    const size_t n = adapter_->draft_size(), d = usize(config_.d_model), at = usize(depth);
    std::vector<float> logits(out->logits.begin() + (at * n), out->logits.begin() + ((at + 1) * n));
    const std::vector<float> hidden(out->hidden.begin() + (at * d), out->hidden.begin() + ((at + 1) * d));
    std::vector<float> z(kMarkovRank);
    backend_->add_markov(*adapter_, {&previous, 1}, logits, z);
    const double largest = *std::max_element(logits.begin(), logits.end());
    Expected result;
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - largest);
    for (const float logit : logits) result.probabilities.push_back(std::exp(logit - largest) / sum);
    double score = bias_;
    for (size_t i = 0; i < hidden.size() && GetParam(); ++i) score += weights_[i] * hidden[i];
    for (size_t i = 0; i < z.size() && GetParam(); ++i) score += weights_[d + i] * z[i];
    result.confidence = 1 / (1 + std::exp(-score));
    return result;
  }
  double probability_of(TokenId token, const Expected& of) const {
    size_t i = 0;
    while (adapter_->draft_token(i) != token) ++i;
    return of.probabilities[i];
  }

  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  KvCache kv_;
  std::vector<float> weights_;
  float bias_ = 0;
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const PackedAdapter> adapter_;
  std::unique_ptr<CountingBackend> backend_;
  KvSequence seq_;
  std::unique_ptr<Drafter> drafter_;
};

TEST_P(S3dDrafterTest, AChainFollowsTheMarkovHeadAndTellsHowSureItIs) {
  const std::vector<TokenId> tokens = {3};
  DraftTree tree;
  ASSERT_TRUE(drafter_->draft({.seq = seq_, .tokens = tokens}, {.nodes = 4, .depth = 4}, tree).ok());
  ASSERT_EQ(4U, tree.size());
  int32_t previous = tokens.back();
  for (int depth = 0; depth < 4; ++depth) {
    const DraftNode& node = tree[depth];
    const Expected want = expected(tokens.back(), depth, previous);
    const double best = *std::max_element(want.probabilities.begin(), want.probabilities.end());
    EXPECT_EQ(best, probability_of(node.token, want));
    EXPECT_EQ(depth - 1, node.parent);
    EXPECT_NEAR(GetParam() ? want.confidence : best, node.probability, 1e-4);
    previous = node.token;
  }
}

TEST_P(S3dDrafterTest, AlternativesShareWhatTheBestLeaves) {
  const std::vector<TokenId> tokens = {3};
  DraftTree tree;
  ASSERT_TRUE(drafter_->draft({.seq = seq_, .tokens = tokens}, {.nodes = 3, .depth = 1, .width = 3}, tree).ok());
  ASSERT_EQ(3U, tree.size());
  const Expected want = expected(tokens.back(), 0, tokens.back());
  const double top = *std::max_element(want.probabilities.begin(), want.probabilities.end());
  for (const DraftNode& node : tree) {
    const double own = probability_of(node.token, want);
    const double estimate = own == top ? want.confidence : own * (1 - want.confidence) / (1 - top);
    EXPECT_NEAR(GetParam() ? estimate : own, node.probability, 1e-4);
  }
  for (size_t i = 1; i < tree.size(); ++i) EXPECT_GE(tree[i - 1].probability, tree[i].probability);
  EXPECT_EQ(3, std::count_if(tree.begin(), tree.end(), [](const DraftNode& node) { return node.parent == -1; }));
}

TEST_P(S3dDrafterTest, AChainRunsNoMoreRowsThanItMayHaveNodes) {
  const std::vector<TokenId> tokens = {3};
  for (int nodes = 1; nodes <= 4; ++nodes) {
    DraftTree tree;
    ASSERT_TRUE(drafter_->draft({.seq = seq_, .tokens = tokens}, {.nodes = nodes, .depth = 4}, tree).ok());
    EXPECT_EQ(usize(nodes), tree.size());
    EXPECT_EQ(nodes, backend_->rows_run());
  }
  EXPECT_EQ(0, kv_.length(seq_));
}

// Whatever vocabulary the first adapter has, and whoever else drafts from one of its own in between: the floor's rows
// are those that the whole LM head has for its tokens, to the last bit.
TEST(UntrainedFloor, ReadsTheRowsOfItsOwnTokens) {
  const auto file = adapter_test::open_base("llama-q8_0");
  const ModelConfig config = read_model_config(*file).value();
  ThreadPool pool(1);
  const auto logits_of = [&](const std::vector<TokenId>& first, std::vector<TokenId>& drafted) {
    const auto model = std::make_shared<const Model>(load_model(file, config, pool, {}, first).value());
    const auto backend = CpuBackend::create(model, 1, choose_kernels().value()).value();
    KvCache kv = KvCache::create(config, KvType::kF32, 64).value();
    const KvSequence seq = kv.add_sequence();
    const Adapter other = adapter_test::AdapterMaker(config, kPlan, /*seed=*/3).make(adapter_test::kAll, GGML_TYPE_F16);
    const auto floor = PackedAdapter::untrained(*model, kPlan, kMasks, isize(first)).value();
    const auto beside = PackedAdapter::create(other, *model, &pool).value();
    EXPECT_EQ(beside->own_head() != nullptr, first != other.draft_ids);
    std::vector<float> logits;
    for (const PackedAdapter* adapter : {floor.get(), beside.get(), floor.get()}) {
      DraftPass pass = {.backend = backend.get(), .kv = &kv, .layers = kPlan, .adapter = adapter};
      for (int j = 0; j < 3; ++j)
        pass.rows.push_back({.token = j == 0 ? 3 : -j, .position = j, .parent = j - 1, .seq = seq});
      const DraftPass* const alone = &pass;
      const PassOutput out = run_together({&alone, 1}).value();
      logits.assign(out.logits.begin(), out.logits.end());
    }
    for (size_t i = 0; i < floor->draft_size(); ++i) drafted.push_back(floor->draft_token(i));
    return logits;
  };
  std::vector<TokenId> all;
  const std::vector<float> whole = logits_of({}, all);
  ASSERT_EQ(isize(all), config.vocab_size);
  std::vector<TokenId> odd, even;
  for (int i = 0; i < 37; ++i) odd.push_back(2 * i + 1), even.push_back(config.vocab_size - 2 * (i + 1));
  for (const std::vector<TokenId>& first : {odd, even}) {
    std::vector<TokenId> drafted;
    const std::vector<float> logits = logits_of(first, drafted);
    EXPECT_EQ(drafted, first);
    ASSERT_EQ(logits.size(), 3 * drafted.size());
    for (size_t i = 0; i < logits.size(); ++i) {
      const size_t row = i / drafted.size(), token = usize(drafted[i % drafted.size()]);
      EXPECT_EQ(logits[i], whole[row * all.size() + token]) << "row " << row << ", token " << token;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Confidence, S3dDrafterTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "with" : "without"; });

}  // namespace
}  // namespace s3d
