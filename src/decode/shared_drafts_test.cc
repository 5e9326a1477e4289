// Drafts of several sequences whose passes are shared: they are those of each sequence alone, to the last bit, and the
// passes are no more than the longest of them takes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu_backend.h"
#include "backend/forwarding_backend.h"
#include "base/index.h"
#include "decode/drafters.h"
#include "decode/eagle_head.h"
#include "decode/medusa_heads.h"
#include "decode/scheduler.h"
#include "decode/speculator.h"
#include "model/drafter_test_maker.h"

namespace s3d {
namespace {

using drafter_test::as_file;
using drafter_test::kFingerprint;
using Tokens = std::vector<TokenId>;

// Counts the passes of whatever it runs.
class CountedBackend : public ForwardingBackend {
 public:
  CountedBackend(std::unique_ptr<Backend> real, int& passes)
      : ForwardingBackend(*real), real_(std::move(real)), passes_(passes) {}
  Result<PassOutput> run(const Block& block, KvCache& kv) override {
    ++passes_;
    return ForwardingBackend::run(block, kv);
  }

 private:
  std::unique_ptr<Backend> real_;
  int& passes_;
};

// Counts the passes of the layers that run beside it.
class CountingBackend : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  Result<std::unique_ptr<Backend>> beside(std::shared_ptr<const Model> model, int max_rows) override {
    S3D_ASSIGN(std::unique_ptr<Backend> layer, ForwardingBackend::beside(std::move(model), max_rows));
    return std::unique_ptr<Backend>(std::make_unique<CountedBackend>(std::move(layer), passes));
  }
  int passes = 0;
};

class SharedDrafts : public testing::Test {
 protected:
  SharedDrafts()
      : file_(std::make_shared<const GgufFile>(
            std::move(GgufFile::open(std::string(S3D_SOURCE_DIR) + "/tests/data/models/llama-f32.gguf")).value())),
        config_(read_model_config(*file_).value()),
        model_(std::make_shared<const Model>(load_model(file_, config_, pool_, {}).value())),
        real_(CpuBackend::create(model_, 1, choose_kernels().value()).value()),
        backend_(*real_),
        kv_(KvCache::create(config_, KvType::kF32, 1024).value()),
        eagle_(open_eagle(as_file(drafter_test::eagle_image(config_, {.echo = true})), config_, kFingerprint).value()) {
  }

  std::shared_ptr<EagleHead> make_head(int positions = 1024) {
    const KvCache as_large = KvCache::create(config_, KvType::kF32, positions).value();
    return EagleHead::create(eagle_, model_, backend_, as_large, pool_).value();
  }
  Tokens text(int n) const {
    Tokens tokens;
    for (int i = 0; i < n; ++i) tokens.push_back((i * i * 37 + n) % config_.vocab_size);
    return tokens;
  }
  // Runs all of the text but its last token on the base, and tells the drafter.
  void show(const Tokens& text, Drafter& drafter) {
    const KvSequence seq = kv_.add_sequence();
    std::vector<Row> rows;
    std::vector<int> all;
    for (int i = 0; i + 1 < isize(text); ++i) rows.push_back({text[usize(i)], i, i - 1, seq}), all.push_back(i);
    const auto out = real_->run(
        {.rows = rows, .layers = LayerSet::all(config_.n_layers), .taps = drafter.taps(), .tapped = all}, kv_);
    ASSERT_TRUE(out.ok()) << out.error().message;
    drafter.observe({.text = text, .first = 0, .count = isize(rows), .features = out->tapped});
  }

  ThreadPool pool_{1};
  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  std::shared_ptr<const Model> model_;
  std::unique_ptr<Backend> real_;
  CountingBackend backend_;
  KvCache kv_;
  EagleFile eagle_;
};

// One who drafts, and the steps of its draft.
struct Sharer {
  std::unique_ptr<Drafter> drafter;
  Tokens text;
  DraftLimits limits;
  std::vector<float> state = {};
  DraftPass pass = {};
  DraftTree tree = {};

  DraftInput input() const { return {.tokens = text, .state = state}; }
};

// Runs what all of them want as one pass, until nobody wants anything.
void draft_together(std::vector<Sharer>& sharers) {
  for (Sharer& one : sharers) one.drafter->ask(one.input(), one.limits, one.pass, one.tree);
  while (true) {
    std::vector<Sharer*> open;
    for (Sharer& one : sharers) {
      const bool fits = open.empty() || is_same_kind(one.pass, open[0]->pass);
      if (!one.pass.rows.empty() && fits) open.push_back(&one);
    }
    if (open.empty()) return;
    std::vector<const DraftPass*> passes;
    std::vector<int> wanted;
    int all = 0, begin = 0;
    for (const Sharer* one : open) {
      passes.push_back(&one->pass);
      const auto silent = std::count(one->pass.want.begin(), one->pass.want.end(), Want::kNothing);
      wanted.push_back(isize(one->pass.rows) - static_cast<int>(silent));
      all += wanted.back();
    }
    const PassOutput out = run_together(passes).value();
    for (size_t i = 0; i < open.size(); ++i) {
      const PassOutput mine = slice(out, begin, wanted[i], all);
      begin += wanted[i];
      open[i]->drafter->take(open[i]->input(), open[i]->limits, &mine, open[i]->pass, open[i]->tree);
    }
  }
}

bool is_equal(const DraftTree& a, const DraftTree& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const DraftNode& x, const DraftNode& y) {
    return x.token == y.token && x.parent == y.parent && x.probability == y.probability;
  });
}

TEST_F(SharedDrafts, AreThoseOfEachSequenceAlone) {
  const std::vector<std::pair<int, DraftLimits>> cases = {
      {9, {.nodes = 4, .depth = 4}}, {30, {.nodes = 9, .depth = 5, .width = 3}}, {14, {.nodes = 1, .depth = 1}}};
  std::vector<DraftTree> alone;
  int most_passes = 0;
  for (const auto& [n, limits] : cases) {
    const auto drafter = make_eagle_drafter(make_head());
    const Tokens mine = text(n);
    show(mine, *drafter);
    backend_.passes = 0;
    ASSERT_TRUE(drafter->draft({.tokens = mine}, limits, alone.emplace_back()).ok());
    EXPECT_EQ(backend_.passes, limits.depth) << "the text, and each depth but the first";
    most_passes = std::max(most_passes, backend_.passes);
  }
  const std::shared_ptr<EagleHead> head = make_head();
  std::vector<Sharer> sharers;
  for (const auto& [n, limits] : cases) {
    sharers.push_back({.drafter = make_eagle_drafter(head), .text = text(n), .limits = limits});
    show(sharers.back().text, *sharers.back().drafter);
  }
  backend_.passes = 0;
  draft_together(sharers);
  EXPECT_EQ(backend_.passes, most_passes);
  for (size_t i = 0; i < sharers.size(); ++i) {
    EXPECT_EQ(isize(sharers[i].tree), sharers[i].limits.nodes) << i;
    EXPECT_TRUE(is_equal(sharers[i].tree, alone[i])) << i;
  }
}

// The heads' products are shared; each sequence has as many heads as its draft is deep.
TEST_F(SharedDrafts, OfMedusaAreThoseOfEachSequenceAloneToo) {
  for (const int rank : {0, 32}) {
    const MedusaFile file =
        open_medusa(as_file(drafter_test::medusa_image(config_, {.rank = rank})), config_, kFingerprint).value();
    const auto heads = MedusaHeads::create(file, model_, backend_, pool_).value();
    const std::vector<DraftLimits> limits = {
        {.nodes = 3, .depth = 3}, {.nodes = 6, .depth = 2, .width = 3}, {.nodes = 1, .depth = 1}};
    std::vector<Sharer> sharers;
    std::vector<DraftTree> alone;
    for (size_t i = 0; i < limits.size(); ++i) {
      sharers.push_back({.drafter = make_medusa_drafter(heads), .text = text(5), .limits = limits[i]});
      for (int j = 0; j < config_.d_model; ++j) sharers[i].state.push_back(std::sin(static_cast<float>(j * j) + i));
      ASSERT_TRUE(sharers[i].drafter->draft(sharers[i].input(), limits[i], alone.emplace_back()).ok());
    }
    draft_together(sharers);
    for (size_t i = 0; i < sharers.size(); ++i) {
      EXPECT_EQ(isize(sharers[i].tree), limits[i].nodes) << i;
      EXPECT_TRUE(is_equal(sharers[i].tree, alone[i])) << i << ", rank " << rank;
    }
  }
}

class SharedByScheduler : public SharedDrafts {
 protected:
  // The answers to so many requests of that text at once.
  std::vector<Generation> answers(int requests, const std::shared_ptr<EagleHead>& head) {
    Scheduler scheduler(backend_, kv_);
    std::vector<Generation> out;
    for (int i = 0; i < requests; ++i) {
      Request request = {.prompt = text(20)};
      request.options.max_tokens = 30;
      if (head != nullptr) request.speculator = make_fixed_speculator(make_eagle_drafter(head), 4, /*width=*/2);
      scheduler.submit(std::move(request), [&out](Result<Generation> result) {
        ASSERT_TRUE(result.ok()) << result.error().message;
        out.push_back(std::move(result).value());
      });
    }
    backend_.passes = 0;
    while (!scheduler.idle()) EXPECT_TRUE(scheduler.step().ok());
    return out;
  }
};

TEST_F(SharedByScheduler, EqualTextsTakeNoMorePassesThanOne) {
  const std::vector<Generation> one = answers(1, make_head());
  const int passes = backend_.passes;
  const std::vector<Generation> three = answers(3, make_head());
  EXPECT_GT(passes, 10);
  EXPECT_EQ(backend_.passes, passes);
  ASSERT_EQ(three.size(), 3U);
  for (const Generation& answer : three) {
    EXPECT_EQ(answer.tokens, one[0].tokens);
    EXPECT_EQ(answer.spec.num_accepted_tokens, one[0].spec.num_accepted_tokens);
  }
}

// Two of them have a page of the drafter's cache, the third has none.
TEST_F(SharedByScheduler, WithoutMemoryForItsDraftsATextIsTheSame) {
  const std::vector<Generation> plain = answers(1, nullptr);
  const std::vector<Generation> three = answers(3, make_head(2 * KvCache::kPageTokens));
  ASSERT_EQ(three.size(), 3U);
  std::vector<int64_t> drafts;
  for (const Generation& answer : three) {
    EXPECT_EQ(answer.tokens, plain[0].tokens);
    drafts.push_back(answer.spec.num_drafts);
  }
  std::sort(drafts.begin(), drafts.end());
  EXPECT_EQ(drafts[0], 0);
  EXPECT_GT(drafts[1], 0);
}

}  // namespace
}  // namespace s3d
