#include "train/draft_block.h"

#include <gmock/gmock.h>

#include <numeric>

#include "backend/reference/reference_model.h"
#include "base/test_folder.h"
#include "train/anchors.h"
#include "train/loss.h"
#include "train/test_models.h"

namespace s3d::train {
namespace {

constexpr int kMasks = 3;

Dataset tiny_data(const BaseModel& base) {
  return random_dataset(3, 4, 12, base.config.vocab_size);
}

RecordStore store_of(const BaseModel& base, const Dataset& data, const AdapterConfig& config) {
  auto store = RecordStore::build(base, data, {.layers = config.layers, .states = RecordStates::kAnswer});
  if (!store.ok()) throw std::runtime_error(store.error().message);
  return std::move(*store);
}

// With masks that are embeddings of tokens and nothing else trained, a draft pass is a layer-skipping pass over these
// tokens, which the reference backend can run too.
TEST(DraftBlock, UntrainedIsTheReferencesLayerSkip) {
  const BaseModel base = tiny_base("llama");
  const Dataset data = tiny_data(base);
  const AdapterConfig config = {.layers = {1, 0}, .masks = kMasks};
  DraftParams params = new_params(base, config, {}, 1);
  const std::vector<int32_t> mask_tokens = {7, 8, 9};
  {
    const torch::NoGradGuard no_grad;
    params.masks.copy_(embed(base, longs(mask_tokens)));
  }
  const RecordStore store = store_of(base, data, config);
  const std::vector<AnchorGroup> groups = {{1, {5, 9}}, {2, {4, 11}}};
  const TrainingBatch batch = make_batch(data, store, params.config, groups, 2, torch::kCPU);
  const DraftBlock block(base, {});
  const torch::NoGradGuard no_grad;
  const Tensor logits = block.logits(params, block.hidden(params, batch.draft), batch.previous);

  auto reference = ReferenceModel::load(base.file, base.config);
  ASSERT_TRUE(reference.ok());
  ThreadPool pool(1);
  int64_t anchor = 0;
  for (const AnchorGroup& group : groups) {
    const std::vector<int32_t>& tokens = data.sequences[static_cast<size_t>(group.sequence)].tokens;
    for (const int t : group.positions) {
      std::vector<Row> rows;
      std::vector<LayerSet> layers(static_cast<size_t>(t), LayerSet{base.config.n_layers, 0});
      int last = append_chain(rows, std::span(tokens).first(static_cast<size_t>(t)));
      last = append_chain(rows, std::span(tokens).subspan(static_cast<size_t>(t), 1), last, t);
      append_chain(rows, mask_tokens, last, t + 1);
      layers.resize(rows.size(), config.layers);
      const auto expected = reference->run(rows, layers, std::vector<int>{t, t + 1, t + 2, t + 3}, pool);
      ASSERT_TRUE(expected.ok());
      const Tensor wanted = torch::tensor(expected->logits).view({kMasks + 1, base.config.vocab_size});
      // The context is stored in half precision: 2^-11 a value.
      EXPECT_LT(relative_error(logits[anchor].to(torch::kDouble), wanted), 1e-3) << "anchor " << anchor;
      ++anchor;
    }
  }
}

// Masks that are embeddings of tokens are, fused, the rows of a full pass that reads these tokens behind the context.
TEST(DraftBlock, FusedMasksAreRowsOfAFullPass) {
  const BaseModel base = tiny_base("llama");
  const Dataset data = tiny_data(base);
  const AdapterConfig config = {.layers = LayerSet::all(base.config.n_layers), .masks = 2, .fused = true};
  DraftParams params = new_params(base, config, {}, 1);
  const std::vector<int32_t> mask_tokens = {7, 8};
  {
    const torch::NoGradGuard no_grad;
    params.masks.copy_(embed(base, longs(mask_tokens)));
  }
  const RecordStore store = store_of(base, data, config);
  const TrainingBatch batch = make_batch(data, store, params.config, {{1, {5, 9}}}, 2, torch::kCPU);
  EXPECT_EQ(batch.draft.rows, 2);
  const DraftBlock block(base, {});
  const torch::NoGradGuard no_grad;
  const Tensor logits = block.logits(params, block.hidden(params, batch.draft), batch.previous);

  auto reference = ReferenceModel::load(base.file, base.config);
  ASSERT_TRUE(reference.ok());
  ThreadPool pool(1);
  const std::vector<int32_t>& tokens = data.sequences[1].tokens;
  int64_t anchor = 0;
  for (const int t : {5, 9}) {
    std::vector<Row> rows;
    const int last = append_chain(rows, std::span(tokens).first(static_cast<size_t>(t)));
    append_chain(rows, mask_tokens, last, t);
    const std::vector<LayerSet> layers(rows.size(), config.layers);
    const auto expected = reference->run(rows, layers, std::vector<int>{t, t + 1}, pool);
    ASSERT_TRUE(expected.ok());
    const Tensor wanted = torch::tensor(expected->logits).view({2, base.config.vocab_size});
    EXPECT_LT(relative_error(logits[anchor].to(torch::kDouble), wanted), 1e-3) << "anchor " << anchor;
    // The first mask stands where the last token will, and is to tell the token after it.
    EXPECT_EQ(batch.previous[anchor][0].item<int64_t>(), tokens[static_cast<size_t>(t)]);
    EXPECT_EQ(batch.targets[anchor][0].item<int64_t>(), tokens[static_cast<size_t>(t) + 1]);
    ++anchor;
  }
}

// All parts at once, so that each has a gradient to check.
AdapterConfig all_parts() {
  AdapterConfig config = {.layers = {1, 1}, .masks = kMasks, .lora_rank = 4, .bridge_rank = 3, .markov_rank = 5};
  config.state_rank = 3;
  config.state_on_first_row = true;
  return config;
}

TEST(DraftBlock, GradientsAreThoseOfFiniteDifferences) {
  for (const char* family : {"llama", "qwen2"}) {
    BaseModel base = tiny_base(family);
    const Dataset data = tiny_data(base);
    DraftParams params = new_params(base, all_parts(), random_tokens(0, 1, 1), 1);
    randomize(params, 0.05, 2);
    const RecordStore store = store_of(base, data, params.config);
    const TrainingBatch batch = make_batch(data, store, params.config, {{0, {4, 7}}, {1, {6}}}, 2, torch::kCPU);
    const DraftBlock block(base, {});
    const auto loss = [&] { return draft_loss(block, params, batch, std::nullopt, {}).loss; };
    loss().backward();
    const auto value = [&] { return loss().item<double>(); };
    for (const NamedTensor& named : params.tensors) expect_gradient(value, named.value, family + (" " + named.name));
  }
}

TEST(DraftBlock, DraftFollowsItsOwnChoices) {
  const BaseModel base = tiny_base("llama");
  const Dataset data = tiny_data(base);
  const std::vector<int32_t> ids = {5, 2, 250, 17, 33, 4};
  DraftParams params = new_params(base, all_parts(), ids, 1);
  randomize(params, 0.2, 3);
  const RecordStore store = store_of(base, data, params.config);
  const TrainingBatch batch = make_batch(data, store, params.config, {{0, {4, 7}}}, 2, torch::kCPU);
  const DraftBlock block(base, ids);
  const torch::NoGradGuard no_grad;
  const Tensor hidden = block.hidden(params, batch.draft);
  const Tensor tokens = batch.draft.tokens.flatten();
  const Tensor chain = block.draft(params, hidden, tokens);
  // Teacher-forced logits with the chain as the teacher have their largest values at the chain.
  const Tensor previous = torch::cat({tokens.unsqueeze(1), chain.slice(1, 0, kMasks)}, 1);
  const Tensor best = block.logits(params, hidden, previous).argmax(-1);
  EXPECT_TRUE(longs(ids).index_select(0, best.flatten()).view(chain.sizes()).equal(chain));
}

TEST(DraftBlock, FillersAndForeignTargetsDoNotCount) {
  const BaseModel base = tiny_base("llama");
  const Dataset data = tiny_data(base);
  DraftParams params = new_params(base, all_parts(), {}, 1);
  const RecordStore store = store_of(base, data, params.config);
  const DraftBlock block(base, {});
  const torch::NoGradGuard no_grad;
  const auto sums = [&](int per_group) {
    const TrainingBatch batch = make_batch(data, store, params.config, {{0, {5}}}, per_group, torch::kCPU);
    return draft_loss(block, params, batch, std::nullopt, {});
  };
  const LossSums one = sums(1), filled = sums(4);
  EXPECT_NEAR(one.loss.item<double>(), filled.loss.item<double>(), 1e-3);
  EXPECT_DOUBLE_EQ(one.weight, filled.weight);

  const std::vector<int32_t>& tokens = data.sequences[0].tokens;
  int32_t absent = 0;  // a token that no row has as its target
  while (std::find(tokens.begin(), tokens.end(), absent) != tokens.end()) ++absent;
  const DraftBlock small(base, {absent});
  const TrainingBatch batch = make_batch(data, store, params.config, {{0, {5}}}, 1, torch::kCPU);
  const DraftParams narrow = new_params(base, all_parts(), {absent}, 1);
  EXPECT_EQ(draft_loss(small, narrow, batch, std::nullopt, {}).weight, 0);
}

TEST(DraftParams, RoundTripThroughAFile) {
  const BaseModel base = tiny_base("qwen2");
  AdapterConfig config = all_parts();
  config.confidence = true;
  DraftParams params = new_params(base, config, {3, 1, 2}, 1);
  randomize(params, 0.2, 3);
  const auto image = params_image(params, GGML_TYPE_F32);
  ASSERT_TRUE(image.ok()) << image.error().message;
  const TestFolder folder;
  const std::string path = folder / "params.gguf";
  FILE* file = std::fopen(path.c_str(), "wb");
  ASSERT_EQ(std::fwrite(image->data(), 1, image->size(), file), image->size());
  std::fclose(file);
  const auto read = read_params(base, path);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->draft_ids, params.draft_ids);
  EXPECT_EQ(read->config.bridge_rank, 3);
  ASSERT_EQ(read->tensors.size(), params.tensors.size());
  for (const NamedTensor& named : params.tensors) {
    ASSERT_TRUE(read->tensors.get(named.name).defined()) << named.name;
    EXPECT_TRUE(read->tensors.get(named.name).equal(named.value)) << named.name;
  }
}

}  // namespace
}  // namespace s3d::train
