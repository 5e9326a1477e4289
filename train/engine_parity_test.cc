// One truth: what the trainer computes for a drafter is what the engine computes for it.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <memory>

#include "backend/cpu/cpu_backend.h"
#include "backend/packed_adapter.h"
#include "base/test_folder.h"
#include "base/thread_pool.h"
#include "decode/drafters.h"
#include "decode/eagle_head.h"
#include "decode/generate.h"
#include "decode/medusa_heads.h"
#include "decode/speculator.h"
#include "model/weights.h"
#include "train/anchors.h"
#include "train/eagle.h"
#include "train/medusa.h"
#include "train/test_models.h"
#include "train/trainer.h"

namespace s3d::train {
namespace {

// The engine's logits of a draft pass for one anchor: the tokens before position `t` committed by full passes, then
// the token there and the masks; with the Markov term for the text's own previous tokens. [rows, drafted]
class TestEngine {
 public:
  TestEngine(const std::string& model_path, const BaseModel& base, const std::string& adapter_path)
      : pool_(1),
        file_(std::make_shared<const GgufFile>(GgufFile::open(model_path).value())),
        adapter_(open_adapter(std::make_shared<const GgufFile>(GgufFile::open(adapter_path).value()), base.config,
                              base.fingerprint)
                     .value()),
        model_(std::make_shared<const Model>(load_model(file_, base.config, pool_, {}, adapter_.draft_ids).value())),
        packed_(PackedAdapter::create(adapter_, *model_, nullptr).value()),
        backend_(std::move(CpuBackend::create(model_, 1, choose_kernels().value()).value())),
        kv_(KvCache::create(base.config, KvType::kF16, 4096).value()) {}

  // Greedy tokens after `prompt`, with drafts of the adapter or without.
  Generation generate(const std::vector<int32_t>& prompt, int count, bool with_drafts) {
    const auto speculator =
        make_fixed_speculator(make_s3d_drafter(*backend_, kv_, packed_), packed_->config().masks + 1);
    const KvSequence seq = kv_.add_sequence();
    Generation out = s3d::generate(*backend_, kv_, seq, prompt,
                                   {.max_tokens = count, .speculator = with_drafts ? speculator.get() : nullptr})
                         .value();
    return out;
  }

  Tensor draft(const std::vector<int32_t>& tokens, int t) {
    const KvSequence seq = kv_.add_sequence();
    std::vector<float> state;
    for (int done = 0; done < t;) {
      const int count = std::min(t - done, backend_->max_rows());
      const PassOutput out = run(seq, tokens, done, count);
      kv_.commit(seq, count);
      state.assign(out.hidden.end() - model_->config.d_model, out.hidden.end());
      done += count;
    }
    const AdapterConfig& config = packed_->config();
    std::vector<Row> rows;
    std::vector<int32_t> previous;
    for (int j = 0; j <= config.masks; ++j) {
      rows.push_back({j == 0 ? tokens[static_cast<size_t>(t)] : -j, t + j, j - 1, seq});
      previous.push_back(tokens[static_cast<size_t>(t + j)]);
    }
    const std::vector<const float*> states(rows.size(), state.data());
    const std::vector<Want> want(rows.size(), Want::kLogits);
    const PassOutput out = backend_
                               ->run({.rows = rows,
                                      .layers = config.layers,
                                      .adapter = packed_.get(),
                                      .state = states,
                                      .kv = KvUse::kScratch,
                                      .want = want},
                                     kv_)
                               .value();
    std::vector<float> logits(out.logits.begin(), out.logits.end());
    backend_->add_markov(*packed_, previous, logits, {});
    return torch::tensor(logits).view({config.masks + 1, -1});
  }

 private:
  PassOutput run(SeqId seq, const std::vector<int32_t>& tokens, int begin, int count) {
    std::vector<Row> rows;
    for (int i = 0; i < count; ++i) {
      rows.push_back({tokens[static_cast<size_t>(begin + i)], begin + i, i - 1, seq});
    }
    return backend_->run({.rows = rows, .layers = {model_->config.n_layers, 0}, .want = {}, .want_hidden = true}, kv_)
        .value();
  }

  ThreadPool pool_;
  std::shared_ptr<const GgufFile> file_;
  Adapter adapter_;
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const PackedAdapter> packed_;
  std::unique_ptr<CpuBackend> backend_;
  KvCache kv_;
};

void write_adapter(const DraftParams& params, ggml_type type, const std::string& path) {
  const auto image = params_image(params, type);
  ASSERT_TRUE(image.ok()) << image.error().message;
  FILE* file = std::fopen(path.c_str(), "wb");
  ASSERT_EQ(std::fwrite(image->data(), 1, image->size(), file), image->size());
  std::fclose(file);
}

// Largest relative error over all anchors of a few sequences.
double parity(const std::string& model_path, const BaseModel& base, const std::string& adapter_path,
              const Dataset& data, const std::vector<AnchorGroup>& groups) {
  const auto params = read_params(base, adapter_path);
  EXPECT_TRUE(params.ok()) << params.error().message;
  const AdapterConfig& config = params->config;
  const auto store = RecordStore::build(base, data, {.layers = config.layers, .states = RecordStates::kAnswer});
  EXPECT_TRUE(store.ok());
  const auto per_group = static_cast<int>(groups[0].positions.size());
  const TrainingBatch batch = make_batch(data, *store, config, groups, per_group, torch::kCPU);
  const DraftBlock block(base, params->draft_ids);
  const torch::NoGradGuard no_grad;
  const Tensor logits = block.logits(*params, block.hidden(*params, batch.draft), batch.previous);
  TestEngine engine(model_path, base, adapter_path);
  double worst = 0;
  int64_t anchor = 0;
  for (const AnchorGroup& group : groups) {
    for (const int t : group.positions) {
      const Tensor expected = engine.draft(data.sequences[static_cast<size_t>(group.sequence)].tokens, t);
      worst = std::max(worst, relative_error(logits[anchor++], expected));
    }
  }
  return worst;
}

class EngineParity : public testing::TestWithParam<const char*> {};

TEST_P(EngineParity, DraftLogitsOfATinyModel) {
  const std::string model = write_tiny_model({.family = GetParam()});
  const BaseModel base = tiny_base(GetParam());
  AdapterConfig config = {.layers = {1, 1}, .masks = 3, .lora_rank = 32, .bridge_rank = 32, .markov_rank = 32};
  config.state_rank = 32;
  config.state_on_first_row = true;
  DraftParams params = new_params(base, config, {5, 2, 250, 17, 33, 4, 90, 91}, 1);
  randomize(params, 0.05, 2);
  const TestFolder folder;
  const std::string path = folder / "adapter.gguf";
  write_adapter(params, GGML_TYPE_F32, path);
  const Dataset data = random_dataset(2, 6, 12, base.config.vocab_size);
  // F32 weights: what is left is the half floats of the keys and values on both sides.
  EXPECT_LT(parity(model, base, path, data, {{0, {6, 9}}, {1, {7, 13}}}), 2e-3);
  std::filesystem::remove(path);
}

// What a drafter with a file of its own runs beside, on a tiny model.
struct TinyEngine {
  explicit TinyEngine(const BaseModel& base)
      : model(std::make_shared<const Model>(load_model(base.file, base.config, pool, {}, {}).value())),
        backend(std::move(CpuBackend::create(model, 1, choose_kernels().value()).value())),
        kv(KvCache::create(base.config, KvType::kF16, 4096).value()) {}

  ThreadPool pool{1};
  std::shared_ptr<const Model> model;
  std::unique_ptr<CpuBackend> backend;
  KvCache kv;
};

PassOutput run_alone(const DraftPass& pass) {
  const DraftPass* const alone = &pass;
  return run_together({&alone, 1}).value();
}

// Runs the rows of `pass` alone; only the last of them gives logits and a hidden state.
PassOutput run_for_last(DraftPass pass, const std::vector<Row>& rows, const std::vector<float>& inputs) {
  pass.rows = rows;
  pass.inputs = inputs;
  pass.want.assign(rows.size(), Want::kNothing);
  pass.want.back() = Want::kLogits;
  return run_alone(pass);
}

// A chain of one text in the engine: rows that read the base's states up to `anchor`, then rows that each read the
// output of the one before. Logits of the anchor's row and of those: [depths, drafted].
Tensor eagle_chain(EagleHead& head, const EagleText& text, int64_t anchor, int64_t depths) {
  const auto d = static_cast<size_t>(text.features.size(1));
  const KvSequence seq = head.kv().add_sequence();
  const auto token = [&](int64_t row) { return text.tokens[row].item<int32_t>(); };
  std::vector<int32_t> tokens;
  std::vector<Row> rows;
  for (int64_t i = 0; i <= anchor; ++i) {
    tokens.push_back(token(i));
    rows.push_back({0, static_cast<int>(i), static_cast<int>(i) - 1, seq});
  }
  const Tensor features = text.features.slice(0, 0, anchor + 1).contiguous();
  const std::vector<float> inputs = head.inputs(tokens, {features.data_ptr<float>(), tokens.size() * d});
  PassOutput out = run_for_last(head.pass(KvUse::kPending), rows, inputs);
  head.kv().commit(seq, static_cast<int>(rows.size()));
  std::vector<Tensor> logits;
  std::vector<float> chain_inputs;
  rows.clear();
  while (true) {
    logits.push_back(torch::tensor(std::vector<float>(out.logits.begin(), out.logits.end())));
    const auto depth = static_cast<int64_t>(logits.size());
    if (depth == depths) return torch::stack(logits);
    const std::vector<float> feature = head.rms(out.hidden);
    const std::vector<float> input = head.inputs(std::vector<int32_t>{token(anchor + depth)}, feature);
    chain_inputs.insert(chain_inputs.end(), input.begin(), input.end());
    rows.push_back({0, static_cast<int>(anchor + depth), static_cast<int>(depth) - 2, seq});
    out = run_for_last(head.pass(KvUse::kScratch), rows, chain_inputs);
  }
}

TEST_P(EngineParity, EagleLogitsOfATinyModel) {
  constexpr int kDepths = 3;
  const TestFolder folder;
  const std::string path = folder / "eagle.gguf";
  const BaseModel base = tiny_base(GetParam());
  EagleParams params = new_eagle(base, {5, 2, 250, 17, 33, 4, 90, 91});
  randomize(params.tensors, 0.05, 2);
  write_bytes(path, eagle_image(base, params, GGML_TYPE_F32).value());
  const Dataset data = random_dataset(2, 6, 12, base.config.vocab_size);
  const auto store = RecordStore::build(base, data, {.states = RecordStates::kAll}).value();
  TinyEngine engine(base);
  const auto head = EagleHead::create(
      open_eagle(std::make_shared<const GgufFile>(GgufFile::open(path).value()), base.config, base.fingerprint).value(),
      engine.model, *engine.backend, engine.kv, engine.pool);
  ASSERT_TRUE(head.ok()) << head.error().message;
  const torch::NoGradGuard no_grad;
  const DraftHead rows(base, params.draft_ids);
  for (const Sequence& sequence : data.sequences) {
    const int index = static_cast<int>(&sequence - data.sequences.data()), n = sequence.length() - 2;
    const Tensor states = store.state(std::vector<int>{index}, torch::arange(1, n + 1).unsqueeze(0))[0];
    const EagleText text = {longs({sequence.tokens.begin() + 1, sequence.tokens.end() - 1}), states,
                            sequence.prompt_length - 1};
    std::vector<Tensor> trained;
    run_eagle(base, params, text, kDepths, [&](int step, const Tensor& hidden) {
      trained.push_back(rows.logits(rms_norm(hidden, base.output_norm, base.config.norm_eps)));
      return text.tokens.slice(0, text.first + step + 1);
    });
    for (const int64_t anchor : {text.first, text.first + 4}) {
      const Tensor expected = eagle_chain(**head, text, anchor, kDepths);
      for (int depth = 0; depth < kDepths; ++depth) {
        EXPECT_LT(relative_error(trained[static_cast<size_t>(depth)][anchor - text.first], expected[depth]), 2e-3)
            << "row " << anchor << " depth " << depth;
      }
    }
  }
}

TEST_P(EngineParity, MedusaLogitsOfATinyModel) {
  const TestFolder folder;
  const std::string path = folder / "medusa.gguf";
  const BaseModel base = tiny_base(GetParam());
  MedusaParams params = new_medusa(base, 3, 32, {5, 2, 250, 17, 33, 4, 90, 91}, 1);
  randomize(params.tensors, 0.05, 2);
  write_bytes(path, medusa_image(base, params, GGML_TYPE_F32).value());
  const Dataset data = random_dataset(1, 6, 12, base.config.vocab_size);
  TinyEngine engine(base);
  const auto heads = MedusaHeads::create(
      open_medusa(std::make_shared<const GgufFile>(GgufFile::open(path).value()), base.config, base.fingerprint)
          .value(),
      engine.model, *engine.backend, engine.pool);
  ASSERT_TRUE(heads.ok()) << heads.error().message;
  const torch::NoGradGuard no_grad;
  const Tensor hidden = base_forward(base, token_tensor(base, data.sequences[0].tokens)).slice(0, 9, 10).contiguous();
  const Tensor trained =
      medusa_logits(base, params, DraftHead(base, params.draft_ids), rms_norm(hidden, {}, base.config.norm_eps), 3)[0];
  const PassOutput out = run_alone((*heads)->pass({hidden.data_ptr<float>(), static_cast<size_t>(hidden.numel())}, 3));
  const std::vector<float> expected(out.logits.begin(), out.logits.end());
  EXPECT_LT(relative_error(trained.flatten(), torch::tensor(expected)), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Families, EngineParity, testing::Values("llama", "qwen2"));

// What joint training leaves: the engine opens the pair, drafts as the trainer does, and drafts change no token.
TEST(EngineParity, JointPairIsLossless) {
  at::set_num_threads(1);
  const std::string folder = testing::TempDir() + "s3d-joint-pair";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  Recipe recipe = joint_recipe();
  recipe.model = write_tiny_model({.family = "llama", .layers = 3});
  const Dataset data = random_dataset(8, 4, 20, 64);
  write_dataset(folder + "/text.jsonl", data);
  recipe.data = recipe.held_out_data = {folder + "/text.jsonl"};  // it may learn it by heart
  recipe.out = folder;
  recipe.adapter = {.layers = {1, 1}, .masks = 2, .markov_rank = 32};
  recipe.draft_vocab = 64;
  recipe.max_length = 64;
  recipe.steps = 60;
  recipe.learning_rate = 1e-2;
  recipe.joint->layer_rate = 1e-3;
  recipe.type = GGML_TYPE_F32;  // nothing but half floats between trainer and engine
  const auto result = train_joint(recipe, **join_group(0, 1, "", 0));
  ASSERT_TRUE(result.ok()) << result.error().message;

  const std::string model = folder + "/base.gguf", adapter = folder + "/base.adapter.gguf";
  const auto base = load_base(model, torch::kFloat32, torch::kCPU, 64);
  ASSERT_TRUE(base.ok()) << base.error().message;
  EXPECT_LT(parity(model, *base, adapter, data, {{0, {6, 9}}, {1, {7, 13}}}), 2e-3);
  TestEngine engine(model, *base, adapter);
  int64_t accepted = 0;
  for (const Sequence& sequence : data.sequences) {
    const std::vector<int32_t> prompt(sequence.tokens.begin(), sequence.tokens.begin() + sequence.prompt_length);
    const Generation drafted = engine.generate(prompt, 24, true);
    EXPECT_EQ(drafted.tokens, engine.generate(prompt, 24, false).tokens);
    accepted += drafted.spec.num_accepted_tokens;
  }
  EXPECT_GT(accepted, 0);
  // The old base does not take the new adapter.
  const auto old_base = load_base(recipe.model, torch::kFloat32, torch::kCPU, 64);
  EXPECT_FALSE(read_params(*old_base, adapter).ok());
  std::filesystem::remove_all(folder);
}

// The shipped adapter on its real base, where the base is in the cache (S3D_MODELS or ~/.cache/s3d/models).
TEST(EngineParity, DraftLogitsOfTheShippedAdapter) {
  const char* folder = std::getenv("S3D_MODELS");
  const char* home = std::getenv("HOME");
  const std::string model =
      (folder != nullptr ? std::string(folder) : std::string(home ? home : "") + "/.cache/s3d/models") +
      "/smollm2-135m.gguf";
  const std::string adapter = std::string(S3D_SOURCE_DIR) + "/adapters/smollm2-135m.gguf";
  if (!std::filesystem::exists(model) || !std::filesystem::exists(adapter)) GTEST_SKIP() << "no model or no adapter";
  auto base = load_base(model, torch::kFloat32, torch::kCPU, 64);
  ASSERT_TRUE(base.ok()) << base.error().message;
  const Dataset data = random_dataset(2, 20, 20, 20000, 7);
  // The engine multiplies 8-bit activations: about 1 % a matrix product on these weights.
  EXPECT_LT(parity(model, *base, adapter, data, {{0, {22, 30}}, {1, {21, 35}}}), 0.05);
}

}  // namespace
}  // namespace s3d::train
