// What a model often says after one or two tokens, whatever the prompt: the smallest of its habits (llama.cpp's static
// lookup cache and the global tree of SuffixDecoding are the same idea with more memory).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "s3d/types.h"

namespace s3d {

struct Ngrams;

// Eight bytes a slot, three quarters of them filled. Thread rule: const.
class NgramTable {
 public:
  // `ngrams`: of an opened adapter. Of entries for the same tokens the first counts; chances are kept to 1/255.
  explicit NgramTable(const Ngrams& ngrams);

  struct Guess {
    TokenId token;
    float chance;  // 0: nothing is known
  };
  // What follows the tokens `before` (-1: there is none) and `last`: by both, else by `last` alone.
  Guess after(TokenId before, TokenId last) const;
  size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    uint32_t check = 0;  // the rest of the key's hash: two keys in 2^32 are taken for one another
    uint32_t token : 24 = 0;
    uint32_t chance : 8 = 0;  // 0: empty
  };
  // The slot of a key, or the empty one where it would be.
  size_t find(TokenId before, TokenId last, uint32_t& check) const;

  std::vector<Slot> slots_;
};

}  // namespace s3d
