#include "file/gguf.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/test_folder.h"
#include "file/gguf_test_writer.h"

namespace s3d {
namespace {

class GgufFileTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_ / name; }
  std::string write(const std::string& name, const std::vector<std::byte>& bytes) const {
    std::ofstream out(path(name), std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path(name);
  }

  TestFolder folder_;
};

// The error of opening `path`, which must name the path.
std::string open_error(const std::string& path) {
  const auto file = GgufFile::open(path);
  if (file.ok()) return "";
  EXPECT_NE(file.error().message.find(path), std::string::npos) << file.error().message;
  return file.error().message;
}

testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" lacks \"" << part << "\"";
}

GgufTestWriter sample() {
  GgufTestWriter writer;
  writer.key_u8("n.u8", 200);
  writer.key_i8("n.i8", -100);
  writer.key_u16("n.u16", 60000);
  writer.key_u32("n.u32", 4000000000u);
  writer.key_i32("n.i32", -5);
  writer.key_u64("n.u64", 1234567890123u);
  writer.key_u64("n.huge", ~uint64_t{0});
  writer.key_f32("r.f32", 0.5f);
  writer.key_f64("r.f64", -0.25);
  writer.key_bool("b.yes", true);
  writer.key_string("s.text", "line 1\nline 2");
  writer.key_strings("s.list", {"a", "", "c d"});
  writer.key_array<int16_t>("a.i16", GGUF_TYPE_INT16, {1, -2, 3});
  writer.key_array<float>("a.f32", GGUF_TYPE_FLOAT32, {1.5f, -2});
  writer.key_array<uint64_t>("a.huge", GGUF_TYPE_UINT64, {1, ~uint64_t{0}});
  writer.tensor_f32("m.weight", {4, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  writer.tensor_f32("v.weight", {3}, {7, 8, 9});
  writer.tensor("q.weight", GGML_TYPE_Q8_0, {32, 2}, std::vector<std::byte>(68));
  return writer;
}

GgufFile sample_file() {
  return std::move(GgufFile::from_bytes(sample().image(), "sample.gguf")).value();
}

TEST_F(GgufFileTest, OpensFromDisk) {
  const std::vector<std::byte> image = sample().image();
  const auto file = GgufFile::open(write("a.gguf", image));
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->path(), path("a.gguf"));
  EXPECT_EQ(file->file_bytes(), image.size());
  EXPECT_EQ(file->parts(), 1u);
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->tensors().size(), 3u);
}

TEST_F(GgufFileTest, TensorsHaveShapeTypeAndData) {
  const GgufFile file = sample_file();
  const auto m = file.tensor("m.weight");
  ASSERT_TRUE(m.ok());
  EXPECT_EQ((*m)->shape, (std::vector<int64_t>{4, 3}));
  EXPECT_EQ((*m)->cols(), 4);
  EXPECT_EQ((*m)->rows(), 3);
  EXPECT_EQ((*m)->bytes, 48u);
  float value = 0;
  std::memcpy(&value, (*m)->data + 11 * sizeof(float), sizeof(float));
  EXPECT_EQ(value, 11);
  const Tensor* v = file.find_tensor("v.weight");
  ASSERT_NE(v, nullptr);
  EXPECT_EQ(v->shape, (std::vector<int64_t>{3}));
  EXPECT_EQ(v->rows(), 1);
  const Tensor* q = file.find_tensor("q.weight");
  ASSERT_NE(q, nullptr);
  EXPECT_EQ(q->type, GGML_TYPE_Q8_0);
  EXPECT_EQ(q->bytes, 68u);
}

TEST_F(GgufFileTest, MissingTensorIsNamed) {
  const GgufFile file = sample_file();
  EXPECT_EQ(file.find_tensor("nothing"), nullptr);
  const auto tensor = file.tensor("nothing");
  ASSERT_FALSE(tensor.ok());
  EXPECT_TRUE(contains(tensor.error().message, "sample.gguf"));
  EXPECT_TRUE(contains(tensor.error().message, "nothing"));
}

TEST_F(GgufFileTest, IntegersOfEveryType) {
  const GgufFile file = sample_file();
  EXPECT_EQ(*file.integer("n.u8").value(), 200);
  EXPECT_EQ(*file.integer("n.i8").value(), -100);
  EXPECT_EQ(*file.integer("n.u16").value(), 60000);
  EXPECT_EQ(*file.integer("n.u32").value(), 4000000000);
  EXPECT_EQ(*file.integer("n.i32").value(), -5);
  EXPECT_EQ(*file.integer("n.u64").value(), 1234567890123);
  EXPECT_EQ(file.integer("absent").value(), std::nullopt);
  EXPECT_EQ(*file.integers("a.i16").value(), (std::vector<int64_t>{1, -2, 3}));
}

TEST_F(GgufFileTest, RealsBooleansStrings) {
  const GgufFile file = sample_file();
  EXPECT_EQ(*file.real("r.f32").value(), 0.5);
  EXPECT_EQ(*file.real("r.f64").value(), -0.25);
  EXPECT_EQ(*file.real("n.i32").value(), -5);
  EXPECT_EQ(*file.reals("a.f32").value(), (std::vector<double>{1.5, -2}));
  EXPECT_EQ(*file.reals("a.i16").value(), (std::vector<double>{1, -2, 3}));
  EXPECT_TRUE(*file.boolean("b.yes").value());
  EXPECT_EQ(*file.string("s.text").value(), "line 1\nline 2");
  EXPECT_EQ(*file.strings("s.list").value(), (std::vector<std::string>{"a", "", "c d"}));
  EXPECT_EQ(file.strings("absent").value(), std::nullopt);
}

TEST_F(GgufFileTest, WrongTypesAreErrorsThatNameTheKey) {
  const GgufFile file = sample_file();
  const auto integer = file.integer("s.text");
  ASSERT_FALSE(integer.ok());
  EXPECT_TRUE(contains(integer.error().message, "sample.gguf"));
  EXPECT_TRUE(contains(integer.error().message, "\"s.text\""));
  EXPECT_TRUE(contains(integer.error().message, "expected an integer"));
  EXPECT_FALSE(file.integer("n.huge").ok());
  EXPECT_FALSE(file.integer("r.f32").ok());
  EXPECT_FALSE(file.integer("b.yes").ok());
  EXPECT_FALSE(file.integer("a.i16").ok());
  EXPECT_FALSE(file.real("s.text").ok());
  EXPECT_FALSE(file.boolean("n.u8").ok());
  EXPECT_FALSE(file.string("s.list").ok());
  EXPECT_FALSE(file.strings("s.text").ok());
  EXPECT_FALSE(file.strings("a.i16").ok());
  EXPECT_FALSE(file.integers("a.f32").ok());
  EXPECT_FALSE(file.integers("a.huge").ok());
  EXPECT_FALSE(file.integers("s.list").ok());
  EXPECT_FALSE(file.reals("n.u8").ok());
}

TEST_F(GgufFileTest, ValuesAsText) {
  const GgufFile file = sample_file();
  EXPECT_EQ(file.keys().size(), 15u);
  EXPECT_EQ(file.keys()[0], "n.u8");
  EXPECT_EQ(file.value_text("n.huge"), "18446744073709551615");
  EXPECT_EQ(file.value_text("r.f32"), "0.5");
  EXPECT_EQ(file.value_text("b.yes"), "true");
  EXPECT_EQ(file.value_text("s.text"), "line 1\\nline 2");
  EXPECT_EQ(file.value_text("s.text", 4), "line...");
  EXPECT_EQ(file.value_text("s.list"), "[\"a\", \"\", \"c d\"]");
  EXPECT_EQ(file.value_text("a.i16"), "[1, -2, 3]");
  EXPECT_EQ(file.value_text("a.i16", 3), "[1, ...] (3 values)");
  EXPECT_EQ(file.value_text("absent"), "");
}

TEST_F(GgufFileTest, LongTextIsCutBetweenCharacters) {
  GgufTestWriter writer;
  writer.key_string("s", "aé€");
  const auto file = GgufFile::from_bytes(writer.image(), "x");
  EXPECT_EQ(file->value_text("s", 2), "a...");
  EXPECT_EQ(file->value_text("s", 3), "aé...");
  EXPECT_EQ(file->value_text("s", 6), "aé€");
}

TEST_F(GgufFileTest, BadPaths) {
  EXPECT_TRUE(contains(open_error(path("missing.gguf")), "no such file"));
  EXPECT_TRUE(contains(open_error(folder_.path()), "directory"));
  EXPECT_TRUE(contains(open_error(write("empty.gguf", {})), "empty"));
  EXPECT_TRUE(contains(open_error(write("text.gguf", std::vector<std::byte>(100, std::byte{'x'}))), "not a GGUF"));
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_TRUE(contains(open_error(path("pipe")), "not a regular file"));
  std::vector<std::byte> cut = sample().image();
  cut.resize(cut.size() - 1);
  EXPECT_TRUE(contains(open_error(write("cut.gguf", cut)), "q.weight"));
}

TEST_F(GgufFileTest, ReleasedPagesCanBeReadAgain) {
  GgufTestWriter writer;
  std::vector<float> values(100000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  writer.tensor_f32("big", {1000, 100}, values);
  const auto file = GgufFile::open(write("big.gguf", writer.image()));
  ASSERT_TRUE(file.ok());
  const Tensor* big = file->find_tensor("big");
  file->release_pages(*big);
  EXPECT_EQ(std::memcmp(big->data, values.data(), big->bytes), 0);
  GgufFile memory = sample_file();
  memory.release_pages(memory.tensors()[0]);
}

// Part `no` of `count`, with one tensor of its own.
GgufTestWriter split_part(int no, int count, int total) {
  GgufTestWriter writer;
  if (no == 0) writer.key_string("general.name", "whole");
  writer.key_u16("split.no", static_cast<uint16_t>(no));
  writer.key_u16("split.count", static_cast<uint16_t>(count));
  writer.key_i32("split.tensors.count", total);
  writer.tensor_f32(fmt::format("t{}", no), {2}, {static_cast<float>(no), 1});
  return writer;
}

TEST_F(GgufFileTest, SplitModelOpensFromAnyPart) {
  for (int i = 0; i < 3; ++i) write(fmt::format("m-{:05}-of-00003.gguf", i + 1), split_part(i, 3, 3).image());
  for (int i = 0; i < 3; ++i) {
    const auto file = GgufFile::open(path(fmt::format("m-{:05}-of-00003.gguf", i + 1)));
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->parts(), 3u);
    EXPECT_EQ(*file->string("general.name").value(), "whole");
    ASSERT_EQ(file->tensors().size(), 3u);
    for (int t = 0; t < 3; ++t) {
      float value = -1;
      std::memcpy(&value, file->find_tensor(fmt::format("t{}", t))->data, sizeof(value));
      EXPECT_EQ(value, static_cast<float>(t));
    }
    file->release_pages(file->tensors()[2]);
  }
}

TEST_F(GgufFileTest, MissingPartIsNamed) {
  write("m-00001-of-00003.gguf", split_part(0, 3, 3).image());
  write("m-00003-of-00003.gguf", split_part(2, 3, 3).image());
  const auto file = GgufFile::open(path("m-00001-of-00003.gguf"));
  ASSERT_FALSE(file.ok());
  EXPECT_TRUE(contains(file.error().message, "m-00002-of-00003.gguf"));
  EXPECT_TRUE(contains(file.error().message, "part 2 of the 3"));
}

TEST_F(GgufFileTest, SplitModelErrors) {
  EXPECT_TRUE(contains(open_error(write("renamed.gguf", split_part(1, 3, 3).image())), "-00002-of-00003.gguf"));
  EXPECT_TRUE(contains(open_error(write("impossible.gguf", split_part(3, 3, 3).image())), "impossible"));
  write("n-00001-of-00002.gguf", split_part(0, 2, 3).image());
  write("n-00002-of-00002.gguf", split_part(1, 2, 3).image());
  EXPECT_TRUE(contains(open_error(path("n-00001-of-00002.gguf")), "2 tensors, expected 3"));
  write("o-00001-of-00002.gguf", split_part(0, 2, 2).image());
  write("o-00002-of-00002.gguf", split_part(0, 2, 2).image());
  EXPECT_TRUE(contains(GgufFile::open(path("o-00001-of-00002.gguf")).error().message, "mixed up"));
  GgufTestWriter twin;
  twin.key_u16("split.no", 1);
  twin.key_u16("split.count", 2);
  twin.tensor_f32("t0", {2}, {0, 1});
  write("p-00001-of-00002.gguf", split_part(0, 2, 2).image());
  write("p-00002-of-00002.gguf", twin.image());
  EXPECT_TRUE(contains(open_error(path("p-00001-of-00002.gguf")), "in two parts"));
}

}  // namespace
}  // namespace s3d
