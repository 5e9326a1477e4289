// Files of EAGLE and Medusa: what is written is read back, and every wrong file gets its message.
#include "model/drafter_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "model/adapter.h"
#include "model/drafter_test_maker.h"

namespace s3d {
namespace {

using drafter_test::as_file;
using drafter_test::eagle_image;
using drafter_test::EagleParts;
using drafter_test::kFingerprint;
using drafter_test::medusa_image;
using drafter_test::MedusaParts;
using testing::HasSubstr;

ModelConfig base_of(const std::string& name = "llama-f32") {
  const auto file = GgufFile::open(std::string(S3D_SOURCE_DIR) + "/tests/data/models/" + name + ".gguf");
  return read_model_config(*file).value();
}

TEST(EagleFile, IsReadBack) {
  for (const char* name : {"llama-f32", "qwen2-f32", "qwen3-f32", "phi3-f32", "olmo2-f32", "gemma2-f32"}) {
    const ModelConfig base = base_of(name);
    const EagleParts parts = {.taps = {1, 2}, .draft_ids = {5, 3, 9}, .type = GGML_TYPE_Q8_0};
    const EagleFile eagle = open_eagle(as_file(eagle_image(base, parts)), base, kFingerprint).value();
    EXPECT_EQ(eagle.taps, parts.taps) << name;
    EXPECT_EQ(eagle.draft_ids, parts.draft_ids);
    EXPECT_EQ(eagle.fc->shape, (std::vector<int64_t>{2 * base.d_model, base.d_model}));
    EXPECT_EQ(eagle.fc->type, GGML_TYPE_Q8_0);
    ASSERT_NE(eagle.tap, nullptr);
    EXPECT_NE(eagle.file->find_tensor("blk.0.attn_output.weight"), nullptr);
  }
  const ModelConfig base = base_of();
  const EagleFile plain = open_eagle(as_file(eagle_image(base, {})), base, kFingerprint).value();
  EXPECT_TRUE(plain.taps.empty());
  EXPECT_EQ(plain.tap, nullptr);
  EXPECT_EQ(read_drafter_header(*plain.file)->kind, "eagle");
}

TEST(MedusaFile, IsReadBack) {
  const ModelConfig base = base_of();
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1}) {
    const MedusaParts parts = {.heads = 2, .rank = 32, .draft_ids = {1, 0}, .type = type};
    const MedusaFile medusa = open_medusa(as_file(medusa_image(base, parts)), base, kFingerprint).value();
    ASSERT_EQ(medusa.heads.size(), 2U);
    EXPECT_EQ(medusa.heads[1].weight->type, type);
    EXPECT_EQ(medusa.heads[1].bias.size(), static_cast<size_t>(base.d_model));
    EXPECT_EQ(medusa.heads[0].low_head->rows(), 2);
    EXPECT_EQ(medusa.draft_ids, parts.draft_ids);
  }
  EXPECT_EQ(open_medusa(as_file(medusa_image(base, {})), base, kFingerprint)->heads[0].low, nullptr);
}

// A file with something changed.
struct Changes {
  DrafterMetadata metadata;
  std::vector<AdapterTensor> tensors;
  std::vector<TokenId> ids;
};

std::vector<AdapterTensor> tensors_of(const GgufFile& file) {
  std::vector<AdapterTensor> out;
  for (const Tensor& tensor : file.tensors()) {
    const auto* values = reinterpret_cast<const float*>(tensor.data);
    out.push_back({tensor.name, tensor.shape, {values, values + tensor.bytes / sizeof(float)}});
  }
  return out;
}

AdapterTensor& find(Changes& file, const std::string& name) {
  for (AdapterTensor& tensor : file.tensors) {
    if (tensor.name == name) return tensor;
  }
  ADD_FAILURE() << name;
  return file.tensors.front();
}

void remove(Changes& file, const std::string& name) {
  std::erase_if(file.tensors, [&](const AdapterTensor& tensor) { return tensor.name == name; });
}

std::string message_of(const ModelConfig& base, const std::string& kind, const std::function<void(Changes&)>& change) {
  Changes file;
  file.metadata.header = {.kind = kind, .base_fingerprint = kFingerprint, .base_name = "tiny"};
  if (kind == "eagle") {
    file.metadata.taps = {1, 2};
    file.tensors = tensors_of(*as_file(eagle_image(base, {.taps = {1, 2}})));
  } else {
    file.metadata.heads = 2;
    file.tensors = tensors_of(*as_file(medusa_image(base, {.heads = 2, .rank = 32})));
  }
  change(file);
  const auto image = drafter_image(file.metadata, file.tensors, file.ids, GGML_TYPE_F32);
  const auto opened = as_file(image.value());
  if (kind == "eagle") {
    const auto eagle = open_eagle(opened, base, kFingerprint);
    return eagle.ok() ? "no error" : eagle.error().message;
  }
  const auto medusa = open_medusa(opened, base, kFingerprint);
  return medusa.ok() ? "no error" : medusa.error().message;
}

TEST(EagleFile, EveryWrongFileHasItsMessage) {
  const ModelConfig base = base_of();
  const auto message = [&](const std::function<void(Changes&)>& change) { return message_of(base, "eagle", change); };
  EXPECT_EQ(message([](Changes&) {}), "no error");
  EXPECT_THAT(message([](Changes& f) { f.metadata.header.kind = "medusa"; }), HasSubstr("of kind \"medusa\""));
  EXPECT_THAT(message([](Changes& f) { f.metadata.header.base_fingerprint = 8; }),
              HasSubstr("another model, \"tiny\""));
  EXPECT_THAT(message([](Changes& f) { remove(f, "eagle.fc"); }), HasSubstr("\"eagle.fc\" of shape"));
  EXPECT_THAT(message([](Changes& f) { remove(f, "blk.0.ffn_down.weight"); }), HasSubstr("blk.0.ffn_down.weight"));
  EXPECT_THAT(message([](Changes& f) { remove(f, "blk.0.attn_norm.weight"); }), HasSubstr("is missing"));
  EXPECT_THAT(message([](Changes& f) { remove(f, "eagle.tap"); }), HasSubstr("\"eagle.tap\" of shape"));
  EXPECT_THAT(message([](Changes& f) { f.metadata.taps = {2}; }), HasSubstr("eagle.tap\" has the shape"));
  EXPECT_THAT(message([](Changes& f) { f.metadata.taps = {}; }), HasSubstr("\"eagle.tap\" is not part"));
  EXPECT_THAT(message([](Changes& f) { f.metadata.taps = {2, 1}; }), HasSubstr("rising numbers from 1 to 2"));
  EXPECT_THAT(message([](Changes& f) { f.metadata.taps = {0, 1}; }), HasSubstr("rising numbers"));
  EXPECT_THAT(message([](Changes& f) { f.metadata.taps = {1, 3}; }), HasSubstr("rising numbers"));
  EXPECT_THAT(message([](Changes& f) {
                f.tensors.push_back({"blk.1.attn_norm.weight", {1}, {1}});
              }),
              HasSubstr("\"blk.1.attn_norm.weight\" is not part"));
  EXPECT_THAT(message([](Changes& f) {
                f.tensors.push_back({"blk.0.attn_q_norm.weight", {1}, {1}});
              }),
              HasSubstr("\"blk.0.attn_q_norm.weight\" is not part"));
  EXPECT_THAT(message([](Changes& f) { find(f, "eagle.fc").values[3] = std::numeric_limits<float>::quiet_NaN(); }),
              HasSubstr("not finite, in row 0"));
  EXPECT_THAT(message([](Changes& f) { std::swap(find(f, "eagle.fc").shape[0], find(f, "eagle.fc").shape[1]); }),
              HasSubstr("\"eagle.fc\" has the shape"));
  EXPECT_THAT(message([&](Changes& f) { f.ids = {base.vocab_size}; }), HasSubstr("outside the base's vocabulary"));
  EXPECT_THAT(message([](Changes& f) { f.ids = {4, 4}; }), HasSubstr("holds the token 4 twice"));
  EXPECT_THAT(message([&](Changes& f) { f.ids.assign(static_cast<size_t>(base.vocab_size) + 1, 0); }),
              HasSubstr("draft_vocab.ids"));
}

TEST(EagleFile, AllBiasesOrNone) {
  const ModelConfig base = base_of("qwen2-f32");
  EXPECT_EQ(message_of(base, "eagle", [](Changes&) {}), "no error");
  EXPECT_THAT(message_of(base, "eagle", [](Changes& f) { remove(f, "blk.0.attn_k.bias"); }),
              HasSubstr("only 2 of the three biases"));
}

TEST(MedusaFile, EveryWrongFileHasItsMessage) {
  const ModelConfig base = base_of();
  const auto message = [&](const std::function<void(Changes&)>& change) { return message_of(base, "medusa", change); };
  EXPECT_EQ(message([](Changes&) {}), "no error");
  EXPECT_THAT(message([](Changes& f) { f.metadata.header.kind = "eagle"; }), HasSubstr("of kind \"eagle\""));
  EXPECT_THAT(message([](Changes& f) { f.metadata.heads = 0; }), HasSubstr("\"medusa.heads\" is missing"));
  EXPECT_THAT(message([](Changes& f) { f.metadata.heads = 16; }), HasSubstr("is 16, expected 1 to 15"));
  EXPECT_THAT(message([](Changes& f) { f.metadata.heads = 3; }), HasSubstr("\"medusa.2.weight\""));
  EXPECT_THAT(message([](Changes& f) { f.metadata.heads = 1; }), HasSubstr("\"medusa.1."));
  EXPECT_THAT(message([](Changes& f) { remove(f, "medusa.1.bias"); }), HasSubstr("\"medusa.1.bias\""));
  EXPECT_THAT(message([](Changes& f) { remove(f, "medusa.1.head_b"); }), HasSubstr("expected both, with rank 32"));
  EXPECT_THAT(message([](Changes& f) { remove(f, "medusa.1.head_a"), remove(f, "medusa.1.head_b"); }),
              HasSubstr("expected both, with rank 32"));
  EXPECT_THAT(message([](Changes& f) { f.ids = {1, 2}; }), HasSubstr("\"medusa.0.head_b\" has the shape"));
  EXPECT_THAT(message([](Changes& f) {
                f.tensors.push_back({"mask_embd", {1}, {1}});
              }),
              HasSubstr("\"mask_embd\" is not part"));
}

TEST(DrafterFile, TellsWhatItsTrainingCost) {
  const DrafterMetadata metadata = {.header = {.kind = "eagle"},
                                    .cost = {.core_seconds = 12.5, .anchors = 3, .tokens = 40, .device = "H100"}};
  const auto file = as_file(drafter_image(metadata, {}, {}, GGML_TYPE_F32).value());
  EXPECT_EQ(file->real("s3d.training.core_seconds").value(), 12.5);
  EXPECT_EQ(file->integer("s3d.training.anchors").value(), 3);
  EXPECT_EQ(file->integer("s3d.training.tokens").value(), 40);
  EXPECT_EQ(file->string("s3d.training.device").value(), "H100");
  EXPECT_EQ(as_file(drafter_image({}, {}, {}, GGML_TYPE_F32).value())->integer("s3d.training.anchors").value(),
            std::nullopt);
}

TEST(DrafterFile, IsNoAdapter) {
  const ModelConfig base = base_of();
  const auto eagle = as_file(eagle_image(base, {}));
  EXPECT_THAT(read_adapter_config(*eagle).error().message, HasSubstr("--draft-file"));
  AdapterConfig config = {.base_fingerprint = kFingerprint, .layers = {1, 1}};
  const auto adapter = as_file(adapter_image(config, {}, {}, GGML_TYPE_F32).value());
  EXPECT_EQ(read_drafter_header(*adapter)->kind, "s3d");
  EXPECT_THAT(open_eagle(adapter, base, kFingerprint).error().message, HasSubstr("of kind \"s3d\""));
  const auto model = GgufFile::open(std::string(S3D_SOURCE_DIR) + "/tests/data/models/llama-f32.gguf");
  EXPECT_THAT(read_drafter_header(*model).error().message, HasSubstr("not the file of a drafter"));
  EXPECT_THAT(drafter_image({}, {}, {}, GGML_TYPE_Q4_K).error().message, HasSubstr("q4_K"));
}

}  // namespace
}  // namespace s3d
