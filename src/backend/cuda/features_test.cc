// Passes over vectors instead of tokens, hidden states behind layers, and what drafters compute beside passes: on the
// emulated device, whole and divided, to the bits of the CPU backend.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/test_both.h"
#include "backend/side_matrix.h"
#include "backend/split_backend.h"
#include "model/drafter_test_maker.h"

namespace s3d {
namespace {

using adapter_test::Drafted;
using adapter_test::Floats;
using adapter_test::some_tokens;
using adapter_test::Tokens;
using cuda_test::Both;
using cuda_test::load;
using cuda_test::same_bits;

// Numbers like those of a residual stream.
Floats some_vectors(size_t count, float phase) {
  Floats values(count);
  for (size_t i = 0; i < count; ++i) values[i] = 0.3F * std::sin(static_cast<float>(i * i % 977) + phase);
  return values;
}

// A chain of `n` rows: every third one has a token, the others vectors; its first, last and every fifth row are tapped.
struct Features {
  Features(Both& both, const ModelConfig& config, SeqId seq, int n, float phase)
      : vectors(some_vectors(usize(n * config.d_model), phase)),
        rows(both.chain(seq, some_tokens(n, config.vocab_size, 3))) {
    for (int i = 0; i < n; ++i) {
      input.push_back(i % 3 == 1 ? nullptr : &vectors[usize(i * config.d_model)]);
      if (input.back() != nullptr) rows[usize(i)].token = config.vocab_size + 1;  // not looked at
      if (i % 5 == 0 || i == n - 1) tapped.push_back(i);
    }
    const int middle = (config.n_layers + 1) / 2;
    taps = {1};
    if (middle > 1) taps.push_back(middle);
    if (config.n_layers > middle) taps.push_back(config.n_layers);
  }
  Block block(LayerSet layers) const {
    return {.rows = rows,
            .layers = layers,
            .kv = KvUse::kScratch,
            .want_hidden = true,
            .input = input,
            .taps = taps,
            .tapped = tapped};
  }

  Floats vectors;
  std::vector<Row> rows;
  std::vector<const float*> input;
  std::vector<int> taps, tapped;
};

// 1 to 16 rows, as graphs from the second time on, and tiles for prompts.
void expect_features(Both& both, const ModelConfig& config, const std::vector<int>& widths) {
  const SeqId seq = both.add_sequence();
  both.feed(seq, some_tokens(5, config.vocab_size, 2), {5});
  for (const int n : widths) {
    for (const float phase : {0.0F, 1.0F}) {
      if (phase > 0 && n > 3) continue;
      const Features features(both, config, seq, n, phase);
      both.expect_same(features.block(both.all_layers()), std::to_string(n) + " rows");
    }
  }
  const Features few(both, config, seq, 4, 2);
  Block block = few.block(both.all_layers());
  const std::vector<int> one = {1};
  block.taps = one;
  both.expect_same(block, "another list of taps");
  const std::vector<Want> nothing(4, Want::kNothing);
  block.want = nothing;
  both.expect_same(block, "no logits");
  both.expect_same(both.chain(seq, Tokens{1, 2, 3, 4}), "no features");
}

TEST(CudaFeatures, InputsAndTaps) {
  std::vector<int> widths = {20, 40};
  for (int n = 1; n <= 16; ++n) widths.push_back(n);
  const auto model = load("llama-q8_0", 400);
  Both both(model, KvType::kF16);
  expect_features(both, model->config, widths);
  const auto scaled = load("granite-f32", 400);  // embeddings are multiplied, vectors are not
  Both others(scaled, KvType::kF16);
  expect_features(others, scaled->config, {3});
}

// Tiles of 64 rows, as of prompts: a full one, and one with rows left over.
TEST(CudaFeatures, InputsAndTapsOfPrompts) {
  for (const char* name : {"llama-q8_0", "llama-q4_k"}) {
    const auto model = load(name, 400);
    Both both(model, KvType::kF16);
    expect_features(both, model->config, {64, 70});
  }
}

TEST(CudaFeatures, TapsBesideLogitsThatStay) {
  const auto model = load("llama-q8_0");
  Both both(model, KvType::kF16);
  const SeqId seq = both.add_sequence();
  const Features features(both, model->config, seq, 6, 0);
  Floats tapped[2];
  for (const int side : {0, 1}) {
    cuda_test::Side& s = side == 0 ? both.cpu() : both.cuda();
    Block block = features.block(both.all_layers());
    block.want_hidden = false;
    block.keep_logits = true;
    const PassOutput out = s.backend().run(block, s.kv()).value();
    EXPECT_EQ(out.kept, side);
    tapped[side].assign(out.tapped.begin(), out.tapped.end());
  }
  EXPECT_FALSE(tapped[0].empty());
  EXPECT_TRUE(same_bits(tapped[0], tapped[1]));
}

// Vectors go to the first part; each part knows the states behind its own layers.
TEST(CudaFeatures, OfADividedModel) {
  const auto model = load("llama-q4_0", 400);
  const int n = model->config.n_layers;
  const auto device = [&](cuda::LayerRange range) {
    return CudaBackend::create(model, cuda::make_test_device(), nullptr, 64, range).value();
  };
  for (int first = 0; first <= n; ++first) {
    std::vector<SplitBackend::Part> cpu_first, devices;
    cpu_first.push_back({CpuBackend::create(model, 1, available_kernels().back()).value(), first});
    cpu_first.push_back({device({first, n}), n - first});
    devices.push_back({device({0, first}), first});
    devices.push_back({device({first, n}), n - first});
    for (std::vector<SplitBackend::Part>* parts : {&cpu_first, &devices}) {
      Both both(model, KvType::kF16, SplitBackend::create(model, std::move(*parts)).value());
      expect_features(both, model->config, {5});
    }
  }
}

SideMatrix packed(const GgufFile& file, const std::string& tensor) {
  return pack_side_matrix(file, file.find_tensor(tensor), nullptr).value();
}

// On both backends, for some numbers of rows; the rows of the first product are looked at again behind the others.
void expect_products(Backend& cpu, Backend& cuda, const SideMatrix& w, const std::string& what) {
  ASSERT_TRUE(cuda.can_multiply().ok());
  ASSERT_TRUE(cuda.take(w).ok());
  for (const size_t n : {0, 1, 16, 19}) {
    const Floats in = some_vectors(n * w.cols(), 0.5F);
    Floats out[2];
    for (const int side : {0, 1}) {
      out[side].assign(n * w.rows(), 7.0F);
      (side == 0 ? cpu : cuda).multiply(w, in, out[side]);
    }
    EXPECT_TRUE(same_bits(out[0], out[1])) << what << ", " << n << " rows";
  }
}

TEST(CudaFeatures, ProductsBesideTheModel) {
  for (const char* name : {"llama-f16", "llama-q8_0", "llama-q4_k"}) {
    const Drafted drafted(name, {1, 0}, {}, GGML_TYPE_F16);  // its LM head is in another order
    const auto cpu = CpuBackend::create(drafted.model, 1, available_kernels().back()).value();
    const auto cuda = CudaBackend::create(drafted.model, cuda::make_test_device()).value();
    for (const char* tensor : {"blk.0.ffn_up.weight", "blk.0.ffn_down.weight"}) {
      expect_products(*cpu, *cuda, packed(*drafted.file, tensor), std::string(name) + ' ' + tensor);
    }
    const size_t held = cuda->scratch_bytes();
    for (const Tokens& ids : {Tokens{}, drafted.adapter.draft_ids, Tokens{5, 3, 9}}) {
      const SideMatrix head = side_head(*drafted.model, ids, nullptr).value();
      EXPECT_EQ(begins_head(head, *drafted.model), head.own_bytes == 0);
      expect_products(*cpu, *cuda, head, std::string(name) + " head of " + std::to_string(ids.size()));
      if (head.own_bytes > 0) continue;
      EXPECT_LT(cuda->scratch_bytes() - held, head.packed.bytes() + size_t{256} * 1024) << "the head lies there once";
    }
  }
}

// A layer beside the model, with the model's head and with one of its own.
TEST(CudaFeatures, ALayerBesideTheModel) {
  const char* name = "llama-q8_0";
  const auto model = load(name);
  const auto eagle = open_eagle(drafter_test::as_file(drafter_test::eagle_image(model->config, {})), model->config,
                                drafter_test::kFingerprint)
                         .value();
  const auto cpu = CpuBackend::create(model, 1, available_kernels().back()).value();
  const auto cuda = CudaBackend::create(model, cuda::make_test_device()).value();
  for (const Tokens& ids : {Tokens{}, Tokens{5, 3, 9, 2, 8}}) {
    ThreadPool pool(1);
    const SideMatrix head = side_head(*model, ids, &pool).value();
    const auto side =
        std::make_shared<const Model>(load_side_model(*model, eagle.file, head.packed, head.ids, pool).value());
    Both both(side, KvType::kF16, cuda->beside(side, 64).value(), cpu->beside(side, 64).value());
    const SeqId seq = both.add_sequence();
    for (const int n : {1, 3, 19}) {
      const Floats vectors = some_vectors(usize(n * side->config.d_model), 0.1F);
      std::vector<const float*> input;
      for (int i = 0; i < n; ++i) input.push_back(&vectors[usize(i * side->config.d_model)]);
      const std::vector<Row> rows = both.chain(seq, Tokens(usize(n), 0));
      both.expect_same({.rows = rows, .layers = LayerSet::all(1), .want_hidden = true, .input = input}, name);
      both.commit(seq, n);
    }
  }
}

// An adapter whose draft vocabulary is not the beginning of the model's LM head brings its own rows of it.
TEST(CudaFeatures, ADraftPassWithAHeadOfItsOwn) {
  const Drafted drafted("llama-q8_0", {1, 1}, {}, GGML_TYPE_F16);
  const auto plain = load("llama-q8_0");
  ThreadPool pool(1);
  const auto packed = PackedAdapter::create(drafted.adapter, *plain, &pool).value();
  ASSERT_NE(packed->own_head(), nullptr);
  Both both(plain, KvType::kF16);
  const SeqId seq = both.add_sequence();
  both.feed(seq, some_tokens(5, plain->config.vocab_size, 2), {5});
  const std::vector<Row> rows = both.chain(seq, Tokens{5, -1, -2});
  const std::vector<Want> want(rows.size(), Want::kLogits);
  both.expect_same({.rows = rows, .layers = drafted.plan, .adapter = packed.get(), .kv = KvUse::kScratch, .want = want},
                   "draft");
  both.expect_same(both.chain(seq, Tokens{6}), "a full pass behind it");
}

}  // namespace
}  // namespace s3d
