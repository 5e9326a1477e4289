// What the tests of this folder share: where the data and the models lie, and vocabularies made in memory.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/vocab.h"

namespace s3d {

inline std::string text_data(const std::string& name) {
  return std::string(S3D_SOURCE_DIR) + "/tests/data/text/" + name;
}

inline nlohmann::json read_json(const std::string& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

// Where scripts/fetch-model puts a model.
inline std::string cached_model(const std::string& name) {
  const char* own = std::getenv("S3D_CACHE");
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::filesystem::path folder = own != nullptr ? std::filesystem::path(own)
                                       : xdg != nullptr
                                           ? std::filesystem::path(xdg) / "s3d"
                                           : std::filesystem::path(home == nullptr ? "." : home) / ".cache/s3d";
  return (folder / "models" / (name + ".gguf")).string();
}

// A byte-level vocabulary: all bytes (id = place in the alphabet below), then "ab", "abc" and three special tokens.
inline TokenizerMetadata tiny_bpe() {
  TokenizerMetadata m;
  m.model = "gpt2";
  m.pre = "gpt-2";
  char32_t hidden = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const auto c = visible ? static_cast<char32_t>(byte) : hidden++;
    m.tokens.push_back(c < 0x80 ? std::string(1, static_cast<char>(c))
                                : std::string{static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 63))});
  }
  for (const char* text : {"ab", "abc", "<|end|>", "<|end|><|end|>", "<user>"}) m.tokens.emplace_back(text);
  m.types.assign(m.tokens.size(), 1);
  m.types[258] = m.types[259] = 3;
  m.types[260] = 4;
  m.merges = {"a b", "ab c"};
  m.bos = 258;
  m.eos = 258;
  return m;
}

// A SentencePiece-style vocabulary: <unk>, <s>, </s>, 256 bytes (id = byte + 3), then pieces with scores.
inline TokenizerMetadata tiny_spm() {
  TokenizerMetadata m;
  m.model = "llama";
  m.tokens = {"<unk>", "<s>", "</s>"};
  m.types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    constexpr const char* kDigits = "0123456789ABCDEF";
    m.tokens.push_back(std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">");
    m.types.push_back(6);
  }
  for (const char* text : {"\xE2\x96\x81", "a", "b", "ab",
                           "\xE2\x96\x81"
                           "ab",
                           "aa", "aaaa"}) {
    m.tokens.emplace_back(text);
    m.types.push_back(1);
  }
  m.scores.assign(m.tokens.size(), 0.0);
  for (size_t id = 259; id < m.tokens.size(); ++id) m.scores[id] = -static_cast<double>(id);
  return m;
}

}  // namespace s3d
