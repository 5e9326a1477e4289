#include "file/gguf_scan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "file/gguf.h"
#include "file/gguf_test_writer.h"

namespace s3d {
namespace {

std::vector<float> ramp(size_t n) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i);
  return values;
}

// A small correct file with every kind of value.
GgufTestWriter good() {
  GgufTestWriter writer;
  writer.key_string("general.architecture", "test");
  writer.key_u32("test.number", 7);
  writer.key_strings("test.words", {"one", "", "three"});
  writer.key_array<int16_t>("test.shorts", GGUF_TYPE_INT16, {1, -2, 3});
  writer.tensor_f32("a.weight", {4, 3}, ramp(12));
  writer.tensor_f32("b.weight", {5}, ramp(5));
  return writer;
}

// The message of scanning `writer`'s image; "" when it is accepted. Every image also goes through GgufFile, which
// must agree: nothing that passes the scan may be refused or die in ggml's reader.
std::string message_of(const std::vector<std::byte>& image) {
  const Status status = scan_gguf(image, "test.gguf");
  const auto file = GgufFile::from_bytes(image, "test.gguf");
  EXPECT_EQ(status.ok(), file.ok());
  return status.ok() ? "" : status.error().message;
}
std::string message_of(const GgufTestWriter& writer) {
  return message_of(writer.image());
}

// The parts are copied: one may be a temporary's text, which would not outlive the start of the loop.
#define EXPECT_REFUSED(writer, ...)                                                        \
  do {                                                                                     \
    const std::string message = message_of(writer);                                        \
    for (const std::string& part : std::vector<std::string>{__VA_ARGS__}) {                \
      EXPECT_NE(message.find(part), std::string::npos) << "message: \"" << message << '"'; \
    }                                                                                      \
    EXPECT_EQ(message.find("test.gguf: "), 0u) << message;                                 \
  } while (false)

TEST(GgufScan, AcceptsGoodFiles) {
  EXPECT_EQ(message_of(good()), "");
  GgufTestWriter version2 = good();
  version2.version = 2;
  EXPECT_EQ(message_of(version2), "");
  EXPECT_EQ(message_of(GgufTestWriter()), "");  // no keys, no tensors
}

TEST(GgufScan, RefusesWrongMagicAndVersions) {
  EXPECT_REFUSED(std::vector<std::byte>(), "empty");
  EXPECT_REFUSED(std::vector<std::byte>(3, std::byte{'G'}), "not a GGUF file");
  GgufTestWriter writer = good();
  writer.magic = "GGML";
  EXPECT_REFUSED(writer, "not a GGUF file");
  writer.magic = "GGUF";
  writer.version = 1;
  EXPECT_REFUSED(writer, "version 1", "convert");
  writer.version = 0;
  EXPECT_REFUSED(writer, "version 0");
  writer.version = 4;
  EXPECT_REFUSED(writer, "version 4", "2 and 3");
  writer.version = 0x03000000;
  EXPECT_REFUSED(writer, "big-endian");
}

TEST(GgufScan, RefusesEveryTruncation) {
  const std::vector<std::byte> image = good().image();
  for (size_t size = 0; size < image.size(); ++size) {
    const std::vector<std::byte> cut(image.begin(), image.begin() + size);
    const std::string message = message_of(cut);
    EXPECT_NE(message, "") << "cut to " << size;
    if (size < 4) continue;  // not recognised as GGUF
    EXPECT_NE(message.find("truncated"), std::string::npos) << size << ": " << message;
  }
}

TEST(GgufScan, TruncatedDataNamesTensorAndBytes) {
  std::vector<std::byte> image = good().image();
  const size_t size = image.size();
  image.pop_back();
  const std::string needed = std::to_string(size);  // named: the macro keeps only the pointers
  const std::string found = std::to_string(size - 1);
  EXPECT_REFUSED(image, "b.weight", needed.c_str(), found.c_str(), "download");
}

TEST(GgufScan, RefusesLyingCounts) {
  for (const uint64_t count : {uint64_t{7}, uint64_t{4000}, uint64_t{1} << 40, ~uint64_t{0}}) {
    GgufTestWriter keys = good();
    keys.n_keys = count;
    EXPECT_NE(message_of(keys), "") << count;
    GgufTestWriter tensors = good();
    tensors.n_tensors = count;
    EXPECT_NE(message_of(tensors), "") << count;
  }
  GgufTestWriter writer = good();
  writer.n_tensors = ~uint64_t{0};
  EXPECT_REFUSED(writer, "18446744073709551615 tensors");
}

TEST(GgufScan, RefusesLyingStringLengths) {
  for (const uint64_t length : {uint64_t{100000}, uint64_t{1} << 62, ~uint64_t{0}}) {
    GgufTestWriter value = good();
    value.begin_key("test.text", GGUF_TYPE_STRING);
    GgufTestWriter::put(value.metadata, length);
    EXPECT_REFUSED(value, "test.text", "truncated");
    GgufTestWriter key = good();
    GgufTestWriter::put(key.metadata, length);
    ++key.n_keys;
    EXPECT_REFUSED(key, "metadata key 5", "truncated");
  }
}

TEST(GgufScan, RefusesLyingArrays) {
  for (const uint64_t count : {uint64_t{100000}, uint64_t{1} << 61, ~uint64_t{0}}) {
    for (const uint32_t type : {GGUF_TYPE_UINT8, GGUF_TYPE_FLOAT64, GGUF_TYPE_STRING}) {
      GgufTestWriter writer = good();
      writer.begin_array("test.list", type, count);
      EXPECT_REFUSED(writer, "test.list");
    }
  }
  GgufTestWriter nested = good();
  nested.begin_array("test.list", GGUF_TYPE_ARRAY, 1);
  EXPECT_REFUSED(nested, "test.list", "array of arrays");
}

TEST(GgufScan, RefusesUnknownValueTypes) {
  for (const uint32_t type : {13u, 255u, 0xffffffffu}) {
    GgufTestWriter scalar = good();
    scalar.begin_key("test.odd", type);
    EXPECT_REFUSED(scalar, "test.odd", "unknown type");
    GgufTestWriter array = good();
    array.begin_array("test.odd", type, 0);
    EXPECT_REFUSED(array, "test.odd", "unknown type");
  }
}

TEST(GgufScan, RefusesBadNames) {
  GgufTestWriter twice = good();
  twice.key_u32("test.number", 8);
  EXPECT_REFUSED(twice, "test.number", "twice");
  GgufTestWriter empty = good();
  empty.key_u32("", 8);
  EXPECT_REFUSED(empty, "empty");
  GgufTestWriter zero = good();
  zero.key_u32(std::string_view("a\0b", 3), 8);
  EXPECT_REFUSED(zero, "zero byte", "a?b");
  GgufTestWriter tensor_twice = good();
  tensor_twice.tensor_f32("a.weight", {1}, {0});
  EXPECT_REFUSED(tensor_twice, "a.weight", "twice");
  GgufTestWriter long_name = good();
  long_name.tensor_f32(std::string(64, 'x'), {1}, {0});
  EXPECT_REFUSED(long_name, "64 bytes");
  GgufTestWriter longest_name = good();
  longest_name.tensor_f32(std::string(63, 'x'), {1}, {0});
  EXPECT_EQ(message_of(longest_name), "");
}

TEST(GgufScan, RefusesBadAlignment) {
  for (const uint32_t alignment : {0u, 3u, 48u}) {
    GgufTestWriter writer;
    writer.key_u32("general.alignment", alignment);
    EXPECT_REFUSED(writer, "general.alignment", "power of two");
  }
  GgufTestWriter type;
  type.key_u64("general.alignment", 32);
  EXPECT_REFUSED(type, "general.alignment", "uint32");
  GgufTestWriter huge = good();
  huge.key_u32("general.alignment", 0x80000000u);
  EXPECT_NE(message_of(huge), "");
  GgufTestWriter other;
  other.alignment = 128;
  other.key_u32("general.alignment", 128);
  other.tensor_f32("a", {3}, ramp(3));
  other.tensor_f32("b", {3}, ramp(3));
  EXPECT_EQ(message_of(other), "");
}

TEST(GgufScan, RefusesBadShapes) {
  GgufTestWriter dims = good();
  dims.tensor_entry("c", GGML_TYPE_F32, {1, 1, 1, 1, 1}, 96);
  EXPECT_REFUSED(dims, "\"c\"", "5 dimensions");
  for (const uint64_t extent : {uint64_t{0}, ~uint64_t{0}, uint64_t{1} << 63}) {
    GgufTestWriter writer = good();
    writer.tensor_entry("c", GGML_TYPE_F32, {4, extent}, 96);
    EXPECT_REFUSED(writer, "\"c\"", "impossible");
  }
  GgufTestWriter overflow = good();
  overflow.tensor_entry("c", GGML_TYPE_F32, {uint64_t{1} << 32, uint64_t{1} << 32}, 96);
  EXPECT_REFUSED(overflow, "\"c\"", "impossible");
  GgufTestWriter bytes = good();
  bytes.tensor_entry("c", GGML_TYPE_F32, {uint64_t{1} << 61, 2}, 96);
  EXPECT_REFUSED(bytes, "\"c\"", "more bytes than");
  GgufTestWriter large = good();
  large.tensor_entry("c", GGML_TYPE_F32, {uint64_t{1} << 40}, 96);
  EXPECT_REFUSED(large, "\"c\"", "truncated");
  GgufTestWriter block = good();
  block.tensor_entry("c", GGML_TYPE_Q4_0, {33}, 96);
  EXPECT_REFUSED(block, "\"c\"", "33", "multiple of 32");
}

TEST(GgufScan, RefusesUnknownTensorTypes) {
  for (const uint32_t type : {4u, 5u, 31u, 33u, 36u, static_cast<uint32_t>(GGML_TYPE_COUNT), 0xffffffffu}) {
    GgufTestWriter writer = good();
    writer.tensor_entry("c", type, {256}, 96);
    EXPECT_REFUSED(writer, "\"c\"", "type " + std::to_string(type));
  }
}

TEST(GgufScan, RefusesBadOffsets) {
  for (const uint64_t offset : {uint64_t{1}, uint64_t{97}, ~uint64_t{0}}) {
    GgufTestWriter writer = good();
    writer.tensor_entry("c", GGML_TYPE_F32, {4}, offset);
    EXPECT_REFUSED(writer, "\"c\"", "multiple of the alignment");
  }
  GgufTestWriter overlap = good();
  overlap.tensor_entry("c", GGML_TYPE_F32, {4}, 32);
  EXPECT_REFUSED(overlap, "\"c\"", "overlaps", "expected 96");
  for (const uint64_t offset : {uint64_t{128}, uint64_t{1} << 63}) {
    GgufTestWriter gap = good();
    gap.tensor_entry("c", GGML_TYPE_F32, {4}, offset);
    EXPECT_REFUSED(gap, "\"c\"", "gap");
  }
}

TEST(GgufScan, ManyHugeTensorsCannotOverflowTheSum) {
  GgufTestWriter writer;
  uint64_t offset = 0;
  for (int i = 0; i < 4; ++i) {
    writer.tensor_entry(fmt::format("t{}", i), GGML_TYPE_F32, {uint64_t{1} << 60}, offset);
    offset += uint64_t{1} << 62;
  }
  EXPECT_REFUSED(writer, "beyond what can be addressed");
}

// Every byte of a small file set to a few hostile values: the scan and ggml's reader must agree and not die.
TEST(GgufScan, SurvivesEveryByteChanged) {
  const std::vector<std::byte> image = good().image();
  for (size_t i = 0; i < image.size(); ++i) {
    for (const int value : {0x00, 0x01, 0x09, 0x7f, 0x80, 0xff}) {
      std::vector<std::byte> damaged = image;
      damaged[i] = static_cast<std::byte>(value);
      message_of(damaged);
    }
  }
}

}  // namespace
}  // namespace s3d
