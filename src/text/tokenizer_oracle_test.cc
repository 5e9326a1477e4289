// Compares tokenizers, id for id, with the ids that scripts/oracles/text_tokens.py saved for tests/data/text.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "file/gguf.h"
#include "text/tokenizer.h"

namespace s3d {
namespace {

using Json = nlohmann::json;

const std::string kData = std::string(S3D_SOURCE_DIR) + "/tests/data/text/";

std::string from_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(digits.find(c));
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return out;
}

// Texts of the corpus by name.
std::map<std::string, std::string> read_corpus() {
  std::map<std::string, std::string> corpus;
  std::ifstream in(kData + "corpus.jsonl");
  for (std::string line; std::getline(in, line);) {
    const Json entry = Json::parse(line);
    corpus[entry["name"]] = entry.contains("text") ? std::string(entry["text"]) : from_base64(entry["base64"]);
  }
  return corpus;
}

std::string cached_model(const std::string& name) {
  const char* own = std::getenv("S3D_CACHE");
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::filesystem::path folder = own != nullptr   ? std::filesystem::path(own)
                                 : xdg != nullptr ? std::filesystem::path(xdg) / "s3d"
                                                  : std::filesystem::path(home == nullptr ? "." : home) / ".cache/s3d";
  return (folder / "models" / (name + ".gguf")).string();
}

struct Case {
  std::string ids;  // NAME of ids-NAME.json
  std::string path;
  std::string pre;  // put in place of the file's pre-tokenizer if not empty
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.ids;
}

class TokenizerOracle : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const std::string& path = GetParam().path;
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent; scripts/fetch-model gets it";
    auto file = GgufFile::open(path);
    ASSERT_TRUE(file.ok()) << file.error().message;
    auto metadata = TokenizerMetadata::read(*file);
    ASSERT_TRUE(metadata.ok()) << metadata.error().message;
    if (!GetParam().pre.empty()) metadata->pre = GetParam().pre;
    auto tokenizer = Tokenizer::create(std::move(*metadata));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    tokenizer_.emplace(std::move(*tokenizer));
    std::ifstream in(kData + "ids-" + GetParam().ids + ".json");
    saved_ = Json::parse(in);
  }

  std::optional<Tokenizer> tokenizer_;
  Json saved_;
};

TEST_P(TokenizerOracle, IdsAreEqual) {
  const auto corpus = read_corpus();
  ASSERT_GT(corpus.size(), 300U);
  int compared = 0;
  for (const auto& [name, text] : corpus) {
    if (name.starts_with("ill_")) continue;
    for (const bool special : {false, true}) {
      const auto expected = saved_["entries"][name][special ? 1 : 0].get<std::vector<TokenId>>();
      EXPECT_EQ(tokenizer_->encode(text, false, special), expected) << name << ", parse_special " << special;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 2 * static_cast<int>(saved_["entries"].size()));
}

TEST_P(TokenizerOracle, BeginOfTextIsAddedWhereTheModelWantsIt) {
  EXPECT_EQ(tokenizer_->encode("Hello world", true, true), saved_["prompt"].get<std::vector<TokenId>>());
}

TEST_P(TokenizerOracle, EndTokensAreEqual) {
  std::vector<TokenId> ends;
  for (TokenId id = 0; id < tokenizer_->vocab_size(); ++id) {
    if (tokenizer_->is_end(id)) ends.push_back(id);
  }
  EXPECT_EQ(ends, saved_["ends"].get<std::vector<TokenId>>());
}

TEST_P(TokenizerOracle, PiecesAreEqual) {
  for (const auto& [id, piece] : saved_["pieces"].items()) {
    EXPECT_EQ(tokenizer_->piece(std::stoi(id), true), from_base64(piece)) << "token " << id;
  }
}

TEST_P(TokenizerOracle, DecodingGivesTheTextBack) {
  for (const auto& [name, text] : read_corpus()) {
    if (name.starts_with("broken_") || name.starts_with("ill_")) continue;
    const bool has_visible_blank = text.find("\xE2\x96\x81") != std::string::npos;  // becomes a blank
    const bool lossy = GetParam().ids.starts_with("smollm2") || GetParam().ids == "tiny-spm" || has_visible_blank;
    const std::string decoded = tokenizer_->decode(tokenizer_->encode(text, false, true), true);
    if (!lossy) {
      EXPECT_EQ(decoded, text) << name;
    }
  }
}

TEST_P(TokenizerOracle, IllFormedTextDoesNotFail) {
  for (const auto& [name, text] : read_corpus()) {
    if (name.starts_with("ill_")) {
      EXPECT_FALSE(tokenizer_->encode(text, false, true).empty()) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TokenizerOracle,
                         ::testing::Values(Case{"smollm2-135m", cached_model("smollm2-135m"), ""},
                                           Case{"qwen2.5-coder-0.5b", cached_model("qwen2.5-coder-0.5b"), ""},
                                           Case{"gemma3-270m", cached_model("gemma3-270m"), ""},
                                           Case{"tiny-gpt-2", kData + "tiny-bpe.gguf", "gpt-2"},
                                           Case{"tiny-default", kData + "tiny-bpe.gguf", "default"},
                                           Case{"tiny-llama-bpe", kData + "tiny-bpe.gguf", "llama-bpe"},
                                           Case{"tiny-qwen2", kData + "tiny-bpe.gguf", "qwen2"},
                                           Case{"tiny-smollm", kData + "tiny-bpe.gguf", "smollm"},
                                           Case{"tiny-spm", kData + "tiny-spm.gguf", ""}),
                         [](const auto& info) {
                           std::string name = info.param.ids;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace s3d
