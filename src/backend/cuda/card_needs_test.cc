// What is planned for a card is what is taken there, to the byte, whatever is run; and each card has its part alone.
#include "backend/cuda/card_needs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/test_both.h"
#include "backend/split_backend.h"

namespace s3d::cuda {
namespace {

using adapter_test::AdapterMaker;
using adapter_test::Drafted;
using adapter_test::Floats;
using adapter_test::kMasks;
using adapter_test::some_tokens;
using adapter_test::Tokens;
using cuda_test::Both;

constexpr PassLimits kLimits = {.rows = 12, .wanted = 12, .sequences = 2, .context = 80, .taps = 2};

// A model on emulated cards that share its layers, beside the CPU backend with all of them.
class Cards {
 public:
  // `ends`: of the cards' layers.
  Cards(const std::shared_ptr<const Model>& model, KvType type, const std::vector<int>& ends) : model_(model) {
    std::vector<SplitBackend::Part> parts;
    for (const int end : ends) {
      const LayerRange range = {ranges_.empty() ? 0 : ranges_.back().end, end};
      ranges_.push_back(range);
      devices_.push_back(make_emulated_device());
      auto backend = CudaBackend::create(model, devices_.back(), nullptr, kLimits.rows, range).value();
      EXPECT_TRUE(backend->reserve(kLimits).ok());
      parts.push_back({std::move(backend), end - range.first});
    }
    both_ = std::make_unique<Both>(model, type, SplitBackend::create(model, std::move(parts)).value());
    use_ = {.kv_type = type, .positions = Both::kPositions, .limits = kLimits};
  }

  Both& both() { return *both_; }
  CardNeeds needs(size_t card, std::span<const Adapter> adapters = {}) const {
    PlannedUse use = use_;
    use.adapters = adapters;
    return needs_of(*model_, use, ranges_[card], *devices_[card]);
  }
  void expect_taken(std::span<const Adapter> adapters, const std::string& what) const {
    for (size_t card = 0; card < devices_.size(); ++card) {
      const size_t taken = kEmulatedBytes - devices_[card]->free_bytes();
      EXPECT_EQ(needs(card, adapters).all(), taken) << what << ", card " << card;
    }
  }

  // The largest prompt, at the end of the context, with everything that can be asked of it; then a path that is kept.
  void run_full(SeqId seq) {
    Both& b = both();
    const int vocab = model_->config.vocab_size, layers = model_->config.n_layers, n = kLimits.rows;
    const std::vector<Row> rows = b.chain(seq, some_tokens(n, vocab, 3));
    const std::vector<Want> want(rows.size(), Want::kLogits);
    const std::vector<int> taps = {1, layers};
    std::vector<int> tapped(rows.size());
    for (int i = 0; i < n; ++i) tapped[usize(i)] = i;
    b.expect_same(
        {.rows = rows, .layers = b.all_layers(), .want = want, .want_hidden = true, .taps = taps, .tapped = tapped},
        "a full pass");
    Choices choices;
    EXPECT_TRUE(b.cuda().backend().choose({.rows = n}, {.best = ChoiceAsk::kMost, .sums = true}, choices).ok());
    b.expect_same(branches(seq), "a tree");
    b.commit_path(seq, std::vector<int>{0, 2, 4});
  }

  // Row i + 1 of a sequence's end and, beside it, another one.
  std::vector<Row> branches(SeqId seq) {
    const int at = both().cpu().kv().length(seq);
    return {{3, at, -1, seq}, {4, at + 1, 0, seq}, {5, at + 1, 0, seq}, {6, at + 2, 2, seq}, {7, at + 2, 2, seq}};
  }

 private:
  std::shared_ptr<const Model> model_;
  std::vector<std::shared_ptr<Device>> devices_;
  std::vector<LayerRange> ranges_;
  std::unique_ptr<Both> both_;
  PlannedUse use_;
};

// A sequence that has so many positions left until the context is full.
SeqId almost_full(Cards& cards, int vocab) {
  const SeqId seq = cards.both().add_sequence();
  cards.both().feed(seq, some_tokens(kLimits.context - kLimits.rows - 5, vocab, 1), {usize(kLimits.rows)});
  return seq;
}

TEST(CardNeeds, AreWhatIsTaken) {
  const struct {
    const char* model;
    KvType type;
  } cases[] = {{"llama-q4_k", KvType::kF16},   {"llama-q8_0", KvType::kQ8_0}, {"qwen2-f32", KvType::kF32},
               {"gemma3-f32", KvType::kF16},   {"phi3-f32", KvType::kF16},    {"olmo2-f32", KvType::kF16},
               {"mistral3-f32", KvType::kF16}, {"qwen3-f32", KvType::kF16},   {"granite-f32", KvType::kF16}};
  for (const auto& [name, type] : cases) {
    const auto model = cuda_test::load(name, 512);
    const int n = model->config.n_layers;
    for (const std::vector<int>& ends : {std::vector<int>{n}, {1, n}, {n, n}}) {
      Cards(model, type, ends).expect_taken({}, std::string(name) + ", nothing was run");
    }
  }
  const auto model = cuda_test::load("llama-q8_0", 512);
  Cards cards(model, KvType::kF16, {1, model->config.n_layers});
  cards.run_full(almost_full(cards, model->config.vocab_size));
  cards.expect_taken({}, "the largest passes");
}

// A draft pass of as many rows as there may be, and choices of its tokens.
void run_draft(Cards& cards, SeqId seq, const Drafted& drafted) {
  Both& both = cards.both();
  Tokens tokens = some_tokens(kLimits.rows - kMasks, drafted.config.vocab_size, 5);
  for (int mask = 0; mask < kMasks; ++mask) tokens.push_back(-1 - mask);
  const std::vector<Row> rows = both.chain(seq, tokens);
  const std::vector<Want> want(rows.size(), Want::kLogits);
  Floats state(usize(drafted.config.d_model));
  for (size_t i = 0; i < state.size(); ++i) state[i] = std::sin(static_cast<float>(i));
  const std::vector<const float*> states(rows.size(), state.data());
  const Block block = {.rows = rows,
                       .layers = drafted.plan,
                       .adapter = drafted.packed.get(),
                       .state = states,
                       .kv = KvUse::kScratch,
                       .want = want,
                       .want_hidden = true};
  both.expect_same(block, "a draft pass");
  Choices choices;
  Backend& cuda = both.cuda().backend();
  const ChoiceAsk all = {.best = ChoiceAsk::kMost, .sums = true};
  EXPECT_TRUE(cuda.choose_draft(*drafted.packed, {.rows = kLimits.rows}, 3, all, choices).ok());
  const Tokens previous(kMaxRoundRows, 9);
  Floats logits(previous.size() * drafted.packed->draft_size());
  cuda.add_markov(*drafted.packed, previous, logits, {});
}

TEST(CardNeeds, WithAdaptersToo) {
  const Drafted drafted("llama-q8_0", {1, 1}, {}, GGML_TYPE_F16);
  const int n = drafted.config.n_layers;
  const Adapter fused = AdapterMaker(drafted.config, LayerSet::all(n), 2)
                            .make({.state = false, .bridge = false, .fused = true}, GGML_TYPE_Q8_0);
  ThreadPool pool(1);
  const auto riders = PackedAdapter::create(fused, *drafted.model, &pool).value();
  const std::vector<Adapter> adapters = {drafted.adapter, fused};
  for (const std::vector<int>& ends : {std::vector<int>{n}, {1, n}, {n, n}}) {
    Cards cards(drafted.model, KvType::kF16, ends);
    const SeqId seq = almost_full(cards, drafted.config.vocab_size);
    run_draft(cards, seq, drafted);
    std::vector<Row> rows = cards.branches(seq);
    const int at = rows[0].position;
    rows.insert(rows.end(), {{-1, at + 3, 4, seq}, {-2, at + 4, 5, seq}});
    const std::vector<Want> want(rows.size(), Want::kLogits);
    cards.both().expect_same(
        {.rows = rows, .layers = cards.both().all_layers(), .riders = riders.get(), .want = want, .want_hidden = true},
        "riders");
    cards.both().commit(seq, 0);
    cards.run_full(seq);
    cards.expect_taken(adapters, std::to_string(ends.front()) + " layers on the first card");
  }
}

// The parts that cards have of an adapter are the whole one, and none is there twice.
TEST(CardNeeds, EachCardHasItsPartOfAnAdapter) {
  const Drafted drafted("gemma3-f32", {1, 3}, {}, GGML_TYPE_F16);
  const int n = drafted.config.n_layers;
  const auto device = make_emulated_device();
  const auto bytes = [&](LayerRange range) {
    const PlannedUse use = {.positions = 64, .limits = kLimits, .adapters = {&drafted.adapter, 1}};
    return needs_of(*drafted.model, use, range, *device).adapters;
  };
  const size_t whole = bytes({0, n});
  EXPECT_GT(whole, 0U);
  for (int first = 1; first < n; ++first) {
    EXPECT_EQ(bytes({0, first}) + bytes({first, n}), whole) << first;
    for (int second = first; second < n; ++second) {
      EXPECT_EQ(bytes({0, first}) + bytes({first, second}) + bytes({second, n}), whole) << first << ' ' << second;
    }
  }
  EXPECT_EQ(bytes({1, n - 3}), 0U) << "layers that no draft pass runs";
  EXPECT_GT(bytes({n - 3, n - 2}), bytes({n - 2, n - 1})) << "the bridge is before the first of the last layers";
  EXPECT_GT(bytes({0, 0}), 0U) << "the state is added where the input is made";
  EXPECT_GT(bytes({n, n}), 0U) << "the Markov head stands with the LM head";
}

}  // namespace
}  // namespace s3d::cuda
