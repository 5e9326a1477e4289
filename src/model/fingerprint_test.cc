#include "model/fingerprint.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/atomic_file.h"
#include "base/test_folder.h"
#include "model/test_model_file.h"

namespace s3d {
namespace {

uint64_t fingerprint_of(const TestModelFile& file) {
  return base_fingerprint(file.open());
}

TEST(Fingerprint, IsStable) {
  const TestModelFile file("llama");
  EXPECT_EQ(fingerprint_of(file), fingerprint_of(file));
  EXPECT_EQ(fingerprint_text(0x1f), "000000000000001f");
}

TEST(Fingerprint, IgnoresTokenizerAndTitle) {
  const TestModelFile plain("llama");
  TestModelFile file("llama");
  file.with([](GgufTestWriter& w) {
    w.key_string("general.license", "apache-2.0");
    w.key_string("tokenizer.chat_template", "{{ x }}");
  });
  EXPECT_EQ(fingerprint_of(plain), fingerprint_of(file));
}

TEST(Fingerprint, TellsModelsApart) {
  std::set<uint64_t> seen = {fingerprint_of(TestModelFile("llama")), fingerprint_of(TestModelFile("qwen2")),
                             fingerprint_of(TestModelFile("llama", {.layers = 3}))};
  TestModelFile key("llama");
  key.with([](GgufTestWriter& w) { w.key_f32("llama.rope.freq_base", 20000); });
  seen.insert(fingerprint_of(key));
  TestModelFile name("llama");
  name.hook([](std::string& n, auto&) {
    if (n == "output_norm.weight") n = "output_norm.bias";
    return true;
  });
  seen.insert(fingerprint_of(name));
  EXPECT_EQ(seen.size(), 5u);
}

TEST(Fingerprint, SeesChangedWeights) {
  const std::vector<std::byte> image = TestModelFile("llama").image();
  const uint64_t original = base_fingerprint(*GgufFile::from_bytes(image, "a"));
  std::vector<std::byte> changed = image;
  changed.back() ^= std::byte{1};
  EXPECT_NE(base_fingerprint(*GgufFile::from_bytes(changed, "b")), original);
}

void add_keys(GgufTestWriter& writer) {
  writer.key_string("general.architecture", "llama");
  writer.key_u32("llama.block_count", 1);
}

TEST(Fingerprint, IsTheSameForASplitModel) {
  const TestFolder folder;
  GgufTestWriter whole;
  GgufTestWriter parts[2];
  add_keys(whole);
  add_keys(parts[0]);
  for (uint16_t i = 0; i < 2; ++i) {
    whole.tensor_f32(fmt::format("t{}", i), {2}, {1, static_cast<float>(i)});
    parts[i].tensor_f32(fmt::format("t{}", i), {2}, {1, static_cast<float>(i)});
    parts[i].key_u16("split.no", i);
    parts[i].key_u16("split.count", 2);
    ASSERT_TRUE(write_file_atomically(folder / fmt::format("m-{:05}-of-00002.gguf", i + 1), parts[i].image()).ok());
  }
  const auto split = GgufFile::open(folder / "m-00002-of-00002.gguf");
  ASSERT_TRUE(split.ok()) << split.error().message;
  EXPECT_EQ(split->parts(), 2u);
  EXPECT_EQ(base_fingerprint(*split), base_fingerprint(*GgufFile::from_bytes(whole.image(), "whole")));
}

TEST(Fingerprint, ChecksumsCoverEveryByte) {
  GgufTestWriter writer;
  writer.tensor_f32("a", {4}, {1, 2, 3, 4});
  writer.tensor_f32("b", {4}, {1, 2, 3, 4});
  writer.tensor_f32("c", {4}, {1, 2, 3, 5});
  const auto file = GgufFile::from_bytes(writer.image(), "x");
  const std::string a = tensor_checksum(*file, *file->find_tensor("a"));
  EXPECT_EQ(a.size(), 16u);
  EXPECT_EQ(a, tensor_checksum(*file, *file->find_tensor("b")));
  EXPECT_NE(a, tensor_checksum(*file, *file->find_tensor("c")));
}

}  // namespace
}  // namespace s3d
