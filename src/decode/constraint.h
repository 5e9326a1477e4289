// What an answer may look like: which tokens may come next.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "s3d/types.h"

namespace s3d {

// A pure function of the tokens that were pushed: the same tokens give the same mask, whatever was pushed and popped
// in between. So an answer that is drafted is the same as one that is not, if the mask is applied to the logits of each
// row of the verified path before its token is chosen. One object for each sequence. Thread rule: one call at a time.
class Constraint {
 public:
  virtual ~Constraint() = default;

  // Bit t % 32 of word t / 32 says whether token t may come next. `mask`: [(vocab + 31) / 32] words, all of them
  // written; bits beyond the vocabulary are 0. False: every token may come, and nothing was written. No bit is set:
  // nothing can follow, because an end token was pushed or because no token spells what has to follow; then the answer
  // is over. End tokens may come only where the text may end.
  virtual bool allowed(std::span<uint32_t> mask) = 0;

  // `token` follows. False: it may not; nothing has changed.
  virtual bool push(TokenId token) = 0;

  // Takes the last `count` pushed tokens back; at most as many as were pushed.
  virtual void pop(int count) = 0;

  // Replaces `tokens` by those of the text that has to follow, one after the other, at most `most`; empty where there
  // is a choice, or where none is known. Each of them may come after those before it. The text is sure; that the model
  // cuts it into these tokens is only likely: a draft, not a decision. What is pushed stays as it is.
  virtual void forced(int most, std::vector<TokenId>& tokens) = 0;
};

}  // namespace s3d
