// Draft passes with an adapter: the numbers of docs/adapter.md, against the reference in double precision, and the
// promises of backend.h for their rows.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "backend/adapter_test_maker.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/packed_adapter.h"
#include "backend/reference/reference_backend.h"
#include "backend/reference/reference_model.h"
#include "base/index.h"

namespace s3d {
namespace {

using adapter_test::Drafted;
using adapter_test::Floats;
using adapter_test::kAll;
using adapter_test::kContext;
using adapter_test::kMasks;
using adapter_test::kNone;
using adapter_test::Parts;
using adapter_test::some_tokens;
using adapter_test::Tokens;

// What a draft pass gives: logits and hidden states of all rows, and the logits with the Markov term of `previous`.
struct Draft {
  Floats logits, hidden, scored;
  friend bool operator==(const Draft& a, const Draft& b) {
    const auto same = [](const Floats& x, const Floats& y) {
      return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
    };
    return same(a.logits, b.logits) && same(a.hidden, b.hidden) && same(a.scored, b.scored);
  }
};

Tokens previous_tokens(size_t n) {
  Tokens out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<int32_t>(5 + 3 * i);
  return out;
}

class Runner {
 public:
  explicit Runner(const Drafted& setup, int threads = 2, const Kernels* kernels = available_kernels().back())
      : Runner(setup, std::unique_ptr<Backend>(std::move(CpuBackend::create(setup.model, threads, kernels).value()))) {}
  Runner(const Drafted& setup, std::unique_ptr<Backend> backend)
      : setup_(setup), backend_(std::move(backend)), kv_(KvCache::create(setup.config, KvType::kF32, 1024).value()) {}

  // A new sequence with `tokens` committed; its last row's hidden state is kept.
  SeqId add(const Tokens& tokens) {
    const SeqId seq = sequences_.emplace_back(kv_.add_sequence());
    hidden_.resize(usize(seq) + 1);
    if (tokens.empty()) return seq;
    std::vector<Row> rows;
    append_chain(rows, tokens);
    for (Row& row : rows) row.seq = seq;
    const auto out = backend_->run({.rows = rows, .layers = {setup_.config.n_layers, 0}, .want_hidden = true}, kv_);
    kv_.commit(seq, isize(rows));
    hidden_[seq].assign(out->hidden.begin(), out->hidden.end());
    return seq;
  }
  Floats full(SeqId seq, TokenId token) {
    const Row row = {token, kv_.length(seq), -1, seq};
    const auto out =
        backend_->run({.rows = {&row, 1}, .layers = {setup_.config.n_layers, 0}, .kv = KvUse::kScratch}, kv_);
    return {out->logits.begin(), out->logits.end()};
  }

  // Row j of every sequence in turn: `token`, then masks; n rows a sequence.
  Draft draft(const std::vector<SeqId>& sequences, TokenId token, int n = kMasks + 1) {
    std::vector<Row> rows;
    std::vector<const float*> states;
    const int count = isize(sequences);
    for (int j = 0; j < n; ++j) {
      for (int s = 0; s < count; ++s) {
        const SeqId seq = sequences[s];
        const Floats& hidden = hidden_[seq];
        rows.push_back({j == 0 ? token : -j, kv_.length(seq) + j, j == 0 ? -1 : (j - 1) * count + s, seq});
        states.push_back(hidden.empty() ? nullptr : hidden.data());
      }
    }
    const std::vector<Want> want(rows.size(), Want::kLogits);
    const auto out = backend_->run({.rows = rows,
                                    .layers = setup_.plan,
                                    .adapter = setup_.packed.get(),
                                    .state = states,
                                    .kv = KvUse::kScratch,
                                    .want = want,
                                    .want_hidden = true},
                                   kv_);
    EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message);
    Draft draft = {{out->logits.begin(), out->logits.end()}, {out->hidden.begin(), out->hidden.end()}, {}};
    draft.scored = draft.logits;
    backend_->add_markov(*setup_.packed, previous_tokens(rows.size()), draft.scored, {});
    return draft;
  }

 private:
  const Drafted& setup_;
  std::unique_ptr<Backend> backend_;
  KvCache kv_;
  std::vector<KvSequence> sequences_;
  std::vector<Floats> hidden_;  // by sequence
};

// |a - b| / |b|, the larger of logits with and without the Markov term and of hidden states, over all rows.
double error_of(const Floats& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

double error_of(const Drafted& setup, const Tokens& tokens, const ReferenceRounding& rounding) {
  Runner runner(setup);
  const Draft draft = runner.draft({runner.add(tokens)}, 3);
  const ReferenceModel reference = ReferenceModel::load(setup.file, setup.config, rounding).value();
  ThreadPool pool(2);
  std::vector<Row> rows;
  const int last = append_chain(rows, tokens);
  const auto context = reference.run(rows, {}, std::vector<int>{last}, pool).value();
  std::vector<LayerSet> layers(rows.size(), LayerSet{setup.config.n_layers, 0});
  append_chain(rows, Tokens{3, -1, -2, -3}, last, kContext);
  layers.resize(rows.size(), setup.plan);
  const std::vector<std::vector<double>> states(kMasks + 1, context.hidden);
  const ReferenceDraft how = {&setup.adapter, kContext, states};
  const std::vector<int> wanted = {kContext, kContext + 1, kContext + 2, kContext + 3};
  const ReferenceOutput expected = reference.run(rows, layers, wanted, pool, &how).value();
  std::vector<double> scored = expected.logits;
  if (setup.adapter.markov_p != nullptr) {
    const auto term = reference.markov_term(setup.adapter, previous_tokens(wanted.size()), pool);
    for (size_t i = 0; i < scored.size(); ++i) scored[i] += term[i];
  }
  return std::max({error_of(draft.logits, expected.logits), error_of(draft.hidden, expected.hidden),
                   error_of(draft.scored, scored)});
}

// Bases with their plans. gemma3 has 7 layers, the others 2 (llama-q4_k, below, 1).
struct Base {
  const char* name;
  LayerSet plan;
};
constexpr Base kBases[] = {
    {"llama-f32", {1, 1}}, {"qwen2-f32", {1, 1}}, {"qwen3-f32", {0, 1}}, {"phi3-f32", {1, 0}}, {"gemma3-f32", {2, 3}}};

TEST(DraftPass, EveryPartAgreesWithTheReference) {
  const std::pair<const char*, Parts> all_parts[] = {
      {"all", kAll},
      {"none", kNone},
      {"some pairs", {.some_pairs_only = true}},
      {"no lora", {.lora = false}},
      {"no state", {.state = false}},
      {"state of masks only", {.first_row = false}},
      {"no bridge", {.bridge = false}},
      {"whole vocabulary", {.draft_vocab = false}},
      {"no markov", {.markov = false}},
  };
  for (const Base& base : kBases) {
    for (const auto& [name, parts] : all_parts) {
      const Drafted setup(base.name, base.plan, parts, GGML_TYPE_F32);
      // Float arithmetic; measured: at most 1.2e-6.
      const double error = error_of(setup, some_tokens(kContext, setup.config.vocab_size, 1), {});
      EXPECT_LT(error, 5e-6) << base.name << ", " << name;
    }
  }
}

// The reference as a backend runs draft passes as well, an untrained adapter's too.
TEST(DraftPass, TheReferenceBackendAgrees) {
  for (const Base& base : kBases) {
    Drafted setup(base.name, base.plan, kAll, GGML_TYPE_F32);
    const Tokens tokens = some_tokens(kContext, setup.config.vocab_size, 1);
    for (const bool trained : {true, false}) {
      if (!trained) setup.packed = PackedAdapter::untrained(*setup.model, setup.plan, kMasks, 0).value();
      Runner cpu(setup);
      Runner reference(setup, std::move(ReferenceBackend::create(setup.file, setup.config, 2).value()));
      const Draft a = cpu.draft({cpu.add(tokens)}, 3), b = reference.draft({reference.add(tokens)}, 3);
      const auto doubles = [](const Floats& x) { return std::vector<double>(x.begin(), x.end()); };
      for (const auto& [x, y] : {std::pair(a.logits, b.logits), {a.hidden, b.hidden}, {a.scored, b.scored}}) {
        EXPECT_LT(error_of(x, doubles(y)), 5e-6) << base.name << (trained ? "" : ", untrained");
      }
    }
  }
}

// A quantized adapter: what its activations lose, and the arithmetic alone where no number is rounded up here and
// down there (families_test.cc says why prompts are tried).
TEST(DraftPass, QuantizedAdapters) {
  for (const Base& base : {kBases[0], kBases[3], kBases[4], Base{"llama-q8_0", {1, 1}}}) {
    double noise = 0, arithmetic = 1;
    for (unsigned seed = 0; seed < 20 && arithmetic > 5e-6; ++seed) {
      const Drafted setup(base.name, base.plan, kAll, GGML_TYPE_Q8_0, seed);
      const Tokens tokens = some_tokens(kContext, setup.config.vocab_size, seed);
      noise = std::max(noise, error_of(setup, tokens, {}));
      arithmetic = std::min(arithmetic, error_of(setup, tokens, {.activations = true}));
    }
    // Measured: at most 2.2e-2.
    EXPECT_LT(noise, 4e-2) << base.name;
    EXPECT_LT(arithmetic, 5e-6) << base.name;
  }
}

class DraftRows : public testing::TestWithParam<std::tuple<const char*, ggml_type>> {
 protected:
  DraftRows() : setup_(std::get<0>(GetParam()), layers_of(std::get<0>(GetParam())), kAll, std::get<1>(GetParam())) {}
  static LayerSet layers_of(const std::string& name) {
    return name == "gemma3-f32" ? LayerSet{2, 3} : name == "llama-q4_k" ? LayerSet{0, 1} : LayerSet{1, 1};
  }
  Tokens tokens(int n, unsigned seed) const { return some_tokens(n, setup_.config.vocab_size, seed); }
  Drafted setup_;
};

TEST_P(DraftRows, ThreadsAndInstructionSetsDoNotMatter) {
  Runner base(setup_, 1);
  const Draft expected = base.draft({base.add(tokens(90, 1))}, 3);
  for (const Kernels* kernels : available_kernels()) {
    for (const int threads : {1, 3}) {
      Runner other(setup_, threads, kernels);
      EXPECT_TRUE(other.draft({other.add(tokens(90, 1))}, 3) == expected) << kernels->name << threads;
    }
  }
}

TEST_P(DraftRows, OtherRowsDoNotMatter) {
  Runner runner(setup_);
  const std::vector<SeqId> sequences = {runner.add(tokens(30, 1)), runner.add({}), runner.add(tokens(70, 2))};
  const Draft together = runner.draft(sequences, 3);
  const size_t vocab = setup_.packed->draft_size(), d = usize(setup_.config.d_model);
  const auto same = [](const float* a, const float* b, size_t n) { return std::memcmp(a, b, n * sizeof(float)) == 0; };
  for (size_t s = 0; s < sequences.size(); ++s) {
    for (const int n : {1, 2, kMasks + 1}) {
      const Draft alone = runner.draft({sequences[s]}, 3, n);
      for (size_t j = 0; j < usize(n); ++j) {
        const size_t row = j * sequences.size() + s;
        EXPECT_TRUE(same(&alone.logits[j * vocab], &together.logits[row * vocab], vocab) &&
                    same(&alone.hidden[j * d], &together.hidden[row * d], d))
            << "sequence " << s << ", row " << j << " of " << n;
      }
    }
  }
}

TEST_P(DraftRows, LeaveNoTrace) {
  Runner a(setup_), b(setup_);
  const SeqId seq = a.add(tokens(66, 1)), same = b.add(tokens(66, 1));
  const Draft before = a.draft({seq}, 3);
  EXPECT_EQ(a.full(seq, 9), b.full(same, 9));
  EXPECT_TRUE(a.draft({seq}, 3) == before) << "nor does a full pass in the next draft";
}

// The head was packed with the draft vocabulary's rows in front.
TEST_P(DraftRows, FullPassesKeepTheVocabularysOrder) {
  Drafted plain = setup_;
  ThreadPool pool(1);
  plain.model = std::make_shared<const Model>(load_model(plain.file, plain.config, pool).value());
  ASSERT_TRUE(plain.model->lm_head_ids.empty());
  ASSERT_FALSE(setup_.model->lm_head_ids.empty());
  for (const int threads : {1, 3}) {
    Runner a(setup_, threads), b(plain, threads);
    EXPECT_EQ(a.full(a.add(tokens(20, 1)), 9), b.full(b.add(tokens(20, 1)), 9));
  }
}

// Two adapters of one model need not draft from the same tokens: the one whose vocabulary the head does not begin with
// has its own rows of it.
TEST_P(DraftRows, AreTheSameFromAHeadOfTheAdaptersOwn) {
  const auto& [name, type] = GetParam();
  ThreadPool pool(1);
  Drafted own = setup_;
  own.model = std::make_shared<const Model>(load_model(own.file, own.config, pool).value());
  own.packed = PackedAdapter::create(own.adapter, *own.model, &pool).value();
  EXPECT_EQ(setup_.packed->own_head(), nullptr);
  ASSERT_NE(own.packed->own_head(), nullptr);
  EXPECT_EQ(own.packed->bytes(), setup_.packed->bytes() + own.packed->own_head()->bytes());
  Parts all_tokens = kAll;
  all_tokens.draft_vocab = false;
  const Drafted whole(name, setup_.plan, all_tokens, type);
  EXPECT_EQ(whole.packed->own_head(), nullptr);
  Drafted reordered = whole;
  reordered.model = setup_.model;
  reordered.packed = PackedAdapter::create(whole.adapter, *setup_.model, &pool).value();
  ASSERT_NE(reordered.packed->own_head(), nullptr);
  for (const auto& [of_model, of_adapter] : {std::pair<const Drafted*, const Drafted*>(&setup_, &own),
                                             std::pair<const Drafted*, const Drafted*>(&whole, &reordered)}) {
    Runner a(*of_model, 2), b(*of_adapter, 2);
    EXPECT_TRUE(a.draft({a.add(tokens(20, 1))}, 3) == b.draft({b.add(tokens(20, 1))}, 3));
    EXPECT_EQ(a.full(a.add(tokens(20, 1)), 9), b.full(b.add(tokens(20, 1)), 9));
  }
}

INSTANTIATE_TEST_SUITE_P(Bases, DraftRows,
                         testing::Combine(testing::Values("llama-q4_k", "qwen2-f32", "gemma3-f32"),
                                          testing::Values(GGML_TYPE_F16, GGML_TYPE_Q8_0)),
                         [](const auto& info) {
                           std::string name =
                               std::string(std::get<0>(info.param)) + "_" + ggml_type_name(std::get<1>(info.param));
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// Without a trained part: masks are the mean embedding, and the draft is the plain layers'.
TEST(DraftPass, UntrainedAdapter) {
  Drafted setup("llama-f32", {1, 1}, {.lora = false, .state = false, .bridge = false, .markov = false}, GGML_TYPE_F32);
  const int draft_vocab = setup.adapter.config.draft_vocab;
  const auto untrained = PackedAdapter::untrained(*setup.model, setup.plan, kMasks, draft_vocab);
  ASSERT_TRUE(untrained.ok());
  EXPECT_EQ((*untrained)->draft_size(), usize(draft_vocab));
  EXPECT_EQ((*untrained)->draft_token(5), setup.adapter.draft_ids[5]);
  Runner trained(setup);
  const Draft one = trained.draft({trained.add(some_tokens(9, 50, 1))}, 3, 1);
  setup.packed = *untrained;
  Runner floor(setup);
  EXPECT_TRUE(floor.draft({floor.add(some_tokens(9, 50, 1))}, 3, 1) == one) << "no mask among the rows";
  EXPECT_FALSE(PackedAdapter::untrained(*setup.model, {2, 1}, kMasks).ok());
}

TEST(DraftPass, ErrorsAreClear) {
  const Drafted setup("qwen2-f32", {1, 1}, kNone, GGML_TYPE_F32);
  const auto backend = std::move(CpuBackend::create(setup.model, 1, available_kernels().back()).value());
  KvCache kv = KvCache::create(setup.config, KvType::kF16, 64).value();
  const auto expect_error = [&](TokenId token, LayerSet layers, size_t states, const std::string& part) {
    const KvSequence sequence = kv.add_sequence();
    const Row row = {token, 0, -1, sequence};
    const std::vector<const float*> state(states, nullptr);
    const auto out =
        backend->run({.rows = {&row, 1}, .layers = layers, .adapter = setup.packed.get(), .state = state}, kv);
    ASSERT_FALSE(out.ok()) << part;
    EXPECT_NE(out.error().message.find(part), std::string::npos) << out.error().message;
    EXPECT_EQ(kv.used(), 0) << "nothing stays reserved";
  };
  expect_error(-1 - kMasks, {1, 1}, 0, "mask 3");
  expect_error(-1, {2, 0}, 0, "the adapter is for 1 + 1");
  expect_error(-1, {1, 1}, 2, "2 states");
}

}  // namespace
}  // namespace s3d
