// Byte-level byte-pair encoding: the bytes of a word, joined pair by pair in the order of the merges.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "text/vocab.h"

namespace s3d {

// Thread rule: const after create().
class BpeModel {
 public:
  // `merges`: "left right", the best first. `whole_words`: a word that is a token is not put together from pieces.
  // Errors: no merges, a merge without a blank, one whose parts or whole are no tokens.
  static Result<BpeModel> create(const Vocab& vocab, const std::vector<std::string>& merges, bool whole_words);

  // Appends the ids of a word (any bytes) to `out`. A byte that has no token is left out. O(n log n).
  void encode(const Vocab& vocab, std::string_view word, std::vector<TokenId>& out) const;

  // The bytes behind the text of a normal token; characters that stand for no byte are kept as they are.
  static std::string decode(std::string_view text);

 private:
  struct Merge {
    int32_t rank;
    TokenId whole;
  };
  struct Candidate;
  class Word;
  BpeModel() = default;
  const Merge* find(TokenId left, TokenId right) const;

  std::array<TokenId, 256> bytes_{};            // the token of each byte, -1 = none
  std::unordered_map<uint64_t, Merge> merges_;  // key: the two ids, left in the high half
  bool whole_words_ = false;
};

}  // namespace s3d
