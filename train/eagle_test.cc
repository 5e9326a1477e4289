#include "train/eagle.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "base/test_folder.h"
#include "train/draft_head.h"
#include "train/drafter.h"
#include "train/eagle_drafter.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

using testing::HasSubstr;

// The formulas of docs/drafters.md in double precision, one row after another, as an engine runs them.
class OneByOne {
 public:
  OneByOne(const BaseModel& base, const EagleParams& params) : base_(base), config_(base.config), params_(params) {}

  struct Node {
    Tensor y;                   // output of the row
    std::vector<LayerKv> seen;  // keys and values of the rows before it and of its own, [kv_heads, head_dim]
  };

  // The row of `token` with the feature g behind the rows of `before`.
  Node row(int32_t token, const Tensor& g, const std::vector<LayerKv>& before) const {
    const auto position = static_cast<double>(before.size());
    const Tensor e = base_.embedding[token].to(torch::kDouble) * config_.embedding_scale;
    const Tensor x = apply(params_.fc, torch::cat({rms(e), g}));
    const BaseLayer& layer = params_.layer;
    const Tensor a = rms(x) * layer.attn_norm.to(torch::kDouble);
    const Tensor q = turned(heads(LoraTarget::kQ, a, layer.bq, config_.n_heads), position);
    Node node = {{}, before};
    node.seen.push_back({turned(heads(LoraTarget::kK, a, layer.bk, config_.n_kv_heads), position),
                         heads(LoraTarget::kV, a, layer.bv, config_.n_kv_heads)});
    const Tensor mixed = x + apply(matrix(LoraTarget::kOutput), attention(q, node.seen));
    const Tensor f = rms(mixed) * layer.ffn_norm.to(torch::kDouble);
    const Tensor gate = apply(matrix(LoraTarget::kGate), f);
    node.y = mixed + apply(matrix(LoraTarget::kDown), gate / (1 + (-gate).exp()) * apply(matrix(LoraTarget::kUp), f));
    return node;
  }

  Tensor logits(const Tensor& y) const { return apply(base_.lm_head, rms(y) * base_.output_norm.to(torch::kDouble)); }
  Tensor rms(const Tensor& v) const { return v / (v.square().mean() + config_.norm_eps).sqrt(); }

 private:
  const Tensor& matrix(LoraTarget target) const { return params_.layer.matrices[static_cast<size_t>(target)]; }
  static Tensor apply(const Tensor& w, const Tensor& x) { return torch::mv(w.to(torch::kDouble), x); }
  Tensor heads(LoraTarget target, const Tensor& x, const Tensor& bias, int count) const {
    Tensor y = apply(matrix(target), x);
    if (bias.defined()) y = y + bias.to(torch::kDouble);
    return y.view({count, config_.head_dim});
  }

  Tensor turned(const Tensor& x, double position) const {
    Tensor out = x.clone();
    const int half = config_.rope.dims / 2;
    const bool pairs = config_.rope_style == RopeStyle::kInterleaved;
    for (int i = 0; i < half; ++i) {
      const double factor = config_.rope.factors.empty() ? 1 : config_.rope.factors[static_cast<size_t>(i)];
      const double frequency = std::pow(double{config_.rope.base}, -2.0 * i / config_.rope.dims) / factor;
      const double angle = position * frequency * config_.rope.scale;
      const int a = pairs ? 2 * i : i, b = pairs ? 2 * i + 1 : i + half;
      const Tensor first = x.select(1, a), second = x.select(1, b);
      out.select(1, a).copy_(first * std::cos(angle) - second * std::sin(angle));
      out.select(1, b).copy_(first * std::sin(angle) + second * std::cos(angle));
    }
    return out;
  }

  Tensor attention(const Tensor& q, const std::vector<LayerKv>& seen) const {
    std::vector<Tensor> out;
    for (int head = 0; head < config_.n_heads; ++head) {
      const int group = head / (config_.n_heads / config_.n_kv_heads);
      std::vector<Tensor> scores;
      for (const LayerKv& kv : seen) scores.push_back(torch::dot(q[head], kv.keys[group]) * config_.attention_scale);
      const Tensor weights = torch::stack(scores).softmax(0);
      Tensor sum = torch::zeros({config_.head_dim}, torch::kDouble);
      for (size_t i = 0; i < seen.size(); ++i) sum = sum + weights[static_cast<int64_t>(i)] * seen[i].values[group];
      out.push_back(sum);
    }
    return torch::cat(out);
  }

  const BaseModel& base_;
  const ModelConfig& config_;
  const EagleParams& params_;
};

// With an EAGLE layer that does something.
struct Setting : DrafterSetting {
  explicit Setting(std::string_view family, std::vector<int32_t> ids = {})
      : DrafterSetting(family, RecordStates::kAll, eagle_recipe()), params(new_eagle(base, std::move(ids))) {
    randomize(params.tensors, 0.05, 2);
    recipe.eagle->steps = 3;
  }

  Tensor state(int sequence, int position) const {
    return DrafterSetting::state(sequence, position).to(torch::kDouble);
  }
  std::vector<int32_t> tokens(int sequence) const { return data.sequences[static_cast<size_t>(sequence)].tokens; }

  EagleText text(int sequence) const {
    const std::vector<int32_t> all = tokens(sequence);
    std::vector<Tensor> features;
    for (size_t i = 0; i + 2 < all.size(); ++i) features.push_back(state(sequence, static_cast<int>(i)));
    return {longs({all.begin() + 1, all.end() - 1}), torch::stack(features).to(torch::kFloat32),
            data.sequences[static_cast<size_t>(sequence)].prompt_length - 1};
  }

  // The chain that begins at the row of position t, one row after another: as many greedy tokens as `next` has none of.
  std::vector<OneByOne::Node> chain(int sequence, int t, int depth, const std::vector<int32_t>& ids,
                                    std::vector<int32_t>& drafted) const {
    const OneByOne layer(base, params);
    const std::vector<int32_t> all = tokens(sequence);
    std::vector<LayerKv> seen;
    OneByOne::Node node;
    for (int i = 1; i <= t; ++i) {
      node = layer.row(all[static_cast<size_t>(i)], state(sequence, i - 1), seen);
      seen = node.seen;
    }
    std::vector<OneByOne::Node> out = {node};
    for (int j = 0; j < depth; ++j) {
      const Tensor logits = layer.logits(out.back().y);
      const int64_t best = ids.empty()
                               ? logits.argmax().item<int64_t>()
                               : ids[static_cast<size_t>(logits.index_select(0, longs(ids)).argmax().item<int64_t>())];
      drafted.push_back(static_cast<int32_t>(best));
      if (j + 1 < depth) out.push_back(layer.row(drafted.back(), layer.rms(out.back().y), out.back().seen));
    }
    return out;
  }

  std::unique_ptr<TrainedDrafter> drafter(const TestFolder& folder) const {
    const std::string path = folder / "eagle.gguf";
    write_bytes(path, eagle_image(base, params, GGML_TYPE_F32).value());
    return std::move(read_eagle(recipe, base, path)).value();
  }

  EagleParams params;
};

TEST(Eagle, RowsAreThoseOfOneAfterAnother) {
  for (const char* family : {"llama", "qwen2"}) {
    const Setting setting(family);
    const torch::NoGradGuard no_grad;
    const int t = 7, first = setting.data.sequences[1].prompt_length;
    std::vector<int32_t> drafted;
    const auto expected = setting.chain(1, t, 3, {}, drafted);
    const DraftHead head(setting.base, {});
    int depths = 0;
    run_eagle(setting.base, setting.params, setting.text(1), 3, [&](int step, const Tensor& hidden) {
      EXPECT_LT(relative_error(hidden[t - first].to(torch::kDouble), expected[static_cast<size_t>(step)].y), 1e-5)
          << family << " depth " << step;
      ++depths;
      const Tensor normed = rms_norm(hidden, setting.base.output_norm, setting.base.config.norm_eps);
      return head.best(head.logits(normed)).slice(0, 0, hidden.size(0) - 1);
    });
    EXPECT_EQ(depths, 3);
  }
}

TEST(Eagle, ChainsAreWhatAnEngineWouldDraft) {
  const TestFolder folder;
  const std::vector<int32_t> ids = {5, 2, 250, 17, 33, 4, 91, 100};
  const Setting setting("llama", ids);
  const torch::NoGradGuard no_grad;
  const auto drafter = setting.drafter(folder);
  const auto chains = drafter->chains(setting.data, setting.records, 2);
  const Sequence& sequence = setting.data.sequences[2];
  ASSERT_EQ(chains.size(), all_anchors(sequence).size());
  for (const int t : {sequence.prompt_length, sequence.prompt_length + 3, sequence.length() - 2}) {
    const int depth = std::min(4, sequence.length() - 1 - t);  // of what lies in the text
    std::vector<int32_t> expected;
    setting.chain(2, t, depth, ids, expected);
    std::vector<int32_t> chain = chains[static_cast<size_t>(t - sequence.prompt_length)];
    ASSERT_EQ(chain.size(), 4U);
    chain.resize(static_cast<size_t>(depth));
    EXPECT_EQ(chain, expected) << "anchor " << t;
  }
}

TEST(Eagle, GradientsAreThoseOfFiniteDifferences) {
  for (const char* family : {"llama", "qwen2"}) {
    const TestFolder folder;
    const Setting setting(family);
    const auto drafter = setting.drafter(folder);
    const std::vector<AnchorGroup> groups = {{0, {4, 7, 8}}, {1, all_anchors(setting.data.sequences[1])}};
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
      expect_gradient(loss, named.value, family + (" " + named.name));
    }
  }
}

// Of the tokens that no row can draft, and of anchors whose text ends, nothing is learned.
TEST(Eagle, WeighsWhatCanBeLearned) {
  const TestFolder folder;
  Setting setting("llama");
  const auto drafter = setting.drafter(folder);
  const int last = setting.data.sequences[0].length() - 2;
  setting.recipe.loss.sample_rows = true;
  EXPECT_DOUBLE_EQ(drafter->add_gradients(setting.data, setting.records, {{0, {6, last}}}, 3).weight, 4);
  const std::vector<int32_t> tokens = setting.tokens(0);
  int32_t absent = 0;  // a token that no row has as its target
  while (std::find(tokens.begin(), tokens.end(), absent) != tokens.end()) ++absent;
  const Setting narrow("llama", {absent});
  EXPECT_EQ(narrow.drafter(folder)->add_gradients(setting.data, setting.records, {{0, {6}}}, 3).weight, 0);
}

TEST(Eagle, UntrainedDependsOnTheState) {
  const Setting setting("llama");
  const EagleParams fresh = new_eagle(setting.base, {});
  const torch::NoGradGuard no_grad;
  EagleText text = setting.text(0);
  Tensor outputs, changed;
  run_eagle(setting.base, fresh, text, 1, [&](int, const Tensor& hidden) { return outputs = hidden, Tensor(); });
  text.features = text.features.clone();
  text.features[6].neg_();
  run_eagle(setting.base, fresh, text, 1, [&](int, const Tensor& hidden) { return changed = hidden, Tensor(); });
  const int64_t row = 6 - text.first;
  EXPECT_TRUE(outputs.slice(0, 0, row).equal(changed.slice(0, 0, row)));  // rows see those before them
  EXPECT_GT(relative_error(outputs[row], changed[row]), 0.1);
}

TEST(Eagle, RoundTripThroughAFile) {
  const TestFolder folder;
  const Setting setting("qwen2", {3, 1, 2});
  const std::string path = folder / "eagle.gguf";
  write_bytes(path, eagle_image(setting.base, setting.params, GGML_TYPE_F32).value());
  const auto read = read_eagle_params(setting.base, path);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->draft_ids, setting.params.draft_ids);
  ASSERT_EQ(read->tensors.size(), setting.params.tensors.size());
  for (const NamedTensor& named : setting.params.tensors) {
    EXPECT_TRUE(read->tensors.get(named.name).equal(named.value)) << named.name;
  }
  const auto other = read_eagle_params(tiny_base("llama"), path);
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().message, HasSubstr("eagle.gguf"));
}

}  // namespace
}  // namespace s3d::train
