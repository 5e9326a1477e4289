// A NaN or an infinite number anywhere in a model's weights ends the generation with an error: it reaches the logits,
// whatever is rounded on the way, and is seen there.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "base/index.h"
#include "base/test_folder.h"
#include "engine/runtime.h"
#include "file/gguf.h"

namespace s3d {
namespace {

constexpr int32_t kToken = 20;

std::string stored_model(const std::string& name) {
  return std::string(S3D_SOURCE_DIR) + "/tests/data/models/" + name + ".gguf";
}

// Where the first number of a row lies, or the scale of its first block; and how many bytes it has.
struct Spot {
  size_t offset;
  size_t bytes;
};
Spot first_scale(const Tensor& tensor, int64_t row) {
  const size_t begin = usize(row) * ggml_row_size(tensor.type, tensor.cols());
  if (tensor.type == GGML_TYPE_F32) return {begin, 4};
  if (tensor.type == GGML_TYPE_Q6_K) return {begin + ggml_type_size(tensor.type) - 2, 2};
  return {begin, 2};
}

std::string bits_of(ggml_type type, bool nan) {
  if (type == GGML_TYPE_F32) return nan ? std::string("\x00\x00\xc0\x7f", 4) : std::string("\x00\x00\x80\x7f", 4);
  if (type == GGML_TYPE_BF16) return nan ? std::string("\xc0\x7f", 2) : std::string("\x80\x7f", 2);
  return nan ? std::string("\x00\x7e", 2) : std::string("\x00\x7c", 2);
}

Result<Generation> generate_from(const std::string& path, KvType kv_type) {
  S3D_ASSIGN(const std::unique_ptr<Runtime> loaded,
             Runtime::load({.model = path, .threads = 1, .context = 64, .kv_type = kv_type}));
  Runtime& runtime = *loaded;
  const KvSequence seq = runtime.kv().add_sequence();
  return runtime.generate(seq, std::vector<TokenId>{kToken}, {.max_tokens = 4});
}

class BrokenNumbers : public ::testing::TestWithParam<std::string> {};

TEST_P(BrokenNumbers, EndInAnErrorThatNamesTheModel) {
  const std::string path = stored_model(GetParam());
  ASSERT_TRUE(generate_from(path, KvType::kF16).ok());
  const GgufFile file = GgufFile::open(path).value();
  const TestFolder folder;
  const std::string copy = folder.path() + "/" + GetParam() + ".gguf";
  for (const Tensor& tensor : file.tensors()) {
    if (tensor.name.starts_with("rope_f")) continue;  // those are looked at when the model is loaded
    const int64_t row = tensor.name == "token_embd.weight" ? kToken : 0;
    const Spot spot = first_scale(tensor, row);
    for (const bool nan : {true, false}) {
      std::string image(reinterpret_cast<const char*>(file.image().data()), file.image().size());
      const std::string bits = bits_of(tensor.type, nan);
      ASSERT_EQ(bits.size(), spot.bytes);
      const auto at = usize(tensor.data - file.image().data()) + spot.offset;
      image.replace(at, bits.size(), bits);
      std::ofstream(copy, std::ios::binary) << image;
      for (const KvType kv_type : {KvType::kF16, KvType::kQ8_0}) {
        const auto answer = generate_from(copy, kv_type);
        ASSERT_FALSE(answer.ok()) << tensor.name << (nan ? " NaN" : " infinite");
        EXPECT_NE(answer.error().message.find(copy + ": the model's answer"), std::string::npos) << tensor.name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, BrokenNumbers,
                         ::testing::Values("llama-f32", "llama-f16", "llama-bf16", "llama-q8_0", "llama-q4_1",
                                           "llama-q4_k", "llama-q6_k", "qwen2-f32", "qwen3-f32", "phi3-f32",
                                           "gemma3-f32", "gemma2-f32", "granite-f32", "olmo2-f32"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace s3d
