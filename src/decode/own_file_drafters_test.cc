// EAGLE and Medusa against the formulas of docs/drafters.md in double precision, on tiny models with random files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/cpu/cpu_backend.h"
#include "backend/reference/reference_backend.h"
#include "base/index.h"
#include "decode/drafters.h"
#include "decode/eagle_head.h"
#include "decode/medusa_heads.h"
#include "model/drafter_test_maker.h"
#include "model/tensor_floats.h"

namespace s3d {
namespace {

using drafter_test::as_file;
using drafter_test::EagleParts;
using drafter_test::kFingerprint;
using drafter_test::MedusaParts;
using Doubles = std::vector<double>;
using Tokens = std::vector<TokenId>;

constexpr int kText = 14;  // tokens; longer than the tiny models' windows

std::shared_ptr<const GgufFile> open_base(const std::string& name) {
  const std::string path = std::string(S3D_SOURCE_DIR) + "/tests/data/models/" + name + ".gguf";
  return std::make_shared<const GgufFile>(std::move(GgufFile::open(path)).value());
}

Tokens some_text(int vocab) {
  Tokens text;
  for (int i = 0; i < kText; ++i) text.push_back((i * 37 + 11) % vocab);
  return text;
}

Doubles product(const Tensor& w, const Doubles& x) {
  Doubles y(usize(w.rows()));
  std::vector<float> row(usize(w.cols()));
  for (size_t r = 0; r < y.size(); ++r) {
    row_to_floats(w, static_cast<int64_t>(r), row.data());
    y[r] = std::inner_product(row.begin(), row.end(), x.begin(), 0.0);
  }
  return y;
}

Doubles softmax_of(const Doubles& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  Doubles out;
  for (const double x : logits) out.push_back(std::exp(x - largest));
  const double sum = std::accumulate(out.begin(), out.end(), 0.0);
  for (double& x : out) x /= sum;
  return out;
}

// A base model, on the kernels and in double precision.
struct Base {
  explicit Base(const std::string& name, const Tokens& head_first = {})
      : file(open_base(name)), config(read_model_config(*file).value()), pool(2) {
    model = std::make_shared<const Model>(load_model(file, config, pool, {}, head_first).value());
    backend = CpuBackend::create(model, 2, choose_kernels().value()).value();
    reference = std::make_unique<ReferenceModel>(ReferenceModel::load(file, config).value());
    kv = std::make_unique<KvCache>(KvCache::create(config, KvType::kF32, 256).value());
  }

  Doubles rms(const Doubles& v) const {
    const double mean = std::inner_product(v.begin(), v.end(), v.begin(), 0.0) / static_cast<double>(v.size());
    Doubles out = v;
    for (double& x : out) x /= std::sqrt(mean + config.norm_eps);
    return out;
  }
  Doubles rms_embedding(TokenId token) const {
    std::vector<float> row(usize(config.d_model));
    model->embed(token, row.data());
    return rms(Doubles(row.begin(), row.end()));
  }

  std::shared_ptr<const GgufFile> file;
  ModelConfig config;
  ThreadPool pool;
  std::shared_ptr<const Model> model;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<ReferenceModel> reference;
  std::unique_ptr<KvCache> kv;
};

// What docs/drafters.md says, from the first token on, for every question anew.
class EagleFormula {
 public:
  // The layer sees the rows of the text from position `begin` on.
  EagleFormula(Base& base, EagleFile file, const Tokens& text, int begin = 0) : base_(base), file_(std::move(file)) {
    const Model side = load_side_model(*base.model, file_.file, {}, file_.draft_ids, base.pool).value();
    layer_ = std::make_unique<ReferenceModel>(ReferenceModel::load(side).value());
    std::vector<int> taps = file_.taps, all;
    if (taps.empty()) taps = {base.config.n_layers};
    std::vector<Row> rows;
    append_chain(rows, std::span(text).first(text.size() - 1));
    for (int i = 0; i < isize(rows); ++i) all.push_back(i);
    const Doubles states =
        base.reference->run(rows, {}, {}, base.pool, nullptr, nullptr, {.taps = taps, .tapped = all}).value().tapped;
    const size_t d = usize(base.config.d_model);
    for (size_t t = usize(begin); t < rows.size(); ++t) {
      Doubles all_taps;
      for (size_t i = 0; i < taps.size(); ++i) {
        const auto at = states.begin() + static_cast<std::ptrdiff_t>((t * taps.size() + i) * d);
        const Doubles normed = base.rms(Doubles(at, at + static_cast<std::ptrdiff_t>(d)));
        all_taps.insert(all_taps.end(), normed.begin(), normed.end());
      }
      inputs_.push_back(input(text[t + 1], file_.tap == nullptr ? all_taps : product(*file_.tap, all_taps)));
    }
  }

  // Probabilities of the tokens that may be drafted behind `path`, and what stands behind it.
  Doubles behind(const Tokens& path) const {
    std::vector<std::vector<float>> inputs = inputs_;
    ReferenceOutput out = run(inputs);
    for (const TokenId token : path) {
      inputs.push_back(input(token, base_.rms(out.hidden)));
      out = run(inputs);
    }
    return softmax_of(out.logits);
  }
  TokenId token(size_t index) const {
    return file_.draft_ids.empty() ? static_cast<TokenId>(index) : file_.draft_ids[index];
  }
  size_t index_of(TokenId token) const {
    if (file_.draft_ids.empty()) return usize(token);
    return usize(std::find(file_.draft_ids.begin(), file_.draft_ids.end(), token) - file_.draft_ids.begin());
  }

 private:
  std::vector<float> input(TokenId token, const Doubles& feature) const {
    Doubles both = base_.rms_embedding(token);
    both.insert(both.end(), feature.begin(), feature.end());
    const Doubles out = product(*file_.fc, both);
    return {out.begin(), out.end()};
  }
  ReferenceOutput run(const std::vector<std::vector<float>>& inputs) const {
    std::vector<Row> rows;
    append_chain(rows, Tokens(inputs.size(), 0));
    std::vector<const float*> pointers;
    for (const std::vector<float>& one : inputs) pointers.push_back(one.data());
    const int last = isize(rows) - 1;
    return layer_->run(rows, {}, {&last, 1}, base_.pool, nullptr, nullptr, {.input = pointers}).value();
  }

  Base& base_;
  EagleFile file_;
  std::unique_ptr<ReferenceModel> layer_;
  std::vector<std::vector<float>> inputs_;
};

// Runs rows [begin, end) of the text on the base's backend and tells the drafter.
void show(Base& base, Backend& backend, SeqId seq, const Tokens& text, int begin, int end, Drafter& drafter) {
  base.kv->truncate(seq, begin);
  std::vector<Row> rows;
  std::vector<int> all;
  for (int i = begin; i < end; ++i) {
    rows.push_back({text[usize(i)], i, i == begin ? -1 : i - begin - 1, seq});
    all.push_back(i - begin);
  }
  const auto out = backend.run(
      {.rows = rows, .layers = LayerSet::all(base.config.n_layers), .taps = drafter.taps(), .tapped = all}, *base.kv);
  ASSERT_TRUE(out.ok()) << out.error().message;
  base.kv->commit(seq, end - begin);
  drafter.observe({.text = text, .first = begin, .count = end - begin, .features = out->tapped});
}

std::unique_ptr<Drafter> eagle_on(Base& base, Backend& backend, const EagleFile& file) {
  return make_eagle_drafter(EagleHead::create(file, base.model, backend, *base.kv, base.pool).value());
}

// Every node's probability is the formula's behind its path, and its token is one of the likeliest there.
void expect_tree(const EagleFormula& formula, const DraftTree& tree, int width) {
  for (size_t i = 0; i < tree.size(); ++i) {
    Tokens path;
    for (int at = tree[i].parent; at >= 0; at = tree[usize(at)].parent)
      path.insert(path.begin(), tree[usize(at)].token);
    const Doubles chances = formula.behind(path);
    const double mine = chances[formula.index_of(tree[i].token)];
    EXPECT_NEAR(tree[i].probability, mine, 2e-4) << "node " << i;
    const auto better =
        std::count_if(chances.begin(), chances.end(), [&](double other) { return other > mine + 1e-6; });
    EXPECT_LT(better, width) << "node " << i;
  }
}

struct Case {
  const char* model;
  EagleParts parts;
};

class EagleTest : public testing::TestWithParam<Case> {};

TEST_P(EagleTest, DraftsAreThoseOfTheFormula) {
  Base base(GetParam().model);
  const EagleFile file =
      open_eagle(as_file(drafter_test::eagle_image(base.config, GetParam().parts)), base.config, kFingerprint).value();
  const Tokens text = some_text(base.config.vocab_size);
  const EagleFormula formula(base, file, text);
  const auto drafter = eagle_on(base, *base.backend, file);
  const KvSequence seq = base.kv->add_sequence();
  show(base, *base.backend, seq, text, 0, 9, *drafter);
  show(base, *base.backend, seq, text, 9, kText - 1, *drafter);
  for (const DraftLimits& limits : {DraftLimits{.nodes = 4, .depth = 4}, {.nodes = 8, .depth = 4, .width = 3}}) {
    DraftTree tree;
    ASSERT_TRUE(drafter->draft({.seq = seq, .tokens = text}, limits, tree).ok());
    EXPECT_EQ(isize(tree), limits.nodes);
    expect_tree(formula, tree, limits.width);
    for (size_t i = 0; i < tree.size(); ++i) {
      EXPECT_LT(tree[i].parent, static_cast<int>(i));
      if (limits.width == 1) {
        EXPECT_EQ(tree[i].parent, static_cast<int>(i) - 1);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, EagleTest,
    testing::Values(Case{"llama-f32", {}},
                    Case{"llama-f32", {.taps = {1, 2}, .draft_ids = drafter_test::some_draft_ids(106)}},
                    Case{"qwen2-f32", {}}, Case{"qwen3-f32", {.taps = {2}}}, Case{"gemma2-f32", {}},
                    Case{"gemma3-f32", {}}, Case{"granite-f32", {}}, Case{"phi3-f32", {}}, Case{"olmo2-f32", {}}),
    [](const auto& info) { return std::to_string(info.index) + std::string(info.param.model, 4); });

class EagleOnLlama : public testing::Test {
 protected:
  EagleOnLlama() : EagleOnLlama(EagleParts{}) {}
  explicit EagleOnLlama(const EagleParts& parts)
      : base_("llama-f32"),
        text_(some_text(base_.config.vocab_size)),
        file_(open_eagle(as_file(drafter_test::eagle_image(base_.config, parts)), base_.config, kFingerprint).value()),
        drafter_(eagle_on(base_, *base_.backend, file_)),
        seq_(base_.kv->add_sequence()) {}

  DraftTree draft(const Tokens& text) const {
    DraftTree tree;
    EXPECT_TRUE(drafter_->draft({.seq = seq_, .tokens = text}, {.nodes = 3, .depth = 3}, tree).ok());
    return tree;
  }
  static std::vector<std::pair<TokenId, float>> values(const DraftTree& tree) {
    std::vector<std::pair<TokenId, float>> out;
    for (const DraftNode& node : tree) out.emplace_back(node.token, node.probability);
    return out;
  }

  Base base_;
  Tokens text_;
  EagleFile file_;
  std::unique_ptr<Drafter> drafter_;
  KvSequence seq_;
};

TEST_F(EagleOnLlama, RowsThatWereNotShownAreLeftOut) {
  EXPECT_TRUE(draft(text_).empty()) << "nothing was shown";
  KvSequence other = base_.kv->add_sequence();
  const auto nobody = eagle_on(base_, *base_.backend, file_);
  show(base_, *base_.backend, seq_, text_, 0, 5, *nobody);
  show(base_, *base_.backend, seq_, text_, 5, kText - 1, *drafter_);
  const DraftTree tree = draft(text_);
  ASSERT_EQ(tree.size(), 3U);
  expect_tree(EagleFormula(base_, file_, text_, /*begin=*/5), tree, 1);
}

TEST_F(EagleOnLlama, TheSameTextGivesTheSameDraftWhateverCameBefore) {
  show(base_, *base_.backend, seq_, text_, 0, kText - 1, *drafter_);
  const auto once = values(draft(text_));
  EXPECT_EQ(values(draft(text_)), once) << "asked twice";
  Tokens other = text_;
  other[8] = (other[8] + 1) % base_.config.vocab_size;
  show(base_, *base_.backend, seq_, other, 8, kText - 1, *drafter_);
  EXPECT_NE(values(draft(other)), once);
  show(base_, *base_.backend, seq_, text_, 0, kText - 1, *drafter_);
  EXPECT_EQ(values(draft(text_)), once) << "after another text, from its beginning";
  for (int i = 0; i < kText - 1; ++i) show(base_, *base_.backend, seq_, text_, i, i + 1, *drafter_);
  EXPECT_EQ(values(draft(text_)), once) << "row by row";
}

TEST_F(EagleOnLlama, ALongPromptIsRunAlong) {
  Tokens text;
  for (int i = 0; i < 201; ++i) text.push_back((i * 31 + 7) % base_.config.vocab_size);
  for (int i = 0; i < 200; i += 100) show(base_, *base_.backend, seq_, text, i, i + 100, *drafter_);
  const auto together = values(draft(text));
  ASSERT_EQ(together.size(), 3U);
  const KvSequence second = base_.kv->add_sequence();
  drafter_ = eagle_on(base_, *base_.backend, file_);
  base_.kv->truncate(seq_, 0);
  for (int i = 0; i < 200; i += 8) show(base_, *base_.backend, seq_, text, i, i + 8, *drafter_);
  EXPECT_EQ(values(draft(text)), together);
}

TEST_F(EagleOnLlama, WithoutMemoryNothingIsDrafted) {
  KvCache small = KvCache::create(base_.config, KvType::kF32, 64).value();
  const auto head = EagleHead::create(file_, base_.model, *base_.backend, small, base_.pool).value();
  const KvSequence taken = head->kv().add_sequence();
  ASSERT_TRUE(head->kv().reserve(taken, 64).ok());
  drafter_ = make_eagle_drafter(head);
  show(base_, *base_.backend, seq_, text_, 0, kText - 1, *drafter_);
  EXPECT_TRUE(draft(text_).empty());
  head->kv().truncate(taken, 0);
  EXPECT_EQ(draft(text_).size(), 3U) << "the rows have waited";
}

// The kernels and the reference backend, with quantized parts.
TEST_F(EagleOnLlama, QuantizedFilesAreRunToo) {
  auto reference = ReferenceBackend::create(base_.file, base_.config, 2).value();
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1}) {
    const EagleParts parts = {.taps = {1}, .draft_ids = drafter_test::some_draft_ids(106), .type = type};
    const EagleFile file =
        open_eagle(as_file(drafter_test::eagle_image(base_.config, parts)), base_.config, kFingerprint).value();
    std::vector<DraftTree> trees;
    for (Backend* backend : {base_.backend.get(), static_cast<Backend*>(reference.get())}) {
      drafter_ = eagle_on(base_, *backend, file);
      show(base_, *backend, seq_, text_, 0, kText - 1, *drafter_);
      trees.push_back(draft(text_));
    }
    ASSERT_EQ(trees[0].size(), 3U);
    ASSERT_EQ(trees[1].size(), 3U);
    EXPECT_EQ(trees[0][0].token, trees[1][0].token) << ggml_type_name(type);
    EXPECT_NEAR(trees[0][0].probability, trees[1][0].probability, 0.03) << ggml_type_name(type);
  }
}

TEST(EagleHead, SharesTheBasesHeadWhereItCan) {
  const Tokens ids = drafter_test::some_draft_ids(106);
  const auto bytes = [&](const Tokens& head_first, const Tokens& draft_ids) {
    Base base("llama-f32", head_first);
    const EagleParts parts = {.draft_ids = draft_ids};
    const EagleFile file =
        open_eagle(as_file(drafter_test::eagle_image(base.config, parts)), base.config, kFingerprint).value();
    const auto head = EagleHead::create(file, base.model, *base.backend, *base.kv, base.pool).value();
    EXPECT_EQ(head->token(0), draft_ids.empty() ? (head_first.empty() ? 0 : head_first[0]) : draft_ids[0]);
    return head->bytes();
  };
  const size_t whole = bytes({}, {});
  EXPECT_EQ(bytes(ids, ids), whole);
  EXPECT_EQ(bytes(ids, {}), whole);
  EXPECT_GT(bytes({}, ids), whole);
}

// Of the pool, which has room for many sequences, a drafter takes what its own text does.
TEST(EagleHead, ASequenceTakesItsPagesOfThePool) {
  Base base("llama-f32");
  const EagleFile file =
      open_eagle(as_file(drafter_test::eagle_image(base.config, {})), base.config, kFingerprint).value();
  const auto head = EagleHead::create(file, base.model, *base.backend, *base.kv, base.pool).value();
  const size_t page = head->kv().bytes_per_token() * KvCache::kPageTokens;
  EXPECT_EQ(head->bytes_for(0) + head->kv().bytes(), head->bytes());
  EXPECT_EQ(head->bytes_for(1), head->bytes_for(0) + page);
  EXPECT_EQ(head->bytes_for(KvCache::kPageTokens), head->bytes_for(1));
  EXPECT_EQ(head->bytes_for(KvCache::kPageTokens + 1), head->bytes_for(1) + page);
}

// ---- Medusa --------------------------------------------------------------------------------------------------------

Doubles medusa_chances(Base& base, const MedusaFile& file, const std::vector<float>& state, size_t k) {
  std::vector<float> weights(usize(base.config.d_model));
  row_to_floats(*base.file->find_tensor("output_norm.weight"), 0, weights.data());
  Doubles m = base.rms(Doubles(state.begin(), state.end()));
  for (size_t i = 0; i < m.size(); ++i) m[i] *= double{weights[i]} * base.config.logit_scale;
  Doubles v = product(*file.heads[k].weight, m);
  for (size_t i = 0; i < v.size(); ++i) {
    const double x = v[i] + file.heads[k].bias[i];
    v[i] = m[i] + x / (1 + std::exp(-x));
  }
  const char* head = base.config.tied_head ? "token_embd.weight" : "output.weight";
  const Doubles whole = product(*base.file->find_tensor(head), v);
  Doubles logits;
  for (size_t i = 0; i < (file.draft_ids.empty() ? whole.size() : file.draft_ids.size()); ++i) {
    logits.push_back(whole[file.draft_ids.empty() ? i : usize(file.draft_ids[i])]);
  }
  if (file.heads[k].low == nullptr) return softmax_of(logits);
  const Doubles more = product(*file.heads[k].low_head, product(*file.heads[k].low, v));
  for (size_t i = 0; i < logits.size(); ++i) logits[i] += more[i];
  return softmax_of(logits);
}

TEST(MedusaTest, DraftsAreThoseOfTheFormula) {
  const MedusaParts all_parts[] = {{}, {.rank = 32, .draft_ids = drafter_test::some_draft_ids(106)}};
  for (const char* name : {"llama-f32", "granite-f32", "gemma2-f32"}) {
    for (const MedusaParts& parts : all_parts) {
      Base base(name);
      const MedusaFile file =
          open_medusa(as_file(drafter_test::medusa_image(base.config, parts)), base.config, kFingerprint).value();
      const auto drafter = make_medusa_drafter(MedusaHeads::create(file, base.model, *base.backend, base.pool).value());
      std::vector<float> state(usize(base.config.d_model));
      for (size_t i = 0; i < state.size(); ++i) state[i] = std::sin(static_cast<float>(i * i + 1));
      const Tokens text = {1, 2};
      DraftTree tree;
      ASSERT_TRUE(drafter->draft({.tokens = text}, {.nodes = 3, .depth = 3}, tree).ok());
      EXPECT_TRUE(tree.empty()) << "the state is not known";
      for (const DraftLimits& limits : {DraftLimits{.nodes = 3, .depth = 3}, {.nodes = 9, .depth = 3, .width = 4}}) {
        ASSERT_TRUE(drafter->draft({.tokens = text, .state = state}, limits, tree).ok());
        ASSERT_EQ(isize(tree), limits.nodes);
        for (size_t i = 0; i < tree.size(); ++i) {
          size_t depth = 0;
          for (int at = tree[i].parent; at >= 0; at = tree[usize(at)].parent) ++depth;
          ASSERT_LT(depth, 3U);
          const Doubles chances = medusa_chances(base, file, state, depth);
          const auto index = file.draft_ids.empty()
                                 ? usize(tree[i].token)
                                 : usize(std::find(file.draft_ids.begin(), file.draft_ids.end(), tree[i].token) -
                                         file.draft_ids.begin());
          EXPECT_NEAR(tree[i].probability, chances[index], 2e-4) << name << " node " << i;
          const auto better = std::count_if(chances.begin(), chances.end(),
                                            [&](double other) { return other > chances[index] + 1e-6; });
          EXPECT_LT(better, limits.width);
        }
      }
    }
  }
}

// ---- Blocks with inputs and taps -----------------------------------------------------------------------------------

TEST(FeatureBlocks, AnInputThatIsTheEmbeddingGivesTheSameBits) {
  Base base("gemma2-f32");
  const KvSequence seq = base.kv->add_sequence();
  const Tokens text = some_text(base.config.vocab_size);
  std::vector<Row> rows;
  append_chain(rows, text);
  for (Row& row : rows) row.seq = seq;
  std::vector<std::vector<float>> embeddings(text.size(), std::vector<float>(usize(base.config.d_model)));
  std::vector<const float*> input;
  for (size_t i = 0; i < text.size(); ++i) {
    base.model->embed(text[i], embeddings[i].data());
    input.push_back(i % 2 == 0 ? embeddings[i].data() : nullptr);
  }
  const LayerSet all = LayerSet::all(base.config.n_layers);
  const std::vector<int> taps = {1, base.config.n_layers}, tapped = {0, isize(rows) - 1};
  const auto run = [&](std::span<const float* const> given) {
    const PassOutput out = base.backend
                               ->run({.rows = rows,
                                      .layers = all,
                                      .kv = KvUse::kScratch,
                                      .want_hidden = true,
                                      .input = given,
                                      .taps = taps,
                                      .tapped = tapped},
                                     *base.kv)
                               .value();
    std::vector<float> values(out.logits.begin(), out.logits.end());
    values.insert(values.end(), out.tapped.begin(), out.tapped.end());
    const size_t d = usize(base.config.d_model);
    EXPECT_EQ(out.tapped.size(), 4 * d);
    EXPECT_TRUE(std::equal(out.hidden.begin(), out.hidden.end(), out.tapped.end() - static_cast<std::ptrdiff_t>(d)))
        << "behind all layers";
    return values;
  };
  const std::vector<float> plain = run({});
  for (size_t i = 0; i < rows.size(); i += 2) rows[i].token = 0;
  EXPECT_EQ(run(input), plain);
}

TEST(FeatureBlocks, WrongOnesAreRefused) {
  Base base("llama-f32");
  const KvSequence seq = base.kv->add_sequence();
  const std::vector<Row> rows = {{1, 0, -1, seq}, {2, 1, 0, seq}};
  const LayerSet all = LayerSet::all(base.config.n_layers);
  const auto message = [&](const std::vector<int>& taps, const std::vector<int>& tapped,
                           const std::vector<const float*>& input, LayerSet layers) -> std::string {
    const auto out = base.backend->run(
        {.rows = rows, .layers = layers, .kv = KvUse::kScratch, .input = input, .taps = taps, .tapped = tapped},
        *base.kv);
    return out.ok() ? "no error" : out.error().message;
  };
  using testing::HasSubstr;
  EXPECT_THAT(message({2, 1}, {0}, {}, all), HasSubstr("taps [2, 1]"));
  EXPECT_THAT(message({0}, {0}, {}, all), HasSubstr("taps [0]"));
  EXPECT_THAT(message({3}, {0}, {}, all), HasSubstr("of layers 1 to 2"));
  EXPECT_THAT(message({1}, {2}, {}, all), HasSubstr("rows below 2"));
  EXPECT_THAT(message({1}, {0, 0}, {}, all), HasSubstr("rising"));
  EXPECT_THAT(message({1}, {0}, {}, {1, 0}), HasSubstr("skips layers"));
  EXPECT_THAT(message({}, {}, {nullptr}, all), HasSubstr("2 rows with 1 inputs"));
  EXPECT_EQ(message({1, 2}, {0, 1}, {}, all), "no error");
}

// ---- Backends that cannot ------------------------------------------------------------------------------------------

class OtherBackend : public Backend {
 public:
  explicit OtherBackend(const ModelConfig& config) : config_(config) {}
  Result<PassOutput> run(const Block&, KvCache&) override { return Error{"not run"}; }
  void add_markov(const PackedAdapter&, std::span<const TokenId>, std::span<float>, std::span<float>) override {}
  const ModelConfig& config() const override { return config_; }
  int max_rows() const override { return 8; }
  std::string_view name() const override { return "other"; }
  size_t weight_bytes() const override { return 0; }
  size_t scratch_bytes() const override { return 0; }

 private:
  ModelConfig config_;
};

TEST(OtherBackends, AreNamed) {
  Base base("llama-f32");
  OtherBackend other(base.config);
  const auto eagle = open_eagle(as_file(drafter_test::eagle_image(base.config, {})), base.config, kFingerprint).value();
  const auto medusa =
      open_medusa(as_file(drafter_test::medusa_image(base.config, {})), base.config, kFingerprint).value();
  EXPECT_THAT(EagleHead::create(eagle, base.model, other, *base.kv, base.pool).error().message,
              testing::HasSubstr("backend other"));
  EXPECT_THAT(MedusaHeads::create(medusa, base.model, other, base.pool).error().message,
              testing::HasSubstr("backend other"));
}

}  // namespace
}  // namespace s3d
