#include "train/dataset.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "base/test_folder.h"
#include "train/test_models.h"
#include "train/text_lines.h"

namespace s3d::train {
namespace {

void write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string error_of(const std::string& path) {
  const auto data = read_dataset({path}, 64, 1000);
  return data.ok() ? "" : data.error().message;
}

TEST(PackedText, IsReadAsTheTextItWasMadeOf) {
  const TestFolder folder;
  write_dataset(folder / "text.jsonl", random_dataset(40, 5, 30, 64));
  const Dataset text = read_dataset({folder / "text.jsonl"}, 64, 1000).value();
  const std::string packed = pack_text(text, {"tiny", "12ab", "made by hand"});
  write(folder / "text.zst", packed);
  const Dataset again = read_dataset({folder / "text.zst"}, 64, 1000).value();
  EXPECT_EQ(again.hash, text.hash);
  ASSERT_EQ(again.sequences.size(), text.sequences.size());
  for (size_t i = 0; i < text.sequences.size(); ++i) {
    EXPECT_EQ(again.sequences[i].tokens, text.sequences[i].tokens);
    EXPECT_EQ(again.sequences[i].prompt_length, text.sequences[i].prompt_length);
    EXPECT_EQ(again.sequences[i].record_at, -1);
  }
  EXPECT_LT(packed.size(), std::filesystem::file_size(folder / "text.jsonl") / 2);
}

TEST(PackedText, TellsWhereItIsFrom) {
  const TestFolder folder;
  write(folder / "text.jsonl", R"({"run":"seed 3","prompt_tokens":[1,2],"answer_tokens":[3,4,5],"answer":"x"})");
  const Dataset text = read_dataset({folder / "text.jsonl"}, 64, 1000).value();
  write(folder / "text.zst", pack_text(text, {"tiny", "12ab", "by hand"}));
  TextLines lines = TextLines::open(folder / "text.zst").value();
  std::string line;
  ASSERT_TRUE(lines.next(line).value());
  EXPECT_EQ(nlohmann::json::parse(line),
            nlohmann::json::parse(R"({"text_of":"tiny","fingerprint":"12ab","runs":["seed 3"],"sequences":1,
                                      "answer_tokens":3,"note":"by hand"})"));
  ASSERT_TRUE(lines.next(line).value());
  EXPECT_EQ(line, R"({"answer_tokens":[3,4,5],"prompt_tokens":[1,2]})");
  EXPECT_FALSE(lines.next(line).value());
}

TEST(PackedText, DamageIsFoundWhereverItIs) {
  const TestFolder folder;
  const std::string path = folder / "text.zst";
  const std::string whole = pack_text(random_dataset(20, 5, 30, 64), {"tiny", "12ab", ""});
  write(path, whole);
  const uint64_t hash = read_dataset({path}, 64, 1000).value().hash;
  size_t found = 0, tried = 0;
  for (size_t at = 4; at < whole.size(); at += 7, ++tried) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    write(path, damaged);
    const auto read = read_dataset({path}, 64, 1000);
    EXPECT_TRUE(!read.ok() || read->hash == hash) << at;  // some bits of a frame tell nothing
    found += read.ok() ? 0 : 1;
  }
  EXPECT_GT(found, tried * 9 / 10);
  for (size_t size = 5; size < whole.size(); size += 11) {
    write(path, whole.substr(0, size));
    EXPECT_THAT(error_of(path), testing::HasSubstr("cut off")) << size;
  }
}

TEST(TextLines, AreThoseOfAPlainFile) {
  const TestFolder folder;
  const std::string text = "a\n\nb" + std::string(500000, 'c') + "\nlast";
  for (const std::string& bytes :
       {text, compressed(text), compressed(text.substr(0, 9)) + compressed(text.substr(9))}) {
    write(folder / "lines", bytes);
    TextLines lines = TextLines::open(folder / "lines").value();
    std::string line, all;
    for (int count = 0; lines.next(line).value(); ++count) all += (count > 0 ? "\n" : "") + line;
    EXPECT_EQ(all, text);
  }
}

TEST(TextLines, ALineWithoutAnEndIsRefused) {
  const TestFolder folder;
  const std::string bytes = compressed(std::string(TextLines::kMaxLine + (1 << 20), 'x'));
  EXPECT_LT(bytes.size(), 1U << 20);
  write(folder / "lines", bytes);
  TextLines lines = TextLines::open(folder / "lines").value();
  std::string line;
  const auto next = lines.next(line);
  ASSERT_FALSE(next.ok());
  EXPECT_THAT(next.error().message, testing::HasSubstr("64 MiB"));
}

}  // namespace
}  // namespace s3d::train
