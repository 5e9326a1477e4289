// Fused drafts on tiny models with adapters of random numbers: what is drafted, and that it changes no token.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/adapter_test_maker.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/forwarding_backend.h"
#include "backend/packed_adapter.h"
#include "backend/reference/reference_backend.h"
#include "base/index.h"
#include "decode/drafters.h"
#include "decode/generate.h"
#include "decode/planner.h"

namespace s3d {
namespace {

using adapter_test::Drafted;
using adapter_test::Floats;
using adapter_test::kMasks;
using adapter_test::Parts;
using adapter_test::some_tokens;
using adapter_test::Tokens;

Drafted fused(const std::string& name, bool draft_vocab) {
  const ModelConfig config = read_model_config(*adapter_test::open_base(name)).value();
  return {name,
          LayerSet::all(config.n_layers),
          {.state = false, .first_row = false, .bridge = false, .draft_vocab = draft_vocab, .fused = true},
          GGML_TYPE_Q8_0};
}

std::unique_ptr<Backend> cpu(const Drafted& setup) {
  return std::move(CpuBackend::create(setup.model, 1, available_kernels().back()).value());
}

// The most likely token of a mask's logits when `previous` stands before it, by docs/adapter.md.
TokenId guess(const Drafted& setup, Backend& backend, std::span<const float> logits, TokenId previous) {
  Floats scored;
  for (size_t i = 0; i < setup.packed->draft_size(); ++i) scored.push_back(logits[usize(setup.packed->draft_token(i))]);
  backend.add_markov(*setup.packed, {&previous, 1}, scored, {});
  return setup.packed->draft_token(usize(std::max_element(scored.begin(), scored.end()) - scored.begin()));
}

TEST(FusedDrafter, DraftsWhatTheMasksGuess) {
  for (const bool draft_vocab : {false, true}) {
    const Drafted setup = fused("llama-f32", draft_vocab);
    const auto backend = cpu(setup);
    const auto drafter = make_fused_drafter(*backend, setup.packed);
    EXPECT_EQ(drafter->max_depth(), kMasks);
    EXPECT_EQ(drafter->riders(), setup.packed.get());
    const auto vocab = usize(setup.config.vocab_size);
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    Floats logits(2 * vocab);
    for (float& value : logits) value = normal(random);
    const Tokens tokens = {4, 9};
    const DraftInput input = {.seq = 0, .tokens = tokens, .state = {}};
    DraftTree tree;
    ASSERT_TRUE(drafter->draft(input, {.nodes = 8, .depth = 8}, tree).ok());
    EXPECT_TRUE(tree.empty()) << "nothing rode yet";
    drafter->observe_riders({.logits = logits, .hidden = {}});
    ASSERT_TRUE(drafter->draft(input, {.nodes = 8, .depth = 8}, tree).ok());
    ASSERT_EQ(tree.size(), 2U) << "two masks rode";
    const TokenId first = guess(setup, *backend, std::span(logits).first(vocab), 9);
    EXPECT_EQ(tree[0].token, first) << "the last token is 9";
    EXPECT_EQ(tree[1].token, guess(setup, *backend, std::span(logits).subspan(vocab), first));
    EXPECT_EQ(tree[1].parent, 0);
    drafter->observe_riders({});
    ASSERT_TRUE(drafter->draft(input, {.nodes = 8, .depth = 8}, tree).ok());
    EXPECT_TRUE(tree.empty()) << "nothing rode in the round before";
  }
}

// Counts the riders of all passes, and the passes with any.
class CountingBackend : public ForwardingBackend {
 public:
  explicit CountingBackend(std::unique_ptr<Backend> real) : ForwardingBackend(*real), real_(std::move(real)) {}
  Result<PassOutput> run(const Block& block, KvCache& kv) override {
    const auto masks =
        std::count_if(block.rows.begin(), block.rows.end(), [](const Row& row) { return row.token < 0; });
    riders += masks;
    with_riders += masks > 0 ? 1 : 0;
    return ForwardingBackend::run(block, kv);
  }

  int64_t riders = 0, with_riders = 0;

 private:
  std::unique_ptr<Backend> real_;
};

std::unique_ptr<Speculator> planned(Backend& backend, const Drafted& setup, bool with_text) {
  std::vector<std::unique_ptr<Drafter>> free;
  if (with_text) free.push_back(make_suffix_drafter());
  free.push_back(make_fused_drafter(backend, setup.packed));
  return std::make_unique<Planner>(std::move(free), nullptr, std::make_shared<Experience>());
}

// Three answers at once; `rows` drafted tokens a round, 0: the planner chooses, -1: with a text drafter beside it.
std::vector<Tokens> answers(const Drafted& setup, CountingBackend& backend, int rows, const SamplerOptions& sampler,
                            bool drafts) {
  KvCache kv = KvCache::create(setup.config, KvType::kF16, 2048).value();
  std::vector<std::unique_ptr<Speculator>> speculators;
  std::vector<BatchItem> items;
  std::vector<KvSequence> sequences;
  for (unsigned i = 0; i < 3; ++i) {
    if (drafts) {
      speculators.push_back(rows > 0 ? make_fixed_speculator(make_fused_drafter(backend, setup.packed), rows, 2)
                                     : planned(backend, setup, rows < 0));
    }
    items.push_back({.seq = kv.add_sequence(),
                     .prompt = some_tokens(5 + static_cast<int>(i), setup.config.vocab_size, i),
                     .options = {.sampler = sampler,
                                 .max_tokens = 40,
                                 .stream = i,
                                 .speculator = drafts ? speculators.back().get() : nullptr}});
  }
  // Rows that cost nearly nothing at first: the planner lets masks ride until it has seen enough of them.
  constexpr std::array points = {PassCosts::Point{1, 1.0}, PassCosts::Point{32, 1.01}};
  const auto costs = std::make_shared<PassCosts>(PassCosts::through(points));
  std::vector<Tokens> out;
  for (auto& result : generate_batch(backend, kv, items, costs)) {
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
    if (result.ok()) out.push_back(result->tokens);
  }
  return out;
}

TEST(FusedDrafter, ChangesNoToken) {
  for (const char* name : {"llama-q4_k", "gemma3-f32"}) {
    const Drafted setup = fused(name, true);
    for (const SamplerOptions& sampler : {SamplerOptions{}, SamplerOptions{.temperature = 1.5F, .seed = 3}}) {
      CountingBackend plain(cpu(setup));
      const std::vector<Tokens> expected = answers(setup, plain, 0, sampler, /*drafts=*/false);
      EXPECT_EQ(plain.riders, 0);
      for (const int rows : {-1, 0, 1, 2, 3, 7}) {
        CountingBackend backend(cpu(setup));
        EXPECT_EQ(answers(setup, backend, rows, sampler, /*drafts=*/true), expected) << name << ", " << rows;
        EXPECT_GT(backend.with_riders, 0);
      }
    }
  }
}

TEST(FusedDrafter, TheReferenceAgrees) {
  const Drafted setup = fused("qwen2-f32", false);
  CountingBackend reference(std::move(ReferenceBackend::create(setup.file, setup.config, 1).value()));
  const std::vector<Tokens> expected = answers(setup, reference, 0, {}, /*drafts=*/false);
  EXPECT_EQ(answers(setup, reference, 2, {}, /*drafts=*/true), expected);
  EXPECT_GT(reference.riders, 0);
}

}  // namespace
}  // namespace s3d
