// Riders: masks in a full pass. They must not change a bit of any other row, and are themselves the rows of a draft
// pass over all layers.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

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
using adapter_test::kMasks;
using adapter_test::Parts;
using adapter_test::some_tokens;
using adapter_test::Tokens;

constexpr Parts kFused = {.state = false, .first_row = false, .bridge = false, .draft_vocab = false, .fused = true};

Drafted fused(const std::string& name, ggml_type type = GGML_TYPE_Q8_0) {
  const ModelConfig config = read_model_config(*adapter_test::open_base(name)).value();
  return {name, LayerSet::all(config.n_layers), kFused, type};
}

// Results of the rows of one pass.
struct Rows {
  size_t vocab, d;
  Floats logits, hidden;

  Floats logits_of(size_t row) const { return part(logits, row, vocab); }
  Floats hidden_of(size_t row) const { return part(hidden, row, d); }

 private:
  static Floats part(const Floats& all, size_t row, size_t width) {
    const auto at = all.begin() + static_cast<std::ptrdiff_t>(row * width);
    return {at, at + static_cast<std::ptrdiff_t>(width)};
  }
};

bool same(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class Runner {
 public:
  Runner(const Drafted& setup, std::unique_ptr<Backend> backend, KvType type = KvType::kF32)
      : setup_(setup), backend_(std::move(backend)), kv_(KvCache::create(setup.config, type, 2048).value()) {}

  SeqId add(const Tokens& tokens) {
    const SeqId seq = sequences_.emplace_back(kv_.add_sequence());
    std::vector<Row> rows;
    append_chain(rows, tokens);
    for (Row& row : rows) row.seq = seq;
    if (!rows.empty()) {
      EXPECT_TRUE(backend_->run({.rows = rows, .layers = all()}, kv_).ok());
      kv_.commit(seq, isize(rows));
    }
    return seq;
  }

  Rows run(const std::vector<Row>& rows, const PackedAdapter* riders, KvUse use = KvUse::kScratch) {
    return pass({.rows = rows, .layers = all(), .riders = riders, .kv = use});
  }

  // Masks alone behind the committed context, as a draft pass of `adapter`, which is not a fused one.
  Rows draft(SeqId seq, int n, const PackedAdapter& adapter) {
    std::vector<Row> rows;
    for (int j = 0; j < n; ++j) rows.push_back({-1 - j, kv_.length(seq) + j, j - 1, seq});
    return pass({.rows = rows, .layers = adapter.config().layers, .adapter = &adapter, .kv = KvUse::kScratch});
  }

  KvCache& kv() { return kv_; }
  LayerSet all() const { return LayerSet::all(setup_.config.n_layers); }

 private:
  Rows pass(Block block) {
    const std::vector<Want> want(block.rows.size(), Want::kLogits);
    block.want = want;
    block.want_hidden = true;
    const auto out = backend_->run(block, kv_);
    EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message);
    if (!out.ok()) return {};
    return {usize(setup_.config.vocab_size),
            usize(setup_.config.d_model),
            {out->logits.begin(), out->logits.end()},
            {out->hidden.begin(), out->hidden.end()}};
  }

  const Drafted& setup_;
  std::unique_ptr<Backend> backend_;
  KvCache kv_;
  std::vector<KvSequence> sequences_;
};

// Rows of sequences that have `lengths` committed tokens: chains, or trees with two children a row.
std::vector<Row> plain_rows(const std::vector<std::pair<SeqId, int>>& sequences, int n, bool tree, int vocab) {
  std::vector<Row> rows;
  const Tokens tokens = some_tokens(n * isize(sequences), vocab, 5);
  for (const auto& [seq, length] : sequences) {
    const int first = isize(rows);
    for (int i = 0; i < n; ++i) {
      const int parent = i == 0 ? -1 : first + (tree ? (i - 1) / 2 : i - 1);
      const int position = parent < 0 ? length : rows[usize(parent)].position + 1;
      rows.push_back({tokens[rows.size()], position, parent, seq});
    }
  }
  return rows;
}

struct Mixed {
  std::vector<Row> rows;
  std::vector<size_t> plain;                // [plain rows] index in `rows`
  std::vector<std::vector<size_t>> riders;  // [plain rows] indices of the masks behind each, in order
};

// `masks` masks behind every row, right behind it or at the block's end.
Mixed with_riders(const std::vector<Row>& plain, int masks, bool at_end) {
  Mixed mixed;
  mixed.riders.resize(plain.size());
  const auto add_masks = [&](size_t i) {
    int parent = static_cast<int>(mixed.plain[i]);
    for (int j = 0; j < masks; ++j) {
      const Row behind = mixed.rows[usize(parent)];
      parent = isize(mixed.rows);
      mixed.riders[i].push_back(mixed.rows.size());
      mixed.rows.push_back(
          {-1 - j, behind.position + 1, j == 0 ? static_cast<int>(mixed.plain[i]) : parent - 1, behind.seq});
    }
  };
  for (size_t i = 0; i < plain.size(); ++i) {
    Row row = plain[i];
    if (row.parent >= 0) row.parent = static_cast<int>(mixed.plain[usize(row.parent)]);
    mixed.plain.push_back(mixed.rows.size());
    mixed.rows.push_back(row);
    if (!at_end) add_masks(i);
  }
  for (size_t i = 0; at_end && i < plain.size(); ++i) add_masks(i);
  return mixed;
}

using Make = std::function<std::unique_ptr<Backend>(const Drafted&)>;
struct Kind {
  std::string name;
  Make make;
};

// Every instruction set with one thread and with three, and the reference.
std::vector<Kind> kinds() {
  std::vector<Kind> out;
  for (const Kernels* kernels : available_kernels()) {
    for (const int threads : {1, 3}) {
      out.push_back({std::string(kernels->name) + std::to_string(threads), [=](const Drafted& setup) {
                       return std::unique_ptr<Backend>(
                           std::move(CpuBackend::create(setup.model, threads, kernels, 256).value()));
                     }});
    }
  }
  out.push_back({"reference", [](const Drafted& setup) {
                   return std::unique_ptr<Backend>(
                       std::move(ReferenceBackend::create(setup.file, setup.config, 2).value()));
                 }});
  return out;
}

void expect_plain_rows_unchanged(const Drafted& setup, const Kind& kind, int n, bool tree, bool at_end) {
  Runner runner(setup, kind.make(setup), KvType::kF16);
  const std::vector<std::pair<SeqId, int>> sequences = {{runner.add(some_tokens(20, 50, 1)), 20},
                                                        {runner.add(some_tokens(67, 50, 2)), 67}};
  const std::vector<Row> plain = plain_rows(sequences, n, tree, setup.config.vocab_size);
  const Rows alone = runner.run(plain, nullptr);
  const Mixed mixed = with_riders(plain, 2, at_end);
  const Rows together = runner.run(mixed.rows, setup.packed.get());
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_TRUE(same(together.logits_of(mixed.plain[i]), alone.logits_of(i)) &&
                same(together.hidden_of(mixed.plain[i]), alone.hidden_of(i)))
        << kind.name << ", row " << i << " of " << n << (tree ? " in a tree" : " in a chain");
  }
}

TEST(Riders, DoNotChangeABitOfOtherRows) {
  for (const char* name : {"llama-q4_k", "qwen2-f32"}) {
    const Drafted setup = fused(name);
    for (const Kind& kind : kinds()) {
      const bool slow = kind.name == "reference";
      for (int n = 1; n <= 16; n += slow ? 5 : 1) {
        expect_plain_rows_unchanged(setup, kind, n, /*tree=*/n % 2 == 0, /*at_end=*/n % 3 == 0);
      }
    }
  }
  const Drafted windows = fused("gemma3-f32", GGML_TYPE_F16);
  for (const Kind& kind : kinds()) expect_plain_rows_unchanged(windows, kind, 5, /*tree=*/true, /*at_end=*/false);
}

// A rider behind a row is a mask of a draft pass over all layers behind the context that ends with that row.
TEST(Riders, AreRowsOfADraftPassOverAllLayers) {
  for (const char* name : {"llama-q4_k", "qwen2-f32", "gemma3-f32"}) {
    const Drafted setup = fused(name);
    Parts parts = kFused;
    parts.fused = false;
    const Drafted apart(name, setup.plan, parts, GGML_TYPE_Q8_0);
    for (const Kind& kind : kinds()) {
      Runner runner(setup, kind.make(setup)), other(apart, kind.make(apart));
      const Tokens context = some_tokens(20, 50, 1);
      const std::vector<Row> plain = plain_rows({{runner.add(context), 20}}, 5, /*tree=*/true, setup.config.vocab_size);
      const Mixed mixed = with_riders(plain, kMasks, /*at_end=*/true);
      const Rows riding = runner.run(mixed.rows, setup.packed.get());
      for (size_t i = 0; i < plain.size(); ++i) {
        Tokens path;
        for (int row = static_cast<int>(i); row >= 0; row = plain[usize(row)].parent) {
          path.insert(path.begin(), plain[usize(row)].token);
        }
        path.insert(path.begin(), context.begin(), context.end());
        const Rows drafted = other.draft(other.add(path), kMasks, *apart.packed);
        for (size_t j = 0; j < usize(kMasks); ++j) {
          EXPECT_TRUE(same(riding.logits_of(mixed.riders[i][j]), drafted.logits_of(j)) &&
                      same(riding.hidden_of(mixed.riders[i][j]), drafted.hidden_of(j)))
              << name << " " << kind.name << ", mask " << j << " behind row " << i;
        }
      }
    }
  }
}

TEST(Riders, TheReferenceAgrees) {
  for (const char* name : {"llama-f32", "qwen2-f32", "gemma3-f32"}) {
    const Drafted setup = fused(name, GGML_TYPE_F32);
    const auto rows_of = [&](std::unique_ptr<Backend> backend) {
      Runner runner(setup, std::move(backend));
      const SeqId seq = runner.add(some_tokens(20, 50, 1));
      return runner.run(with_riders(plain_rows({{seq, 20}}, 3, false, 50), 2, false).rows, setup.packed.get());
    };
    const Rows a = rows_of(kinds().front().make(setup)), b = rows_of(kinds().back().make(setup));
    double difference = 0, size = 0;
    for (size_t i = 0; i < b.logits.size(); ++i) {
      difference += std::pow(double{a.logits[i]} - b.logits[i], 2);
      size += std::pow(b.logits[i], 2);
    }
    EXPECT_LT(std::sqrt(difference / size), 5e-6) << name;
  }
}

// What riders wrote is gone once the path of the tokens is committed.
TEST(Riders, AreNeverCommitted) {
  const Drafted setup = fused("llama-q4_k");
  for (const Kind& kind : kinds()) {
    Runner with(setup, kind.make(setup)), without(setup, kind.make(setup));
    const Tokens context = some_tokens(30, 50, 1);
    const SeqId a = with.add(context), b = without.add(context);
    const std::vector<Row> plain = plain_rows({{a, 30}}, 3, false, setup.config.vocab_size);
    const Mixed mixed = with_riders(plain, 2, /*at_end=*/false);
    with.run(mixed.rows, setup.packed.get(), KvUse::kPending);
    with.kv().commit_path(a, std::vector<int>{static_cast<int>(mixed.plain[0]), static_cast<int>(mixed.plain[1])});
    std::vector<Row> same_rows = plain;
    for (Row& row : same_rows) row.seq = b;
    without.run(same_rows, nullptr, KvUse::kPending);
    without.kv().commit_path(b, std::vector<int>{0, 1});
    EXPECT_EQ(with.kv().length(a), 32);
    const Rows next = with.run({{7, 32, -1, a}}, nullptr), expected = without.run({{7, 32, -1, b}}, nullptr);
    EXPECT_TRUE(same(next.logits, expected.logits)) << kind.name;
  }
}

TEST(Riders, ErrorsAreClear) {
  const Drafted setup = fused("qwen2-f32");
  Parts parts = kFused;
  parts.fused = false;
  const Drafted apart("qwen2-f32", setup.plan, parts, GGML_TYPE_Q8_0);
  const auto backend = kinds().front().make(setup);
  KvCache kv = KvCache::create(setup.config, KvType::kF16, 64).value();
  const KvSequence seq = kv.add_sequence();
  const auto expect_error = [&](std::vector<Row> rows, const PackedAdapter* riders, const PackedAdapter* adapter,
                                LayerSet layers, const std::string& part) {
    const auto out = backend->run({.rows = rows, .layers = layers, .adapter = adapter, .riders = riders}, kv);
    ASSERT_FALSE(out.ok()) << part;
    EXPECT_NE(out.error().message.find(part), std::string::npos) << out.error().message;
  };
  const SeqId id = seq;
  const Row token = {3, 0, -1, id}, mask = {-1, 1, 0, id};
  const LayerSet all = setup.plan;
  const PackedAdapter* riders = setup.packed.get();
  expect_error({token, mask}, apart.packed.get(), nullptr, all, "made for draft passes");
  expect_error({token, mask}, riders, apart.packed.get(), all, "expected one adapter");
  expect_error({token, mask}, riders, nullptr, {1, 0}, "1 of 2 layers");
  expect_error({token, mask, {4, 2, 1, id}}, riders, nullptr, all, "is a mask, which no token may see");
  expect_error({token, {-1 - kMasks, 1, 0, id}}, riders, nullptr, all, "mask 3");
  expect_error({token}, nullptr, riders, all, "masks ride in full passes");
  EXPECT_EQ(kv.used(), 0) << "nothing stays reserved";
}

}  // namespace
}  // namespace s3d
