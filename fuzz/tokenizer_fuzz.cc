// Fuzz entry: any bytes as text for a byte-level and a SentencePiece-style tokenizer with small vocabularies, for the
// streams behind them, and as a chat template. The first byte chooses how to encode.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/chat_template.h"
#include "text/stream.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using s3d::StopMatcher;
using s3d::TokenId;
using s3d::Tokenizer;
using s3d::TokenizerMetadata;
using s3d::Utf8Stream;

std::string byte_character(int byte, char32_t& hidden) {
  const bool visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
  return s3d::utf8_encode(visible ? static_cast<char32_t>(byte) : hidden++);
}

TokenizerMetadata byte_pairs(const std::string& pre) {
  TokenizerMetadata m;
  m.model = "gpt2";
  m.pre = pre;
  char32_t hidden = 0x100;
  for (int byte = 0; byte < 256; ++byte) m.tokens.push_back(byte_character(byte, hidden));
  for (const char* text : {"aa", "aaaa", "ab", "\u0120a", "the", "th", "<|a|>", "<|a|><|a|>", "  "}) {
    m.tokens.emplace_back(text);
  }
  m.types.assign(m.tokens.size(), 1);
  m.types[262] = m.types[263] = 3;
  m.types[264] = 4;
  m.merges = {"a a", "aa aa", "a b", "\u0120 a", "t h", "th e"};
  return m;
}

TokenizerMetadata sentence_pieces() {
  TokenizerMetadata m;
  m.model = "llama";
  m.tokens = {"<unk>", "<s>", "</s>", "\u2581", "a", "aa", "aaaa", "\u2581a", "b", "ab", "é", "<|a|>"};
  m.types = {2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4};
  for (size_t i = 0; i < m.tokens.size(); ++i) m.scores.push_back(-static_cast<double>(i % 5));
  return m;
}

Tokenizer make(TokenizerMetadata metadata) {
  auto tokenizer = Tokenizer::create(std::move(metadata));
  S3D_CHECK(tokenizer.ok(), tokenizer.error().message);
  return std::move(*tokenizer);
}

const std::vector<Tokenizer>& tokenizers() {
  static const std::vector<Tokenizer> kAll = [] {
    std::vector<Tokenizer> all;
    for (const char* pre : {"smollm", "qwen2", "llama-bpe", "gpt-2", "default"}) all.push_back(make(byte_pairs(pre)));
    all.push_back(make(sentence_pieces()));
    return all;
  }();
  return kAll;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t choice = data[0] % tokenizers().size();
  const Tokenizer& tokenizer = tokenizers()[choice];
  const std::vector<TokenId> ids = tokenizer.encode(text, (data[0] & 0x40) != 0, (data[0] & 0x80) != 0);
  const std::string decoded = tokenizer.decode(ids, true);
  const bool whole = s3d::utf8_valid(text);
  if (whole && choice < 5) S3D_CHECK(decoded == text, "byte-level BPE must give well-formed text back");

  Utf8Stream utf8;
  StopMatcher stops({"the", "a\nb"});
  std::string shown;
  for (const TokenId id : ids) {
    S3D_CHECK(id >= 0 && id < tokenizer.vocab_size());
    const std::string characters = utf8.push(tokenizer.piece(id, true));
    S3D_CHECK(s3d::utf8_valid(characters));
    shown += stops.push(characters);
  }
  shown += stops.push(utf8.finish());
  shown += stops.finish();
  if (whole && choice < 5) S3D_CHECK(std::string_view(decoded).substr(0, shown.size()) == shown);

  const auto chat = s3d::ChatTemplate::create(text, "");
  if (chat.ok()) (void)chat->render(s3d::chat_context({{"user", std::string(text)}}));
  return 0;
}
