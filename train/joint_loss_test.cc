#include "train/joint_loss.h"

#include <gmock/gmock.h>

#include <cmath>

#include "train/base_score.h"
#include "train/test_models.h"
#include "train/trained_layers.h"

namespace s3d::train {
namespace {

// Three layers, the middle one skipped, and all parts of an adapter but LoRA.
struct Setting {
  explicit Setting(std::string_view family)
      : base(load_base(write_tiny_model({.family = family, .layers = 3}), torch::kFloat32, torch::kCPU, 64).value()),
        data(random_dataset(3, 4, 12, base.config.vocab_size)) {
    recipe.adapter = {.layers = {1, 1}, .masks = 3, .bridge_rank = 3, .markov_rank = 5, .state_rank = 3};
    recipe.adapter.state_on_first_row = true;
    recipe.per_group = 3;
    recipe.joint = JointOptions{.ar_weight = 0.7};
    params = new_params(base, recipe.adapter, {}, 1);
    randomize(params, 0.05, 2);
  }

  JointLoss loss() const {
    return joint_loss(base, DraftBlock(base, {}), params, data, {1, {4, 7}}, recipe.adapter.masks + 1, recipe);
  }

  BaseModel base;
  Dataset data;
  Recipe recipe;
  DraftParams params;
};

TEST(JointLoss, GradientsAreThoseOfFiniteDifferences) {
  for (const char* family : {"llama", "qwen2"}) {
    Setting setting(family);
    const TrainedLayers layers = TrainedLayers::create(setting.base, setting.recipe.adapter).value();
    setting.loss().total.backward();
    const auto loss = [&] { return setting.loss().total.item<double>(); };
    for (const NamedTensor& named : setting.params.tensors) {
      expect_gradient(loss, named.value, std::string(family) + " " + named.name);
    }
    for (const int layer : {0, 2}) {
      for (int t = 0; t < kLoraTargets; ++t) {
        expect_gradient(loss, setting.base.layers[static_cast<size_t>(layer)].matrices[static_cast<size_t>(t)],
                        std::string(family) + " " + matrix_name(layer, static_cast<LoraTarget>(t)));
      }
    }
    for (const Tensor& matrix : setting.base.layers[1].matrices) EXPECT_FALSE(matrix.requires_grad());
    EXPECT_FALSE(setting.base.embedding.requires_grad());
  }
}

// The draft's part is the loss of training an adapter on the same base, whose records a store holds.
TEST(JointLoss, DraftPartIsThatOfAnAdapter) {
  Setting setting("llama");
  setting.recipe.loss.soft_share = 0.5;
  setting.recipe.soft_tokens = 8;
  const AdapterConfig& config = setting.recipe.adapter;
  const auto store = RecordStore::build(setting.base, setting.data,
                                        {.layers = config.layers, .states = RecordStates::kAnswer, .soft_targets = 8});
  ASSERT_TRUE(store.ok()) << store.error().message;
  const torch::NoGradGuard no_grad;
  const JointLoss joint = setting.loss();
  const TrainingBatch batch = make_batch(setting.data, *store, config, {{1, {4, 7}}}, 3, torch::kCPU);
  const Tensor last = torch::tensor(int64_t{setting.data.sequences[1].length() - 1});
  const Tensor at = torch::minimum(batch.draft.positions.unsqueeze(2) + torch::arange(config.masks + 1), last);
  const LossSums alone = draft_loss(DraftBlock(setting.base, {}), setting.params, batch,
                                    store->soft_targets(batch.sequences, at), setting.recipe.loss);
  EXPECT_DOUBLE_EQ(joint.draft.weight, alone.weight);
  // The store holds half floats.
  EXPECT_NEAR(joint.draft.loss.item<double>(), alone.loss.item<double>(), 2e-3 * alone.loss.item<double>());
  EXPECT_NEAR(joint.total.item<double>(),
              joint.draft.loss.item<double>() + 0.7 * joint.draft.weight * joint.autoregressive.item<double>(), 1e-3);
}

TEST(JointLoss, AutoregressivePartIsThePerplexity) {
  const Setting setting("qwen2");
  const torch::NoGradGuard no_grad;
  const Sequence& sequence = setting.data.sequences[1];
  const BaseScore score =
      score_answer(setting.base, sequence, base_forward(setting.base, token_tensor(setting.base, sequence.tokens)));
  EXPECT_EQ(score.tokens, sequence.answer_length());
  EXPECT_NEAR(std::log(score.perplexity()), setting.loss().autoregressive.item<double>(), 1e-5);
}

}  // namespace
}  // namespace s3d::train
