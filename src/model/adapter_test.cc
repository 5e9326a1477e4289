#include "model/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "base/index.h"
#include "file/gguf_test_writer.h"
#include "model/tensor_floats.h"

namespace s3d {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace names = adapter_names;

constexpr uint64_t kFingerprint = 0x0123456789abcdef;

ModelConfig base_config() {
  ModelConfig base{};
  base.family = "llama";
  base.n_layers = 5;
  base.d_model = 64;
  base.n_heads = 4;
  base.n_kv_heads = 2;
  base.head_dim = 32;
  base.d_ff = 96;
  base.vocab_size = 100;
  return base;
}

// An adapter with every part, rank 32 everywhere and three masks (but where others are given), plan 1 + 2 of 5, ten
// draft tokens.
struct Parts {
  AdapterConfig config;
  std::vector<AdapterTensor> tensors;
  std::vector<int32_t> draft_ids;
  Ngrams ngrams;

  AdapterTensor& tensor(std::string_view name) {
    for (AdapterTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    ADD_FAILURE() << "no tensor " << name;
    return tensors[0];
  }
  void add(std::string_view name, std::vector<int64_t> shape) {
    size_t size = 1;
    for (const int64_t extent : shape) size *= usize(extent);
    std::vector<float> values(size);
    for (size_t i = 0; i < size; ++i) {
      values[i] = static_cast<float>(std::sin(static_cast<double>(i + 7 * tensors.size())));
    }
    tensors.push_back({std::string(name), std::move(shape), std::move(values)});
  }
};

Parts whole_adapter(int64_t lora_rank = 32, int64_t rank = 32, int masks = 3) {
  const ModelConfig base = base_config();
  Parts parts;
  parts.config.base_fingerprint = kFingerprint;
  parts.config.base_name = "Test base";
  parts.config.layers.first = 1;
  parts.config.layers.last = 2;
  parts.config.masks = masks;
  parts.config.state_on_first_row = true;
  parts.add(names::kMasks, {64, masks});
  for (const int layer : {0, 3, 4}) {
    for (int t = 0; t < kLoraTargets; ++t) {
      const MatrixShape shape = lora_target_shape(base, static_cast<LoraTarget>(t));
      parts.add(names::lora(layer, static_cast<LoraTarget>(t), 'a'), {shape.cols, lora_rank});
      parts.add(names::lora(layer, static_cast<LoraTarget>(t), 'b'), {lora_rank, shape.rows});
    }
  }
  parts.add(names::kBridgeDown, {64, rank});
  parts.add(names::kBridgeUp, {rank, 64});
  parts.add(names::kStateDown, {64, rank});
  parts.add(names::kStateUp, {rank, 64});
  parts.add(names::kMarkovP, {64, rank});
  parts.add(names::kMarkovW2, {rank, 10});
  parts.add(names::kConfidenceW, {64 + rank});
  parts.add(names::kConfidenceB, {1});
  parts.draft_ids = {9, 3, 99, 0, 1, 2, 50, 51, 52, 53};
  parts.ngrams = {.before = {-1, 4}, .last = {5, 5}, .next = {6, 99}, .chance = {0.25F, 1}};
  return parts;
}

std::shared_ptr<const GgufFile> file_of(std::vector<std::byte> image) {
  auto file = GgufFile::from_bytes(std::move(image), "test.gguf");
  if (!file.ok()) {
    ADD_FAILURE() << file.error().message;
    return nullptr;
  }
  return std::make_shared<GgufFile>(std::move(*file));
}

Result<Adapter> open(const Parts& parts, ggml_type type = GGML_TYPE_F32) {
  S3D_ASSIGN(auto image, adapter_image(parts.config, parts.tensors, parts.draft_ids, type, parts.ngrams));
  return open_adapter(file_of(std::move(image)), base_config(), kFingerprint);
}

std::vector<float> floats(const Tensor& tensor) {
  std::vector<float> out(usize(tensor.rows() * tensor.cols()));
  tensor_to_floats(tensor, out.data());
  return out;
}

TEST(Adapter, RoundTripInEveryType) {
  const Parts parts = whole_adapter();
  for (const auto& [type, tolerance] : {std::pair{GGML_TYPE_F32, 0.0}, {GGML_TYPE_F16, 5e-4}, {GGML_TYPE_Q8_0, 5e-3}}) {
    const auto adapter = open(parts, type);
    ASSERT_TRUE(adapter.ok()) << adapter.error().message;
    for (const AdapterTensor& expected : parts.tensors) {
      if (expected.shape.size() == 1) continue;
      const Tensor* found = adapter->file->find_tensor(expected.name);
      ASSERT_NE(found, nullptr) << expected.name;
      EXPECT_EQ(found->type, type) << expected.name;
      EXPECT_EQ(found->shape, expected.shape) << expected.name;
      const std::vector<float> values = floats(*found);
      for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], expected.values[i], tolerance) << expected.name;
    }
    EXPECT_EQ(adapter->draft_ids, parts.draft_ids);
  }
}

TEST(Adapter, PartsAreFound) {
  Parts parts = whole_adapter();
  const auto adapter = open(parts);
  ASSERT_TRUE(adapter.ok()) << adapter.error().message;
  const AdapterConfig& config = adapter->config;
  EXPECT_EQ(config.base_fingerprint, kFingerprint);
  EXPECT_EQ(config.base_name, "Test base");
  EXPECT_EQ(config.layers.first, 1);
  EXPECT_EQ(config.layers.last, 2);
  EXPECT_EQ(config.masks, 3);
  EXPECT_EQ(config.lora_rank, 32);
  EXPECT_EQ(config.bridge_rank, 32);
  EXPECT_EQ(config.markov_rank, 32);
  EXPECT_EQ(config.state_rank, 32);
  EXPECT_TRUE(config.state_on_first_row);
  EXPECT_EQ(config.draft_vocab, 10);
  EXPECT_TRUE(config.confidence);
  ASSERT_EQ(adapter->lora.size(), 3U);
  EXPECT_EQ(config.layers.layer(0, 5), 0);
  EXPECT_EQ(config.layers.layer(1, 5), 3);
  EXPECT_EQ(config.layers.layer(2, 5), 4);
  EXPECT_EQ(adapter->lora[1][0].a->name, "blk.3.attn_q.lora_a");
  EXPECT_EQ(adapter->lora[2][6].b->name, "blk.4.ffn_down.lora_b");
  EXPECT_EQ(adapter->masks->rows(), 3);
  EXPECT_EQ(adapter->markov_w2->rows(), 10);
  EXPECT_EQ(adapter->confidence_w, parts.tensor(names::kConfidenceW).values);
  EXPECT_EQ(adapter->confidence_b, parts.tensor(names::kConfidenceB).values[0]);
  EXPECT_EQ(config.ngrams, 2);
  EXPECT_EQ(adapter->ngrams.before, parts.ngrams.before);
  EXPECT_EQ(adapter->ngrams.last, parts.ngrams.last);
  EXPECT_EQ(adapter->ngrams.next, parts.ngrams.next);
  EXPECT_EQ(adapter->ngrams.chance, parts.ngrams.chance);
}

// Without bridge and state, over all five layers.
Parts fused_adapter() {
  Parts parts = whole_adapter();
  std::erase_if(parts.tensors, [](const AdapterTensor& tensor) {
    return tensor.name.starts_with("bridge.") || tensor.name.starts_with("state.");
  });
  parts.config.fused = true;
  parts.config.layers = {5, 0};
  return parts;
}

TEST(Adapter, FusedDraftsAreAsLongAsThereAreMasks) {
  const auto apart = open(whole_adapter()), fused = open(fused_adapter());
  ASSERT_TRUE(apart.ok() && fused.ok()) << (fused.ok() ? "" : fused.error().message);
  EXPECT_FALSE(apart->config.fused);
  EXPECT_EQ(apart->config.depth(), 4);
  EXPECT_TRUE(fused->config.fused);
  EXPECT_EQ(fused->config.depth(), 3);
}

TEST(Adapter, FusedPartsThatMakeNoSenseAreRefused) {
  const auto expect_refused = [](const std::function<void(Parts&)>& damage, const char* message) {
    Parts parts = fused_adapter();
    damage(parts);
    const auto adapter = open(parts);
    ASSERT_FALSE(adapter.ok()) << message;
    EXPECT_THAT(adapter.error().message, HasSubstr(message));
  };
  expect_refused([](Parts& p) { p.config.layers = {2, 2}; }, "2 + 2 of the base's 5 layers; expected all");
  expect_refused(
      [](Parts& p) {
        p.add(names::kBridgeDown, {64, 32});
        p.add(names::kBridgeUp, {32, 64});
      },
      "bridge.down\" has no use");
  expect_refused(
      [](Parts& p) {
        p.add(names::kStateDown, {64, 32});
        p.add(names::kStateUp, {32, 64});
      },
      "state.down\" has no use");
  expect_refused(
      [](Parts& p) {
        p.config.masks = 0;
        std::erase_if(p.tensors, [](const AdapterTensor& tensor) { return tensor.name == names::kMasks; });
      },
      "s3d.plan.masks is 0");
}

std::string refusal_of_kind(const std::string& kind) {
  GgufTestWriter writer;
  writer.key_string("general.architecture", "s3d-adapter");
  writer.key_u32("s3d.version", 1);
  writer.key_string("s3d.base.fingerprint", "0123456789abcdef");
  writer.key_u32("s3d.plan.head", 1);
  writer.key_u32("s3d.plan.tail", 1);
  writer.key_u32("s3d.plan.masks", 3);
  writer.key_string("s3d.kind", kind);
  const auto config = read_adapter_config(*file_of(writer.image()));
  return config.ok() ? "" : config.error().message;
}

TEST(Adapter, AnotherKindIsRefused) {
  EXPECT_THAT(refusal_of_kind("later"), HasSubstr("s3d.kind\" is \"later\", this program knows \"fused\""));
  EXPECT_THAT(refusal_of_kind("eagle"), HasSubstr("not an adapter of S3D's: name it with --draft-file"));
}

TEST(Adapter, EveryPartMayBeAbsent) {
  Parts parts;
  parts.config = {.base_fingerprint = kFingerprint, .layers = {2, 0}, .masks = 0};
  const auto adapter = open(parts);
  ASSERT_TRUE(adapter.ok()) << adapter.error().message;
  EXPECT_EQ(adapter->masks, nullptr);
  EXPECT_EQ(adapter->config.lora_rank, 0);
  EXPECT_EQ(adapter->config.draft_vocab, 0);
  ASSERT_EQ(adapter->lora.size(), 2U);
  EXPECT_FALSE(adapter->lora[0][0]);
}

TEST(Adapter, OneMaskAndRankOneAreEnough) {
  const auto adapter = open(whole_adapter(/*lora_rank=*/1, /*rank=*/1, /*masks=*/1));
  ASSERT_TRUE(adapter.ok()) << adapter.error().message;
  EXPECT_EQ(adapter->masks->rows(), 1);
  EXPECT_EQ(adapter->config.lora_rank, 1);
  EXPECT_EQ(adapter->config.markov_rank, 1);
  EXPECT_EQ(adapter->lora[0][0].a->rows(), 1);
  EXPECT_EQ(adapter->lora[0][0].b->cols(), 1);
}

TEST(Adapter, WithoutDraftVocabularyTheHeadIsTheWholeOne) {
  Parts parts = whole_adapter();
  parts.draft_ids.clear();
  const auto refused = open(parts);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr("markov.w2"), HasSubstr("expected [32, 100]")));
}

TEST(Adapter, RowsThatAreNoMultipleOf32AreStoredAsF16) {
  Parts parts = whole_adapter();
  std::erase_if(parts.tensors, [](const AdapterTensor& tensor) { return tensor.name.starts_with("bridge."); });
  parts.add(names::kBridgeDown, {64, 3});
  parts.add(names::kBridgeUp, {3, 64});
  const auto adapter = open(parts, GGML_TYPE_Q8_0);
  ASSERT_TRUE(adapter.ok()) << adapter.error().message;
  EXPECT_EQ(adapter->bridge.a->type, GGML_TYPE_Q8_0);
  EXPECT_EQ(adapter->bridge.b->type, GGML_TYPE_F16);
}

// One thing wrong each, and what the message must hold.
struct Damage {
  const char* what;
  std::function<void(Parts&)> apply;
  const char* message;
};

TEST(Adapter, DamageIsRefusedWithItsName) {
  const auto drop = [](Parts& parts, std::string_view name) {
    std::erase_if(parts.tensors, [&](const AdapterTensor& tensor) { return tensor.name == name; });
  };
  const Damage damages[] = {
      {"other base", [](Parts& p) { p.config.base_fingerprint = 5; }, "made for another model, \"Test base\""},
      {"too many layers", [](Parts& p) { p.config.layers.last = 5; }, "1 + 5 layers, the base has only 5"},
      {"no layers", [](Parts& p) { p.config.layers.first = p.config.layers.last = 0; }, "keeps no layer"},
      {"layer not kept", [](Parts& p) { p.config.layers.last = 1; }, "blk.3.attn_q.lora_a"},
      {"masks do not agree", [](Parts& p) { p.config.masks = 2; }, "mask_embd\" has 3 rows"},
      {"too many masks", [](Parts& p) { p.config.masks = 16; }, "expected 0 to 15"},
      {"half a pair", [&](Parts& p) { drop(p, "blk.0.attn_k.lora_b"); }, "blk.0.attn_k.lora_b\" is missing"},
      {"half a Markov head", [&](Parts& p) { drop(p, names::kMarkovP); }, "markov.p\" is missing"},
      {"half a confidence head", [&](Parts& p) { drop(p, names::kConfidenceB); }, "without \"confidence.b\""},
      {"unknown tensor",
       [](Parts& p) {
         p.add("blk.0.attn_x.lora_a", {4, 4});
       },
       "blk.0.attn_x.lora_a"},
      {"padded layer number",
       [](Parts& p) {
         p.add("blk.00.attn_q.lora_a", {64, 32});
       },
       "blk.00.attn_q.lora_a"},
      {"another rank",
       [](Parts& p) {
         p.tensor("blk.3.attn_q.lora_a").shape = {32, 64};
       },
       "no common rank (others have 32)"},
      {"wrong width",
       [](Parts& p) {
         p.tensor(names::kMasks).shape = {32, 6};
       },
       "mask_embd"},
      {"wrong confidence",
       [](Parts& p) {
         p.tensor(names::kConfidenceW).shape = {48, 2};
       },
       "confidence.w"},
      {"not finite", [](Parts& p) { p.tensor(names::kStateUp).values[40] = std::numeric_limits<float>::quiet_NaN(); },
       "state.up\" holds a value that is not finite, in row 1"},
      {"id outside", [](Parts& p) { p.draft_ids[4] = 100; }, "token 100 outside the base's vocabulary of 100"},
      {"negative id", [](Parts& p) { p.draft_ids[4] = -1; }, "token -1 outside"},
      {"id twice", [](Parts& p) { p.draft_ids[4] = 3; }, "token 3 twice"},
      {"unknown token before", [](Parts& p) { p.ngrams.before[0] = -2; }, "entry 0 of the n-grams is -2 5 -> 6"},
      {"unknown last token", [](Parts& p) { p.ngrams.last[1] = 100; }, "entry 1 of the n-grams"},
      {"unknown next token", [](Parts& p) { p.ngrams.next[1] = -1; }, "entry 1 of the n-grams"},
      {"no chance", [](Parts& p) { p.ngrams.chance[1] = std::numeric_limits<float>::quiet_NaN(); }, "chance nan"},
      {"half of the n-grams",
       [&](Parts& p) {
         p.add(names::kNgramChance, {3});
         p.ngrams = {};
       },
       "ngram.tokens\" and"},
      {"fewer ids", [](Parts& p) { p.draft_ids.pop_back(); }, "markov.w2"},
  };
  for (const Damage& damage : damages) {
    Parts parts = whole_adapter();
    damage.apply(parts);
    const auto adapter = open(parts);
    ASSERT_FALSE(adapter.ok()) << damage.what;
    EXPECT_THAT(adapter.error().message, HasSubstr(damage.message)) << damage.what;
  }
}

TEST(Adapter, NgramsAreReplacedAndNothingElse) {
  struct Case {
    ggml_type type;
    int lora_rank;  // 16 does not fill a block of Q8_0: those matrices are F16
  };
  for (const Case& c : {Case{GGML_TYPE_F32, 32}, {GGML_TYPE_F16, 32}, {GGML_TYPE_Q8_0, 32}, {GGML_TYPE_Q8_0, 16}}) {
    const Parts parts = whole_adapter(c.lora_rank);
    const auto adapter = open(parts, c.type);
    ASSERT_TRUE(adapter.ok());
    const auto image = with_ngrams(*adapter, {.before = {7}, .last = {8}, .next = {9}, .chance = {0.5F}});
    const auto changed = open_adapter(file_of(image), base_config(), kFingerprint);
    ASSERT_TRUE(changed.ok()) << changed.error().message;
    EXPECT_EQ(changed->ngrams.next, std::vector<int32_t>{9});
    EXPECT_EQ(changed->draft_ids, parts.draft_ids);
    for (const Tensor& tensor : adapter->file->tensors()) {
      if (tensor.name.starts_with("ngram")) continue;
      const Tensor* same = changed->file->find_tensor(tensor.name);
      ASSERT_NE(same, nullptr);
      ASSERT_EQ(same->bytes, tensor.bytes);
      EXPECT_EQ(0, std::memcmp(same->data, tensor.data, tensor.bytes)) << tensor.name;
    }
  }
}

TEST(Adapter, NgramsDoNotForgetWhatTrainingCost) {
  const AdapterConfig config = {.base_fingerprint = kFingerprint, .layers = {1, 1}};
  const TrainingCost cost = {.core_seconds = 7.5, .anchors = 9, .tokens = 50, .device = "H100"};
  const auto adapter = open_adapter(file_of(adapter_image(config, {}, {}, GGML_TYPE_F32, {}, cost).value()),
                                    base_config(), kFingerprint);
  ASSERT_TRUE(adapter.ok()) << adapter.error().message;
  const auto changed = file_of(with_ngrams(*adapter, {}));
  EXPECT_EQ(changed->real("s3d.training.core_seconds").value(), 7.5);
  EXPECT_EQ(changed->integer("s3d.training.anchors").value(), 9);
  EXPECT_EQ(changed->integer("s3d.training.tokens").value(), 50);
  EXPECT_EQ(changed->string("s3d.training.device").value(), "H100");
}

TEST(Adapter, AnotherVersionOrFileIsRefused) {
  GgufTestWriter newer;
  newer.key_string("general.architecture", "s3d-adapter");
  newer.key_u32("s3d.version", 2);
  auto config = read_adapter_config(*file_of(newer.image()));
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message, AllOf(HasSubstr("version 2"), HasSubstr("a newer s3d")));

  GgufTestWriter model;
  model.key_string("general.architecture", "llama");
  config = read_adapter_config(*file_of(model.image()));
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message, HasSubstr("not the file of a drafter"));
}

TEST(Adapter, MetadataOfAnotherTypeIsRefused) {
  GgufTestWriter writer;
  writer.key_string("general.architecture", "s3d-adapter");
  writer.key_u32("s3d.version", 1);
  writer.key_string("s3d.base.fingerprint", "not a number !!!");
  const auto config = read_adapter_config(*file_of(writer.image()));
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message, HasSubstr("16 hexadecimal digits"));
}

TEST(Adapter, EveryTruncationIsRefused) {
  const Parts parts = whole_adapter();
  const auto image = adapter_image(parts.config, parts.tensors, parts.draft_ids, GGML_TYPE_Q8_0);
  ASSERT_TRUE(image.ok());
  const size_t padding = 32;  // the end of the last tensor is padded, and the padding may be missing
  for (size_t size = 0; size + padding < image->size(); size += 1 + size / 16) {
    std::vector<std::byte> part(image->begin(), image->begin() + size);
    const auto file = GgufFile::from_bytes(std::move(part), "part.gguf");
    EXPECT_FALSE(file.ok()) << size << " of " << image->size() << " bytes";
  }
}

TEST(Adapter, WriterRefusesWhatCannotBeStored) {
  Parts parts = whole_adapter();
  EXPECT_FALSE(adapter_image(parts.config, parts.tensors, {}, GGML_TYPE_Q4_0).ok());
  parts.tensors[0].values[1] = 1e7F;  // the scale of a block of 32 bytes has 16 bits
  for (const ggml_type type : {GGML_TYPE_Q8_0, GGML_TYPE_F16}) {
    const auto large = adapter_image(parts.config, parts.tensors, {}, type);
    ASSERT_FALSE(large.ok());
    EXPECT_THAT(large.error().message, AllOf(HasSubstr("mask_embd"), HasSubstr("f32")));
  }
  EXPECT_TRUE(adapter_image(parts.config, parts.tensors, {}, GGML_TYPE_F32).ok());
  parts.tensors[0].values.pop_back();
  const auto image = adapter_image(parts.config, parts.tensors, {}, GGML_TYPE_F32);
  ASSERT_FALSE(image.ok());
  EXPECT_THAT(image.error().message, HasSubstr("mask_embd"));
}

}  // namespace
}  // namespace s3d
