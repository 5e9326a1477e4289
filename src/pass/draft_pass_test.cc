// Draft passes with an adapter: the numbers against a plain double-precision computation of docs/adapter.md written
// for this test, the bits against themselves in other company.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "kernels/test_sets.h"
#include "model/tensor_floats.h"
#include "pass/cpu_backend.h"
#include "pass/packed_adapter.h"

namespace s3d {
namespace {

namespace names = adapter_names;
using Doubles = std::vector<double>;
using Floats = std::vector<float>;

std::shared_ptr<const GgufFile> base_file(const std::string& name) {
  auto file = GgufFile::open(std::string(S3D_SOURCE_DIR) + "/tests/data/models/" + name + ".gguf");
  EXPECT_TRUE(file.ok()) << file.error().message;
  return std::make_shared<const GgufFile>(std::move(file).value());
}

// A random adapter, plan 1 + 1, two masks, with the parts that `parts` names by letter: Lora, Bridge, State, Markov,
// draft Vocabulary.
Adapter random_adapter(const ModelConfig& base, const std::string& parts, ggml_type type) {
  const auto has = [&](char part) { return parts.find(part) != std::string::npos; };
  AdapterConfig config{.base_fingerprint = 7, .head = 1, .tail = 1, .masks = 2};
  config.state_on_first_row = has('F');
  std::vector<AdapterTensor> tensors;
  std::mt19937 random(3);
  const auto add = [&](std::string_view name, std::vector<int64_t> shape, float size) {
    std::normal_distribution<float> normal(0, size);
    Floats values(static_cast<size_t>(shape[0] * (shape.size() > 1 ? shape[1] : 1)));
    for (float& v : values) v = normal(random);
    tensors.push_back({std::string(name), std::move(shape), std::move(values)});
  };
  const int64_t d = base.d_model, rank = 32;
  add(names::kMasks, {d, 2}, 1);
  std::vector<int32_t> ids;
  if (has('V')) ids = {5, 99, 0, 17, 3, 42, 8, 7, 66, 21, 13, 30, 31, 32, 33, 34, 50, 51, 52};
  if (has('L')) {
    for (const int layer : {0, base.n_layers - 1}) {
      for (int t = 0; t < kLoraTargets; ++t) {
        const MatrixShape shape = lora_target_shape(base, static_cast<LoraTarget>(t));
        add(names::lora(layer, static_cast<LoraTarget>(t), 'a'), {shape.cols, rank}, 0.1F);
        add(names::lora(layer, static_cast<LoraTarget>(t), 'b'), {rank, shape.rows}, 0.1F);
      }
    }
  }
  if (has('B')) add(names::kBridgeDown, {d, rank}, 0.1F), add(names::kBridgeUp, {rank, d}, 0.1F);
  if (has('S')) add(names::kStateDown, {d, rank}, 0.1F), add(names::kStateUp, {rank, d}, 0.1F);
  const int64_t drafted = ids.empty() ? base.vocab_size : static_cast<int64_t>(ids.size());
  if (has('M')) add(names::kMarkovP, {d, rank}, 0.1F), add(names::kMarkovW2, {rank, drafted}, 0.3F);
  std::vector<std::byte> image = adapter_image(config, tensors, ids, type).value();
  auto file = std::make_shared<GgufFile>(GgufFile::from_bytes(std::move(image), "random").value());
  return open_adapter(std::move(file), base, 7).value();
}

// ---- The truth -----------------------------------------------------------------------------------------------------

class Truth {
 public:
  Truth(const GgufFile& file, const ModelConfig& config)
      : file_(file), c_(config), kv_(static_cast<size_t>(c_.n_layers)) {}

  // Runs a chain after what is kept; keeps its keys and values if `keep`. Row j's token is tokens[j] (-1 - i: mask i).
  // Returns the hidden states before the output norm.
  std::vector<Doubles> run(const std::vector<int32_t>& tokens, const std::vector<int>& layers, const Adapter* adapter,
                           const Doubles& state, bool keep) {
    std::vector<Doubles> x;
    for (const int32_t token : tokens) x.push_back(input(token, adapter, state));
    const int begin = length_;
    for (size_t i = 0; i < layers.size(); ++i) {
      if (adapter != nullptr && static_cast<int>(i) == adapter->config.head && adapter->bridge) {
        for (Doubles& row : x) add(row, low_rank(adapter->bridge, rms(row)));
      }
      layer(x, layers[i], adapter, i, begin, keep);
    }
    if (keep) length_ += static_cast<int>(tokens.size());
    return x;
  }

  Doubles normed(const Doubles& x) const { return rms(x, vector("output_norm.weight")); }
  Doubles logits(const Doubles& x, const std::vector<int32_t>& ids) const {
    const Tensor& head = *file_.find_tensor(file_.find_tensor("output.weight") ? "output.weight" : "token_embd.weight");
    const Doubles all = multiply(head, normed(x));
    if (ids.empty()) return all;
    Doubles some;
    for (const int32_t id : ids) some.push_back(all[static_cast<size_t>(id)]);
    return some;
  }
  Doubles markov(const Adapter& adapter, int32_t previous) const {
    return multiply(*adapter.markov_w2, multiply(*adapter.markov_p, rms(embed(previous))));
  }

 private:
  using Heads = std::vector<Doubles>;  // [positions][kv_dim]
  struct LayerKv {
    Heads keys, values;
  };

  static void add(Doubles& to, const Doubles& what) {
    for (size_t i = 0; i < to.size(); ++i) to[i] += what[i];
  }
  static Doubles multiply(const Tensor& w, const Doubles& x) {
    Doubles y;
    Floats row(static_cast<size_t>(w.cols()));
    for (int64_t r = 0; r < w.rows(); ++r) {
      row_to_floats(w, r, row.data());
      double sum = 0;
      for (size_t i = 0; i < row.size(); ++i) sum += static_cast<double>(row[i]) * x[i];
      y.push_back(sum);
    }
    return y;
  }
  static Doubles low_rank(const LoraPair& pair, const Doubles& x) { return multiply(*pair.b, multiply(*pair.a, x)); }
  Doubles vector(const std::string& name) const {
    const Tensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) return {};
    const Floats values = read_vector(file_, *tensor, static_cast<size_t>(tensor->cols())).value();
    return {values.begin(), values.end()};
  }
  Doubles rms(const Doubles& x, const Doubles& weight = {}) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + static_cast<double>(c_.norm_eps));
    Doubles y;
    for (size_t i = 0; i < x.size(); ++i) y.push_back(x[i] * scale * (weight.empty() ? 1 : weight[i]));
    return y;
  }
  Doubles embed(int32_t token) const {
    Floats row(static_cast<size_t>(c_.d_model));
    row_to_floats(*file_.find_tensor("token_embd.weight"), token, row.data());
    Doubles out(row.begin(), row.end());
    for (double& v : out) v *= static_cast<double>(c_.embedding_scale);
    return out;
  }
  Doubles input(int32_t token, const Adapter* adapter, const Doubles& state) const {
    Doubles row;
    if (token >= 0) {
      row = embed(token);
    } else {
      Floats mask(static_cast<size_t>(c_.d_model));
      row_to_floats(*adapter->masks, -1 - token, mask.data());
      row.assign(mask.begin(), mask.end());
    }
    const bool takes = adapter != nullptr && adapter->state && (token < 0 || adapter->config.state_on_first_row);
    if (takes && !state.empty()) add(row, low_rank(adapter->state, rms(state)));
    return row;
  }
  void rotate(Doubles& heads, int position) const {
    const size_t pairs = static_cast<size_t>(c_.rope.dims / 2), head_dim = static_cast<size_t>(c_.head_dim);
    for (size_t h = 0; h < heads.size() / head_dim; ++h) {
      for (size_t i = 0; i < pairs; ++i) {
        const double angle =
            position * std::pow(static_cast<double>(c_.rope.base), -2.0 * static_cast<double>(i) / c_.rope.dims);
        const bool interleaved = c_.rope_style == RopeStyle::kInterleaved;
        double& a = heads[h * head_dim + (interleaved ? 2 * i : i)];
        double& b = heads[h * head_dim + (interleaved ? 2 * i + 1 : i + pairs)];
        const double turned = a * std::cos(angle) - b * std::sin(angle);
        b = a * std::sin(angle) + b * std::cos(angle);
        a = turned;
      }
    }
  }
  Doubles project(int layer, LoraTarget target, const Doubles& x, const Adapter* adapter, size_t kept) const {
    const std::string name = "blk." + std::to_string(layer) + "." + std::string(lora_target_name(target));
    Doubles y = multiply(*file_.find_tensor(name + ".weight"), x);
    if (const Doubles bias = vector(name + ".bias"); !bias.empty()) add(y, bias);
    if (adapter != nullptr && adapter->lora[kept][static_cast<size_t>(target)]) {
      add(y, low_rank(adapter->lora[kept][static_cast<size_t>(target)], x));
    }
    return y;
  }
  Doubles attend(const Doubles& q, const LayerKv& kv, size_t visible) const {
    const size_t head_dim = static_cast<size_t>(c_.head_dim), group = static_cast<size_t>(c_.n_heads / c_.n_kv_heads);
    Doubles out(q.size());
    for (size_t h = 0; h < static_cast<size_t>(c_.n_heads); ++h) {
      Doubles weights;
      double total = 0;
      for (size_t p = 0; p < visible; ++p) {
        double score = 0;
        for (size_t i = 0; i < head_dim; ++i) score += q[h * head_dim + i] * kv.keys[p][h / group * head_dim + i];
        weights.push_back(std::exp(score * static_cast<double>(c_.attention_scale)));
        total += weights.back();
      }
      for (size_t p = 0; p < visible; ++p) {
        for (size_t i = 0; i < head_dim; ++i) {
          out[h * head_dim + i] += weights[p] / total * kv.values[p][h / group * head_dim + i];
        }
      }
    }
    return out;
  }
  void layer(std::vector<Doubles>& x, int index, const Adapter* adapter, size_t kept, int begin, bool keep) {
    const std::string prefix = "blk." + std::to_string(index) + ".";
    LayerKv kv = kv_[static_cast<size_t>(index)];
    for (size_t r = 0; r < x.size(); ++r) {
      const Doubles h = rms(x[r], vector(prefix + "attn_norm.weight"));
      Doubles q = project(index, LoraTarget::kQ, h, adapter, kept),
              k = project(index, LoraTarget::kK, h, adapter, kept);
      rotate(q, begin + static_cast<int>(r));
      rotate(k, begin + static_cast<int>(r));
      kv.keys.push_back(k);
      kv.values.push_back(project(index, LoraTarget::kV, h, adapter, kept));
      add(x[r], project(index, LoraTarget::kOutput, attend(q, kv, kv.keys.size()), adapter, kept));
      const Doubles f = rms(x[r], vector(prefix + "ffn_norm.weight"));
      Doubles gate = project(index, LoraTarget::kGate, f, adapter, kept);
      const Doubles up = project(index, LoraTarget::kUp, f, adapter, kept);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      add(x[r], project(index, LoraTarget::kDown, gate, adapter, kept));
    }
    if (keep) kv_[static_cast<size_t>(index)] = std::move(kv);
  }

  const GgufFile& file_;
  const ModelConfig& c_;
  std::vector<LayerKv> kv_;
  int length_ = 0;
};

double error_of(std::span<const float> got, const Doubles& expected) {
  double difference = 0, size = 0;
  EXPECT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    difference += (static_cast<double>(got[i]) - expected[i]) * (static_cast<double>(got[i]) - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(difference / size);
}

// ---- The engine ----------------------------------------------------------------------------------------------------

const std::vector<int32_t> kContext = {4, 9, 33, 60, 2, 71, 18};
constexpr int32_t kLast = 25;  // decided, not committed

struct Drafting {
  Drafting(const std::string& name, const std::string& parts, ggml_type type, const Kernels* kernels, int threads = 2)
      : file(base_file(name)), pool(1) {
    const ModelConfig config = read_model_config(*file).value();
    adapter = random_adapter(config, parts, type);
    model = std::make_shared<const Model>(load_model(file, config, pool, {}, adapter.draft_ids).value());
    packed = PackedAdapter::create(adapter, *model, nullptr).value();
    backend = std::move(CpuBackend::create(model, threads, kernels).value());
    kv = std::make_unique<KvCache>(KvCache::create(config, KvType::kF32, 2048).value());
  }

  // A sequence with the context committed; its last hidden state goes to `state`.
  SeqId begin() {
    const SeqId seq = kv->add_sequence();
    const PassOutput out = full(seq, kContext, true);
    state.assign(out.hidden.end() - model->config.d_model, out.hidden.end());
    kv->commit(seq, static_cast<int>(kContext.size()));
    return seq;
  }
  PassOutput full(SeqId seq, const std::vector<int32_t>& tokens, bool hidden = false) {
    rows.clear();
    for (size_t i = 0; i < tokens.size(); ++i) {
      rows.push_back({tokens[i], kv->length(seq) + static_cast<int>(i), static_cast<int>(i) - 1, seq});
    }
    want.assign(rows.size(), Want::kLogits);
    return backend->run({.rows = rows, .layers = {model->config.n_layers, 0}, .want = want, .want_hidden = hidden}, *kv)
        .value();
  }
  // Logits of the last token's row and the masks', of each sequence in turn, in one pass.
  Floats draft(const std::vector<SeqId>& sequences) {
    rows.clear();
    std::vector<const float*> states;
    for (const SeqId seq : sequences) {
      const int first = static_cast<int>(rows.size());
      for (int j = 0; j <= packed->config().masks; ++j) {
        rows.push_back({j == 0 ? kLast : -j, kv->length(seq) + j, j == 0 ? -1 : first + j - 1, seq});
        states.push_back(state.data());
      }
    }
    want.assign(rows.size(), Want::kLogits);
    const PassOutput out = backend
                               ->run({.rows = rows,
                                      .layers = {1, 1},
                                      .adapter = packed.get(),
                                      .state = states,
                                      .kv = KvUse::kScratch,
                                      .want = want},
                                     *kv)
                               .value();
    return {out.logits.begin(), out.logits.end()};
  }

  std::shared_ptr<const GgufFile> file;
  ThreadPool pool;
  Adapter adapter;
  std::shared_ptr<const Model> model;
  std::shared_ptr<const PackedAdapter> packed;
  std::unique_ptr<CpuBackend> backend;
  std::unique_ptr<KvCache> kv;
  Floats state;
  std::vector<Row> rows;
  std::vector<Want> want;
};

class DraftPass : public testing::TestWithParam<const char*> {};

TEST_P(DraftPass, IsWhatTheFormulasSay) {
  for (const std::string parts : {"", "L", "B", "S", "SF", "V", "LBSMV"}) {
    Drafting engine(GetParam(), parts, GGML_TYPE_F32, choose_kernels().value());
    const Floats logits = engine.draft({engine.begin()});
    Truth truth(*engine.file, engine.model->config);
    const Doubles state = truth.run(kContext, {0, 1}, nullptr, {}, true).back();
    const std::vector<Doubles> hidden = truth.run({kLast, -1, -2}, {0, 1}, &engine.adapter, state, false);
    const size_t n = engine.packed->draft_size();
    ASSERT_EQ(logits.size(), 3 * n);
    for (size_t j = 0; j < 3; ++j) {
      Floats row(logits.begin() + static_cast<std::ptrdiff_t>(j * n),
                 logits.begin() + static_cast<std::ptrdiff_t>((j + 1) * n));
      Doubles expected = truth.logits(hidden[j], engine.adapter.draft_ids);
      EXPECT_LT(error_of(row, expected), 2e-5) << parts << ", row " << j;
      if (parts.find('M') == std::string::npos) continue;
      const int32_t previous = 11;
      engine.backend->add_markov(*engine.packed, {&previous, 1}, row);
      const Doubles term = truth.markov(engine.adapter, previous);
      for (size_t i = 0; i < n; ++i) expected[i] += term[i];
      EXPECT_LT(error_of(row, expected), 2e-5) << "Markov, row " << j;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, DraftPass, testing::Values("llama-f32", "qwen2-f32"),
                         [](const auto& info) { return info.index == 0 ? "Llama" : "Qwen2"; });

TEST(DraftPassBits, DoNotDependOnCompanyThreadsOrInstructionSet) {
  Floats expected;
  for (const ggml_type type : {GGML_TYPE_Q8_0, GGML_TYPE_F16}) {
    expected.clear();
    for (const Kernels* kernels : sets_for_tests()) {
      for (const int threads : {1, 3}) {
        Drafting engine("llama-q8_0", "LBSMV", type, kernels, threads);
        const SeqId a = engine.begin(), b = engine.begin();
        Floats alone = engine.draft({a});
        const Floats both = engine.draft({b, a});
        ASSERT_EQ(both.size(), 2 * alone.size());
        EXPECT_EQ(std::memcmp(both.data() + alone.size(), alone.data(), alone.size() * sizeof(float)), 0);
        const std::vector<int32_t> previous = {11, 70, 3};
        engine.backend->add_markov(*engine.packed, previous, alone);
        if (expected.empty()) expected = alone;
        EXPECT_EQ(std::memcmp(expected.data(), alone.data(), alone.size() * sizeof(float)), 0) << kernels->name;
      }
    }
  }
}

TEST(DraftPassBits, AFullPassAfterItIsAsIfItHadNotBeen) {
  Drafting engine("llama-q8_0", "LBSMV", GGML_TYPE_Q8_0, choose_kernels().value());
  const SeqId drafted = engine.begin(), plain = engine.begin();
  engine.draft({drafted});
  EXPECT_EQ(engine.kv->length(drafted), static_cast<int>(kContext.size()));
  const std::vector<int32_t> next = {kLast, 8, 44};
  const PassOutput first = engine.full(drafted, next);
  const Floats after(first.logits.begin(), first.logits.end());
  const PassOutput second = engine.full(plain, next);
  EXPECT_EQ(std::memcmp(after.data(), second.logits.data(), after.size() * sizeof(float)), 0);
}

TEST(DraftPassBits, TheOrderOfTheHeadChangesNoLogit) {
  for (const std::string name : {"llama-q8_0", "gemma3-f32"}) {  // gemma3: a tied head, many layers
    const auto file = base_file(name);
    const ModelConfig config = read_model_config(*file).value();
    ThreadPool pool(1);
    const std::vector<int32_t> first = {5, 99, 0, 17, 3};
    Floats expected;
    for (const std::span<const int32_t> order : {std::span<const int32_t>(), std::span<const int32_t>(first)}) {
      const auto model = std::make_shared<const Model>(load_model(file, config, pool, {}, order).value());
      const auto backend = std::move(CpuBackend::create(model, 2, choose_kernels().value()).value());
      KvCache kv = KvCache::create(config, KvType::kF16, 64).value();
      const SeqId seq = kv.add_sequence();
      std::vector<Row> rows;
      for (int i = 0; i < 5; ++i) rows.push_back({3 * i + 1, i, i - 1, seq});
      const std::vector<Want> want(rows.size(), Want::kLogits);
      const PassOutput out = backend->run({.rows = rows, .layers = {config.n_layers, 0}, .want = want}, kv).value();
      if (expected.empty()) expected.assign(out.logits.begin(), out.logits.end());
      EXPECT_EQ(std::memcmp(expected.data(), out.logits.data(), expected.size() * sizeof(float)), 0) << name;
    }
  }
}

TEST(DraftPassErrors, SayWhatDoesNotFit) {
  Drafting engine("llama-f32", "L", GGML_TYPE_F32, choose_kernels().value());
  const SeqId seq = engine.begin();
  const Row mask{-3, engine.kv->length(seq), -1, seq};  // there are two
  const auto run = [&](Block block) { return engine.backend->run(block, *engine.kv); };
  const std::span<const Row> rows(&mask, 1);
  EXPECT_NE(run({.rows = rows, .layers = {1, 1}, .adapter = engine.packed.get()}).error().message.find("mask 2"),
            std::string::npos);
  EXPECT_FALSE(run({.rows = rows, .layers = {1, 1}}).ok());
  EXPECT_NE(run({.rows = rows, .layers = {2, 0}, .adapter = engine.packed.get()}).error().message.find("1 + 1"),
            std::string::npos);
  EXPECT_FALSE(PackedAdapter::untrained(*engine.model, {2, 1}, 3).ok());
  EXPECT_EQ(PackedAdapter::untrained(*engine.model, {1, 1}, 3).value()->config().masks, 3);
}

}  // namespace
}  // namespace s3d
