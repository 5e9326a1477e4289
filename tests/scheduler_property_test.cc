// Whatever the scheduler does, every text is that of the request run alone and plainly, token by token: random arrivals
// and cancellations, memory for a few of them only, prefixes in common, drafts of all kinds, constraints, types of the
// KV cache, widths of passes. The same test must find schedulers that are a little wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "backend/adapter_test_maker.h"
#include "backend/forwarding_backend.h"
#include "backend/packed_adapter.h"
#include "base/index.h"
#include "decode/constraint.h"
#include "decode/drafters.h"
#include "decode/eagle_head.h"
#include "decode/medusa_heads.h"
#include "decode/planner.h"
#include "decode/scheduler.h"
#include "model/drafter_test_maker.h"
#include "test_engine.h"

namespace s3d {
namespace {

constexpr int kContext = 160;

// A little wrong, as a scheduler may be.
enum class Fault {
  kNone,
  kSwappedOutputs,  // two sequences get each other's first row of outputs
  kOneTokenTooFar,  // of what the prefix cache had, one token more than is equal was taken
  kLostPendingRow,  // the last row of a prompt's part was never written
  kLeakingDraft,    // a row sees its first draft's token in its own place
  kUnmaskedRow,     // the constraint looks at the wrong row: it lets pass what it allowed before
};

// A layer beside the model; counts its passes over rows of several sequences.
class CountedLayer : public ForwardingBackend {
 public:
  CountedLayer(std::unique_ptr<Backend> real, std::shared_ptr<int64_t> shared)
      : ForwardingBackend(*real), real_(std::move(real)), shared_(std::move(shared)) {}
  Result<PassOutput> run(const Block& block, KvCache& kv) override {
    const auto other = [&](const Row& row) { return row.seq != block.rows.front().seq; };
    *shared_ += std::any_of(block.rows.begin(), block.rows.end(), other) ? 1 : 0;
    return ForwardingBackend::run(block, kv);
  }

 private:
  std::unique_ptr<Backend> real_;
  std::shared_ptr<int64_t> shared_;
};

// Passes of a real backend, made wrong.
class WrongBackend : public ForwardingBackend {
 public:
  WrongBackend(Backend& real, Fault fault, int max_rows)
      : ForwardingBackend(real), fault_(fault), max_rows_(max_rows) {}

  Result<PassOutput> run(const Block& block, KvCache& kv) override {
    const bool of_drafter = block.adapter != nullptr || block.want.empty();
    if (of_drafter || fault_ == Fault::kNone) return ForwardingBackend::run(block, kv);
    std::vector<Row> rows(block.rows.begin(), block.rows.end());
    for (Row& row : rows) {
      // The first row after a hit: it stands further behind than any before it.
      int& last = last_position_.try_emplace(row.seq, -1).first->second;
      const bool hit = row.parent < 0 && row.position > last + 1;
      last = row.position == 0 ? 0 : std::max(last, row.position);
      if (fault_ == Fault::kOneTokenTooFar && hit) row.token = (row.token + 1) % config().vocab_size;
      if (fault_ == Fault::kLeakingDraft && row.parent >= 0 && block.want[usize(row.parent)] == Want::kLogits) {
        rows[usize(row.parent)].token = row.token;
      }
    }
    Block wrong = block;
    wrong.rows = rows;
    auto out = ForwardingBackend::run(wrong, kv);
    if (!out.ok()) return out;
    if (fault_ == Fault::kLostPendingRow && block.want.back() == Want::kNothing) lose_row(rows.back(), rows, kv);
    if (fault_ == Fault::kSwappedOutputs) return swapped(rows, block, *out);
    return out;
  }
  int max_rows() const override { return max_rows_; }
  Result<std::unique_ptr<Backend>> beside(std::shared_ptr<const Model> model, int max_rows) override {
    S3D_ASSIGN(std::unique_ptr<Backend> layer, ForwardingBackend::beside(std::move(model), max_rows));
    return std::unique_ptr<Backend>(std::make_unique<CountedLayer>(std::move(layer), shared_layers_));
  }
  int64_t shared_layer_passes() const { return *shared_layers_; }

 private:
  static void lose_row(const Row& row, const std::vector<Row>& rows, KvCache& kv) {
    const auto pending =
        std::count_if(rows.begin(), rows.end(), [&](const Row& other) { return other.seq == row.seq; });
    const int slot = kv.length(row.seq) + static_cast<int>(pending) - 1;
    std::byte* page = kv.page(row.seq, slot / KvLayout::kPageTokens);
    const KvLayout& layout = kv.layout();
    for (int layer = 0; layer < layout.n_layers; ++layer) {
      for (int head = 0; head < layout.n_kv_heads; ++head) {
        const KvLayout::Place place = layout.value(layer, head, slot % KvLayout::kPageTokens);
        for (int d = 0; d < layout.head_dim; ++d) page[place.numbers + usize(d) * place.step] = std::byte{0};
      }
    }
  }
  Result<PassOutput> swapped(const std::vector<Row>& rows, const Block& block, const PassOutput& out) {
    std::vector<size_t> first;  // rows of outputs that are the first of their sequence
    std::map<SeqId, bool> there;
    size_t wanted = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (block.want[i] == Want::kNothing) continue;
      if (!std::exchange(there[rows[i].seq], true)) first.push_back(wanted);
      ++wanted;
    }
    const size_t vocab = usize(config().vocab_size);
    logits_.assign(out.logits.begin(), out.logits.end());
    if (first.size() >= 2 && ++swaps_ % 7 == 0) {
      std::swap_ranges(logits_.begin() + static_cast<std::ptrdiff_t>(first[0] * vocab),
                       logits_.begin() + static_cast<std::ptrdiff_t>((first[0] + 1) * vocab),
                       logits_.begin() + static_cast<std::ptrdiff_t>(first[1] * vocab));
    }
    return PassOutput{.logits = logits_, .hidden = out.hidden, .tapped = out.tapped};
  }

  Fault fault_;
  int max_rows_;
  int swaps_ = 0;
  std::shared_ptr<int64_t> shared_layers_ = std::make_shared<int64_t>(0);  // its drafters may outlive it
  std::map<SeqId, int> last_position_;
  std::vector<float> logits_;
};

// Only tokens of one parity at each place, by turns of `period` tokens; after a token that is divisible by 16 the next
// two are forced.
class ParityConstraint : public Constraint {
 public:
  ParityConstraint(int vocab, size_t period, bool late) : vocab_(vocab), period_(period), late_(late) {}

  bool allowed(std::span<uint32_t> mask) override {
    std::fill(mask.begin(), mask.end(), 0U);
    for (TokenId token = 0; token < vocab_; ++token) {
      if (allows(token)) mask[usize(token) / 32] |= 1U << (usize(token) % 32);
    }
    return true;
  }
  bool push(TokenId token) override {
    if (!late_ && !allows(token)) return false;
    pushed_.push_back(token);
    return true;
  }
  void pop(int count) override { pushed_.resize(pushed_.size() - usize(count)); }
  void forced(int most, std::vector<TokenId>& tokens) override {
    tokens.clear();
    while (isize(tokens) < most && forced_token() >= 0) {
      tokens.push_back(forced_token());
      pushed_.push_back(tokens.back());
    }
    pop(isize(tokens));
  }

 private:
  TokenId forced_token() const {
    const size_t n = pushed_.size();
    if (n >= 1 && pushed_[n - 1] % 16 == 0) return 33;
    if (n >= 2 && pushed_[n - 2] % 16 == 0 && pushed_[n - 1] == 33) return 35;
    return -1;
  }
  bool allows(TokenId token) const {
    if (forced_token() >= 0) return token == forced_token();
    const size_t n = pushed_.size() - (late_ && !pushed_.empty() ? 1 : 0);
    return usize(token) % 2 == n / period_ % 2;
  }

  int vocab_;
  size_t period_;
  bool late_;  // the fault: the mask of the place before
  std::vector<TokenId> pushed_;
};

// What is asked, without what runs it.
struct Asked {
  std::vector<TokenId> prompt;
  SamplerOptions sampler;
  int max_tokens = 0;
  uint64_t stream = 0;
  int period = 0;   // of a constraint; 0: none
  int drafter = 0;  // see speculator()
  int arrives = 0;  // step
  int leaves = -1;  // step at which it is cancelled, or -1
  bool use_cache = true;
};

class SmallModel {
 public:
  SmallModel() : engine_(open_engine(std::string(S3D_SOURCE_DIR) + "/tests/data/models/llama-f32.gguf")) {
    alone_ = CpuBackend::create(engine_.model, /*threads=*/1, choose_kernels().value()).value();
    untrained_ = PackedAdapter::untrained(*engine_.model, {1, 1}, 3, 0).value();
    // Two plans and two vocabularies.
    const auto pack = [this](LayerSet plan, const adapter_test::Parts& parts) {
      ThreadPool pool(1);
      const Adapter adapter = adapter_test::AdapterMaker(config(), plan, /*seed=*/3).make(parts, GGML_TYPE_F16);
      return PackedAdapter::create(adapter, *engine_.model, &pool).value();
    };
    adapters_ = {pack({1, 1}, adapter_test::kAll), pack({1, 0}, {.state = false, .draft_vocab = false})};
    using namespace drafter_test;
    // An echo is sometimes right: these texts stammer.
    eagles_ = {open_eagle(as_file(eagle_image(config(), {.echo = true})), config(), kFingerprint).value(),
               open_eagle(as_file(eagle_image(config(), {.taps = {1, 2}})), config(), kFingerprint).value()};
    medusa_ = open_medusa(as_file(medusa_image(config(), {.rank = 32})), config(), kFingerprint).value();
  }
  const ModelConfig& config() const { return engine_.model->config; }
  Backend& backend(int threads) { return threads == 1 ? *alone_ : *engine_.backend; }
  const std::shared_ptr<const PackedAdapter>& untrained() const { return untrained_; }
  const std::shared_ptr<const PackedAdapter>& adapter(size_t i) const { return adapters_[i]; }
  const std::shared_ptr<const Model>& model() const { return engine_.model; }
  const EagleFile& eagle(size_t i) const { return eagles_[i]; }  // the second one with taps
  const MedusaFile& medusa() const { return medusa_; }

 private:
  TestEngine engine_;                  // on two threads
  std::unique_ptr<CpuBackend> alone_;  // on one
  std::shared_ptr<const PackedAdapter> untrained_;
  std::array<std::shared_ptr<const PackedAdapter>, 2> adapters_;
  std::array<EagleFile, 2> eagles_;
  MedusaFile medusa_;
};

// Of drafts that pay now and then.
std::shared_ptr<Experience> experience_of(size_t passes) {
  auto experience = std::make_shared<Experience>();
  experience->pass.resize(passes);
  for (PassExperience& pass : experience->pass) pass.costs.seconds.fill(1e-4);
  return experience;
}

class World {
 public:
  World(SmallModel& model, KvType type, unsigned seed) : model_(model), type_(type), random_(seed) {}

  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  // Requests whose prompts are cut from a few texts that repeat themselves, so that prefixes are common and copying
  // pays.
  std::vector<Asked> make_requests(int n) {
    std::array<std::vector<TokenId>, 3> texts;
    for (std::vector<TokenId>& text : texts) {
      std::vector<TokenId> period(usize(5 + below(9)));
      for (TokenId& token : period) token = below(model_.config().vocab_size);
      for (int i = 0; i < 100; ++i) text.push_back(period[usize(i) % period.size()]);
    }
    std::vector<Asked> all;
    for (int i = 0; i < n; ++i) {
      Asked asked;
      const std::vector<TokenId>& text = texts[usize(below(3))];
      asked.prompt.assign(text.begin(), text.begin() + 1 + below(100));
      for (int extra = below(4); extra > 0; --extra) asked.prompt.push_back(below(model_.config().vocab_size));
      if (below(2) == 0) asked.sampler = {.temperature = 0.7F, .top_k = 8, .seed = 3};
      asked.max_tokens = below(8) == 0 ? 1 : 1 + below(40);
      asked.stream = static_cast<uint64_t>(i);
      asked.period = below(4) == 0 ? 1 + below(3) : 0;
      asked.drafter = below(kSpeculators);
      asked.arrives = below(60);
      asked.leaves = below(6) == 0 ? asked.arrives + below(30) : -1;
      asked.use_cache = below(5) != 0;
      all.push_back(std::move(asked));
    }
    return all;
  }

  Request request(const Asked& asked, bool late_mask) const {
    Request request = {.prompt = asked.prompt};
    request.options.sampler = asked.sampler;
    request.options.max_tokens = asked.max_tokens;
    request.options.context = kContext;
    request.options.stream = asked.stream;
    if (asked.period > 0) {
      request.options.constraint =
          std::make_shared<ParityConstraint>(model_.config().vocab_size, usize(asked.period), late_mask);
    }
    request.use_cache = asked.use_cache;
    return request;
  }

  // As many sequences as wish share a head; its cache is as large as the target's.
  std::shared_ptr<EagleHead> eagle_head(Backend& backend, const KvCache& kv, size_t which = 0) {
    std::shared_ptr<EagleHead>& head = eagles_[which];
    if (head == nullptr) {
      ThreadPool pool(1);
      head = EagleHead::create(model_.eagle(which), model_.model(), backend, kv, pool).value();
    }
    return head;
  }

  // The truth: alone, plainly, prompt and all in one pass.
  std::vector<TokenId> alone(const Asked& asked) const {
    KvCache kv = KvCache::create(model_.config(), type_, 2 * kContext).value();
    const KvSequence seq = kv.add_sequence();
    const Request plain = request(asked, false);
    return generate(model_.backend(1), kv, seq, asked.prompt, plain.options).value().tokens;
  }

  std::shared_ptr<Speculator> speculator(int which, Backend& backend, KvCache& kv,
                                         const std::shared_ptr<Experience>& experience) {
    switch (which) {
      case 1:
        return make_fixed_speculator(make_suffix_drafter(), 5);
      case 2:
        return make_fixed_speculator(make_s3d_drafter(backend, kv, model_.untrained()), 6, /*width=*/2);
      case 3:
        return make_fixed_speculator(make_layer_skip_drafter(backend, kv, {1, 1}, 3), 3);
      case 4:
      case 5: {
        std::vector<std::unique_ptr<Drafter>> free;
        free.push_back(make_suffix_drafter());
        return std::make_shared<Planner>(std::move(free), make_s3d_drafter(backend, kv, model_.untrained()), experience,
                                         which - 3);
      }
      case 6:
        return make_fixed_speculator(make_eagle_drafter(eagle_head(backend, kv)), 5);
      case 7:
        return make_fixed_speculator(make_eagle_drafter(eagle_head(backend, kv)), 7, /*width=*/3);
      case 8:
        return make_fixed_speculator(medusa(backend), 6, /*width=*/3);
      case 9:
      case 10:
        return make_fixed_speculator(make_s3d_drafter(backend, kv, model_.adapter(usize(which - 9))), 4,
                                     /*width=*/which - 8);
      case 11: {  // all of them
        std::vector<std::unique_ptr<Drafter>> free, passes;
        free.push_back(make_suffix_drafter());
        for (const size_t i : {0U, 1U}) passes.push_back(make_s3d_drafter(backend, kv, model_.adapter(i)));
        for (const size_t i : {0U, 1U}) passes.push_back(make_eagle_drafter(eagle_head(backend, kv, i)));
        passes.push_back(medusa(backend));
        return std::make_shared<Planner>(std::move(free), std::move(passes), of_all_, /*width=*/2);
      }
      default:
        return nullptr;
    }
  }

 private:
  static constexpr int kSpeculators = 12;

  std::unique_ptr<Drafter> medusa(Backend& backend) {
    ThreadPool pool(1);
    return make_medusa_drafter(MedusaHeads::create(model_.medusa(), model_.model(), backend, pool).value());
  }

  SmallModel& model_;
  std::shared_ptr<Experience> of_all_ = experience_of(5);
  std::array<std::shared_ptr<EagleHead>, 2> eagles_;
  KvType type_;
  std::mt19937 random_;
};

struct Seen {
  int wrong = 0;
  std::string first_wrong;
  int64_t preemptions = 0, hits = 0, accepted = 0, shared = 0;
};

SmallModel& model() {
  static SmallModel* const kModel = new SmallModel;  // for all tests of the program
  return *kModel;
}

// All requests of one seed, on one scheduler.
Seen try_seed(unsigned seed, KvType type, Fault fault) {
  World world(model(), type, seed);
  const std::vector<Asked> all = world.make_requests(14);
  constexpr std::array kPools = {192, 256, 448, 2048};
  constexpr std::array kRows = {7, 20, 64};
  constexpr std::array kCachePages = {0, 3, 100};
  const int pool = kPools[usize(world.below(4))], rows = kRows[usize(world.below(3))];
  KvCache kv = KvCache::create(model().config(), type, pool).value();
  WrongBackend backend(model().backend(seed % 8 == 0 ? 2 : 1), fault, rows);
  // Costs by which drafts pay now and then.
  const auto costs =
      std::make_shared<PassCosts>(PassCosts::through(std::array<PassCosts::Point, 2>{{{1, 1e-3}, {11, 2e-3}}}));
  const std::shared_ptr<Experience> experience = experience_of(1);
  Scheduler scheduler(backend, kv,
                      {.max_running = 1 + world.below(8),
                       .step_seconds = world.below(2) == 0 ? 0 : 4e-3,
                       .cache_bytes = usize(kCachePages[usize(world.below(3))]) * 64 * kv.bytes_per_token(),
                       .costs = costs});
  Seen seen;
  std::vector<Ticket> tickets(all.size());
  std::vector<bool> done(all.size());
  const auto check = [&](size_t i, const Result<Generation>& result) {
    done[i] = true;
    std::string problem;
    if (!result.ok()) {
      problem = result.error().message;
    } else {
      seen.accepted += result->spec.num_accepted_tokens;
      std::vector<TokenId> right = world.alone(all[i]);
      const bool cancelled = result->reason == FinishReason::kCancelled;
      if (cancelled && all[i].leaves < 0) problem = "cancelled by nobody";
      if (cancelled) right.resize(std::min(right.size(), result->tokens.size()));
      if (result->tokens != right) problem = "another text";
    }
    if (problem.empty()) return;
    ++seen.wrong;
    if (seen.first_wrong.empty()) seen.first_wrong = "request " + std::to_string(i) + ": " + problem;
  };
  for (int step = 0; step < 4000; ++step) {
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].arrives == step) {
        Request request = world.request(all[i], fault == Fault::kUnmaskedRow);
        request.speculator = world.speculator(all[i].drafter, backend, kv, experience);
        tickets[i] = scheduler.submit(std::move(request), [&check, i](const auto& result) { check(i, result); });
      }
      if (all[i].leaves == step) scheduler.cancel(tickets[i]);
    }
    if (step > 100 && scheduler.idle()) break;
    EXPECT_TRUE(scheduler.step().ok());
  }
  EXPECT_TRUE(scheduler.idle()) << "it never ended";
  EXPECT_EQ(std::count(done.begin(), done.end(), true), isize(all)) << "somebody got no answer";
  EXPECT_LE(scheduler.stats().kv_used, scheduler.stats().kv_capacity);
  if (scheduler.stats().cached_tokens == 0) {
    EXPECT_EQ(kv.used(), 0) << "pages were lost";
  }
  seen.preemptions = scheduler.stats().preemptions;
  seen.hits = scheduler.stats().cached_prompt_tokens;
  seen.shared = backend.shared_layer_passes();
  return seen;
}

// Of the test below; fewer under sanitizers, which take their time ($S3D_SEEDS).
unsigned seeds() {
  const char* value = std::getenv("S3D_SEEDS");
  return value == nullptr ? 48 : static_cast<unsigned>(std::stoul(value));
}

class EveryText : public testing::TestWithParam<KvType> {};

TEST_P(EveryText, IsThatOfTheRequestRunAlone) {
  int64_t preemptions = 0, hits = 0, accepted = 0, shared = 0;
  for (unsigned seed = 0; seed < seeds(); ++seed) {
    const Seen seen = try_seed(seed, GetParam(), Fault::kNone);
    EXPECT_EQ(seen.wrong, 0) << "seed " << seed << ", " << seen.first_wrong;
    preemptions += seen.preemptions;
    hits += seen.hits;
    accepted += seen.accepted;
    shared += seen.shared;
  }
  if (seeds() < 48) return;
  EXPECT_GT(preemptions, 10) << "memory was never short: nothing was tested";
  EXPECT_GT(hits, 1000);
  EXPECT_GT(accepted, 500);
  EXPECT_GT(shared, 50) << "passes of eagle's layer";
}

INSTANTIATE_TEST_SUITE_P(KvTypes, EveryText, testing::Values(KvType::kF16, KvType::kQ8_0),
                         [](const auto& info) { return std::string(kv_type_name(info.param)); });

TEST(WrongSchedulers, AreFound) {
  for (const Fault fault : {Fault::kSwappedOutputs, Fault::kOneTokenTooFar, Fault::kLostPendingRow,
                            Fault::kLeakingDraft, Fault::kUnmaskedRow}) {
    int wrong = 0;
    for (unsigned seed = 0; seed < 40 && wrong == 0; ++seed) wrong += try_seed(seed, KvType::kF16, fault).wrong;
    EXPECT_GT(wrong, 0) << static_cast<int>(fault);
  }
}

}  // namespace
}  // namespace s3d
