// The scheduler on the emulated device: batches, drafts of every kind with random adapters, masks that ride, too little
// memory, prefixes in common, constraints. Every text is the one that the CPU writes alone and plainly.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "backend/adapter_test_maker.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/split_backend.h"
#include "base/index.h"
#include "decode/constraint.h"
#include "decode/cost_model.h"
#include "decode/drafters.h"
#include "decode/eagle_head.h"
#include "decode/medusa_heads.h"
#include "decode/planner.h"
#include "decode/scheduler.h"
#include "model/drafter_test_maker.h"

namespace s3d {
namespace {

using adapter_test::Drafted;
using adapter_test::Parts;
using Tokens = std::vector<TokenId>;

// Every other token may come.
class EvenConstraint : public Constraint {
 public:
  bool allowed(std::span<uint32_t> mask) override {
    std::fill(mask.begin(), mask.end(), 0x55555555U);
    return true;
  }
  bool push(TokenId token) override { return token % 2 == 0; }
  void pop(int /*count*/) override {}
  void forced(int /*most*/, Tokens& tokens) override { tokens.clear(); }
};

enum class Drafts : uint8_t { kNone, kSuffix, kS3d, kTree, kLayerSkip, kFused, kPlanned, kEagle, kMedusa };

struct Asked {
  Drafts drafts;
  SamplerOptions sampler;
  int text;           // prompts of one text begin alike
  int prompt_tokens;  // of it
  int max_tokens;
  bool constrained = false;
  int arrives = 0;  // step
};

constexpr SamplerOptions kGreedy = {}, kTopK = {.temperature = 1, .top_k = 8, .seed = 3},
                         kFree = {.temperature = 0.8F, .top_p = 0.9F, .seed = 4};

// A model with random adapters for draft passes and for riders, and files of other drafters that say what the base said
// last, on the CPU and on the emulated device, or on several that share its layers; of those, -1 is the CPU.
class Stage {
 public:
  explicit Stage(const std::vector<int>& devices = {0})
      : drafted_("llama-q8_0", {1, 1}, {}, GGML_TYPE_F16),
        fused_(adapter_test::AdapterMaker(drafted_.config, LayerSet::all(drafted_.config.n_layers), 2)
                   .make({.state = false, .bridge = false, .fused = true}, GGML_TYPE_F16)),
        cpu_(CpuBackend::create(drafted_.model, 1, choose_kernels().value(), 64).value()),
        cuda_(make(devices)) {
    ThreadPool pool(1);
    riders_ = PackedAdapter::create(fused_, *drafted_.model, &pool).value();
    using namespace drafter_test;
    eagle_ =
        open_eagle(as_file(eagle_image(drafted_.config, {.echo = true})), drafted_.config, drafter_test::kFingerprint)
            .value();
    const auto medusa = open_medusa(as_file(medusa_image(drafted_.config, {.rank = 32, .echo = true})), drafted_.config,
                                    drafter_test::kFingerprint)
                            .value();
    medusa_ = MedusaHeads::create(medusa, drafted_.model, *cuda_, pool).value();
  }

  Backend& cuda() { return *cuda_; }
  int vocab() const { return drafted_.config.vocab_size; }

  // Texts that repeat themselves, so that copying pays.
  Request request(const Asked& asked) const {
    Request request;
    for (int i = 0; i < asked.prompt_tokens; ++i)
      request.prompt.push_back((17 * (i % 7) + 5 * asked.text + 3) % vocab());
    request.options.sampler = asked.sampler;
    request.options.max_tokens = asked.max_tokens;
    if (asked.constrained) request.options.constraint = std::make_shared<EvenConstraint>();
    return request;
  }

  Tokens alone(const Asked& asked) {
    KvCache kv = cpu_->make_kv_cache(KvType::kF16, 256).value();
    const KvSequence seq = kv.add_sequence();
    const Request plain = request(asked);
    return generate(*cpu_, kv, seq, plain.prompt, plain.options).value().tokens;
  }

  std::shared_ptr<Speculator> speculator(Drafts drafts, KvCache& kv) {
    switch (drafts) {
      case Drafts::kSuffix:
        return make_fixed_speculator(make_suffix_drafter(), 4);
      case Drafts::kS3d:
        return make_fixed_speculator(make_s3d_drafter(*cuda_, kv, drafted_.packed), 3);
      case Drafts::kTree:
        return make_fixed_speculator(make_s3d_drafter(*cuda_, kv, drafted_.packed), 6, /*width=*/3);
      case Drafts::kLayerSkip:
        return make_fixed_speculator(make_layer_skip_drafter(*cuda_, kv, {1, 1}, 2), 2);
      case Drafts::kFused:
        return make_fixed_speculator(make_fused_drafter(*cuda_, riders_), 3);
      case Drafts::kPlanned: {
        std::vector<std::unique_ptr<Drafter>> free;
        free.push_back(make_suffix_drafter());
        return std::make_shared<Planner>(std::move(free), make_s3d_drafter(*cuda_, kv, drafted_.packed),
                                         std::make_shared<Experience>(), 2);
      }
      case Drafts::kEagle:
        return make_fixed_speculator(make_eagle_drafter(eagle_head(kv)), 4, /*width=*/2);
      case Drafts::kMedusa:
        return make_fixed_speculator(make_medusa_drafter(medusa_), 3);
      case Drafts::kNone:
        break;
    }
    return nullptr;
  }

 private:
  // Each has a layer, the last one those that are left.
  std::unique_ptr<Backend> make(const std::vector<int>& devices) const {
    std::vector<SplitBackend::Part> parts;
    for (size_t i = 0; i < devices.size(); ++i) {
      const int first = static_cast<int>(i), n = drafted_.config.n_layers;
      const cuda::LayerRange range = {first, i + 1 == devices.size() ? n : first + 1};
      std::unique_ptr<Backend> backend;
      if (devices[i] < 0) {
        backend = CpuBackend::create(drafted_.model, 1, choose_kernels().value(), 24).value();
      } else {
        backend = CudaBackend::create(drafted_.model, cuda::make_emulated_device(), nullptr, 24, range).value();
      }
      if (devices.size() == 1) return backend;
      parts.push_back({std::move(backend), range.end - range.first});
    }
    return SplitBackend::create(drafted_.model, std::move(parts)).value();
  }

  std::shared_ptr<EagleHead> eagle_head(const KvCache& kv) {
    ThreadPool pool(1);
    if (eagle_head_ == nullptr) eagle_head_ = EagleHead::create(eagle_, drafted_.model, *cuda_, kv, pool).value();
    return eagle_head_;
  }

  Drafted drafted_;
  Adapter fused_;
  std::unique_ptr<CpuBackend> cpu_;
  std::unique_ptr<Backend> cuda_;
  std::shared_ptr<const PackedAdapter> riders_;
  EagleFile eagle_;
  std::shared_ptr<EagleHead> eagle_head_;
  std::shared_ptr<MedusaHeads> medusa_;
};

// Runs all on one scheduler, and compares.
SchedulerStats try_all(Stage& stage, const std::vector<Asked>& all, int positions, size_t cached_positions) {
  KvCache kv = stage.cuda().make_kv_cache(KvType::kF16, positions).value();
  const auto costs =
      std::make_shared<PassCosts>(PassCosts::through(std::array<PassCosts::Point, 2>{{{1, 1e-3}, {11, 2e-3}}}));
  Scheduler scheduler(
      stage.cuda(), kv,
      {.max_running = 4, .step_seconds = 0, .cache_bytes = cached_positions * kv.bytes_per_token(), .costs = costs});
  size_t answers = 0;
  for (int step = 0; step < 500; ++step) {
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].arrives != step) continue;
      Request request = stage.request(all[i]);
      request.speculator = stage.speculator(all[i].drafts, kv);
      scheduler.submit(std::move(request), [&, i](const Result<Generation>& result) {
        ++answers;
        ASSERT_TRUE(result.ok()) << result.error().message;
        EXPECT_EQ(result->tokens, stage.alone(all[i])) << "request " << i;
      });
    }
    if (step > 40 && scheduler.idle()) break;
    EXPECT_TRUE(scheduler.step().ok());
  }
  EXPECT_EQ(answers, all.size());
  return scheduler.stats();
}

TEST(EmulatedScheduler, EveryTextIsThatOfTheCpuAlone) {
  Stage stage;
  const std::vector<Asked> all = {
      {Drafts::kNone, kGreedy, 1, 30, 8},
      {Drafts::kS3d, kGreedy, 1, 25, 10},
      {Drafts::kTree, kTopK, 2, 12, 8},
      {Drafts::kLayerSkip, kFree, 3, 9, 6, false, 2},
      {Drafts::kSuffix, kGreedy, 2, 40, 12, false, 3},
      {Drafts::kFused, kTopK, 1, 14, 8, false, 4},
      {Drafts::kTree, kGreedy, 1, 20, 8, true, 5},
      {Drafts::kPlanned, kTopK, 3, 33, 12, false, 6},
  };
  const SchedulerStats stats = try_all(stage, all, 1024, 0);
  EXPECT_GT(stats.spec.num_accepted_tokens, 0) << "no draft was ever accepted: nothing was tested";
}

// Layers and heads of their own, and all that draft passes do, on one device, beside the CPU, and on two devices.
TEST(EmulatedScheduler, OfADividedModel) {
  for (const std::vector<int>& devices : {std::vector<int>{0}, {-1, 0}, {0, 1}}) {
    Stage stage(devices);
    const SchedulerStats stats = try_all(stage,
                                         {{Drafts::kEagle, kGreedy, 1, 20, 16},
                                          {Drafts::kMedusa, kGreedy, 1, 30, 16},
                                          {Drafts::kEagle, kTopK, 2, 25, 8, false, 2},
                                          {Drafts::kTree, kTopK, 3, 70, 6, false, 3},
                                          {Drafts::kMedusa, kFree, 3, 80, 6, true, 31},
                                          {Drafts::kFused, kGreedy, 3, 75, 6, false, 32}},
                                         1024, 512);
    EXPECT_GT(stats.spec.num_accepted_tokens, 0) << "no draft was ever accepted: nothing was tested";
    EXPECT_GT(stats.cached_prompt_tokens, 0) << "nothing was ever found in the prefix cache";
  }
}

TEST(EmulatedScheduler, TooLittleMemory) {
  Stage stage;
  const std::vector<Asked> all = {{Drafts::kTree, kGreedy, 1, 60, 14},
                                  {Drafts::kSuffix, kTopK, 2, 60, 14},
                                  {Drafts::kFused, kGreedy, 1, 50, 8, false, 3}};
  const SchedulerStats stats = try_all(stage, all, 192, 0);
  EXPECT_GT(stats.preemptions, 0) << "memory was never short: nothing was tested";
}

TEST(EmulatedScheduler, PrefixesInCommon) {
  Stage stage;
  const std::vector<Asked> all = {{Drafts::kNone, kGreedy, 1, 90, 4},
                                  {Drafts::kTree, kGreedy, 1, 100, 6, false, 30},
                                  {Drafts::kS3d, kTopK, 1, 80, 6, false, 31}};
  const SchedulerStats stats = try_all(stage, all, 1024, 512);
  EXPECT_GT(stats.cached_prompt_tokens, 0) << "nothing was ever found in the prefix cache";
}

}  // namespace
}  // namespace s3d
