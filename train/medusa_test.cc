#include "train/medusa.h"

#include <gmock/gmock.h>

#include "base/test_folder.h"
#include "train/drafter.h"
#include "train/medusa_drafter.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

struct Setting : DrafterSetting {
  explicit Setting(std::string_view family, int rank = 3, std::vector<int32_t> ids = {})
      : DrafterSetting(family, RecordStates::kAnswer, medusa_recipe()),
        params(new_medusa(base, 3, rank, std::move(ids), 1)) {
    randomize(params.tensors, 0.1, 2);
    recipe.medusa = MedusaOptions{.heads = 3, .head_rank = rank};
    recipe.per_group = 3;
  }

  std::unique_ptr<TrainedDrafter> drafter(const TestFolder& folder) const {
    const std::string path = folder / "medusa.gguf";
    write_bytes(path, medusa_image(base, params, GGML_TYPE_F32).value());
    return std::move(read_medusa(recipe, base, path)).value();
  }

  MedusaParams params;
};

// The formulas of docs/drafters.md in double precision, for one state.
Tensor logits_of(const Setting& setting, const Tensor& state, int k) {
  const auto wide = [](const Tensor& t) { return t.to(torch::kDouble); };
  const MedusaParams::Head& head = setting.params.heads[static_cast<size_t>(k)];
  const Tensor m = wide(state) * wide(setting.base.output_norm);
  const Tensor s = torch::mv(wide(head.weight), m) + wide(head.bias);
  const Tensor v = m + s / (1 + (-s).exp());
  Tensor out = torch::mv(wide(setting.base.lm_head), v);
  if (!setting.params.draft_ids.empty()) out = out.index_select(0, longs(setting.params.draft_ids));
  if (head.down.defined()) out = out + torch::mv(wide(head.up), torch::mv(wide(head.down), v));
  return out;
}

TEST(Medusa, LogitsAreThoseOfTheFormulas) {
  for (const int rank : {0, 3}) {
    const Setting setting("llama", rank, {5, 2, 250, 17, 33, 4});
    const torch::NoGradGuard no_grad;
    const Tensor state = setting.state(1, 8);
    const DraftHead head(setting.base, setting.params.draft_ids);
    const Tensor logits = medusa_logits(setting.base, setting.params, head, state.unsqueeze(0), 3)[0];
    for (int k = 0; k < 3; ++k) {
      EXPECT_LT(relative_error(logits[k].to(torch::kDouble), logits_of(setting, state, k)), 1e-5) << rank << " " << k;
    }
  }
}

TEST(Medusa, UntrainedHeadsSayWhatTheBaseSays) {
  const Setting setting("llama");
  const MedusaParams fresh = new_medusa(setting.base, 2, 4, {}, 1);
  const torch::NoGradGuard no_grad;
  const Tensor state = setting.state(0, 9).unsqueeze(0);
  const Tensor logits = medusa_logits(setting.base, fresh, DraftHead(setting.base, {}), state, 2)[0];
  const Tensor base = project(state * setting.base.output_norm, setting.base.lm_head)[0];
  EXPECT_LT(relative_error(logits[0], base), 1e-6);
  EXPECT_LT(relative_error(logits[1], base), 1e-6);
}

// The chain at an anchor comes from the state that chose its token.
TEST(Medusa, ChainsAreWhatAnEngineWouldDraft) {
  const TestFolder folder;
  const std::vector<int32_t> ids = {5, 2, 250, 17, 33, 4, 91, 100};
  const Setting setting("qwen2", 3, ids);
  const torch::NoGradGuard no_grad;
  const auto chains = setting.drafter(folder)->chains(setting.data, setting.records, 2);
  const Sequence& sequence = setting.data.sequences[2];
  ASSERT_EQ(chains.size(), all_anchors(sequence).size());
  for (const int t : all_anchors(sequence)) {
    std::vector<int32_t> expected;
    for (int k = 0; k < 3; ++k) {
      expected.push_back(
          ids[static_cast<size_t>(logits_of(setting, setting.state(2, t - 1), k).argmax().item<int64_t>())]);
    }
    EXPECT_EQ(chains[static_cast<size_t>(t - sequence.prompt_length)], expected) << "anchor " << t;
  }
}

TEST(Medusa, GradientsAreThoseOfFiniteDifferences) {
  const TestFolder folder;
  const Setting setting("llama");
  const auto drafter = setting.drafter(folder);
  const std::vector<AnchorGroup> groups = {{0, {4, 7, 8}}, {1, {5}}};
  const auto loss = [&] {
    const torch::AutoGradMode with_grad(true);  // the loss walks back by itself
    return drafter->add_gradients(setting.data, setting.records, groups, 3).loss;
  };
  loss();
  std::vector<Tensor> gradients;  // later calls add to them
  for (const NamedTensor& named : drafter->tensors()) gradients.push_back(named.value.grad().clone());
  size_t i = 0;
  for (const NamedTensor& named : drafter->tensors()) {
    named.value.mutable_grad() = gradients[i++];
    expect_gradient(loss, named.value, named.name);
  }
}

// Head k learns the token k + 1 behind the anchor's, and nothing where the text has ended.
TEST(Medusa, LearnsTheTokensBehindTheAnchor) {
  const TestFolder folder;
  Setting setting("llama");
  setting.recipe.loss = {.sample_rows = true, .soft_share = 0};
  const auto drafter = setting.drafter(folder);
  const int t = 9, last = setting.data.sequences[1].length() - 2;
  EXPECT_DOUBLE_EQ(drafter->add_gradients(setting.data, setting.records, {{1, {t, last}}}, 3).weight, 4);
  double expected = 0;
  for (int k = 0; k < 3; ++k) {
    const torch::NoGradGuard no_grad;
    const auto target = static_cast<size_t>(t + 1 + k);
    const Tensor log_q = logits_of(setting, setting.state(1, t - 1), k).log_softmax(0);
    expected -= log_q[setting.data.sequences[1].tokens[target]].item<double>();
  }
  EXPECT_NEAR(drafter->add_gradients(setting.data, setting.records, {{1, {t}}}, 3).loss, expected, 1e-4 * expected);
}

TEST(Medusa, RoundTripThroughAFile) {
  const TestFolder folder;
  const Setting setting("qwen2", 3, {3, 1, 2});
  const std::string path = folder / "medusa.gguf";
  write_bytes(path, medusa_image(setting.base, setting.params, GGML_TYPE_F32).value());
  const auto read = read_medusa_params(setting.base, path);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->heads.size(), 3U);
  EXPECT_EQ(read->draft_ids, setting.params.draft_ids);
  for (const NamedTensor& named : setting.params.tensors) {
    EXPECT_TRUE(read->tensors.get(named.name).equal(named.value)) << named.name;
  }
}

}  // namespace
}  // namespace s3d::train
