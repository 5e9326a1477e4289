// SentencePiece-style encoding: characters joined pair by pair, the token with the best score first, bytes for the
// characters that are no tokens.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/vocab.h"

namespace s3d {

// Thread rule: const after create().
class SpmModel {
 public:
  // Errors: scores that do not fit the vocabulary or are no numbers, byte tokens with a wrong text, neither byte tokens
  // nor an unknown token.
  static Result<SpmModel> create(const Vocab& vocab, const std::vector<double>& scores);

  // Appends the ids of `text` (any bytes, blanks as they are) to `out`. O(n log n).
  void encode(const Vocab& vocab, std::string_view text, std::vector<TokenId>& out) const;

  // The bytes behind the text of a normal or byte token.
  static std::string decode(std::string_view text, TokenType type);

  // The byte of "<0xHH>", -1 if it is none.
  static int parse_byte(std::string_view text);

 private:
  struct Candidate;
  class Sentence;
  SpmModel() = default;
  void append_bytes(const Vocab& vocab, std::string_view character, std::vector<TokenId>& out) const;

  std::vector<float> scores_;         // of each id; empty = all 0
  std::array<TokenId, 256> bytes_{};  // the token of each byte, -1 = none
};

}  // namespace s3d
