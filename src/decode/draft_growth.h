// From the logits of masks to a tree of tokens: what drafts with an adapter have in common (docs/adapter.md).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "decode/drafter.h"

namespace s3d {

class PackedAdapter;

// Logits of the rows of a draft. Row j guesses the token of depth j.
struct DraftRows {
  std::span<const float> logits;  // [rows, draft_size] without the Markov head's term; empty: the backend kept them
  std::span<const float> hidden;  // [rows, d_model] after the output norm; read if there is a confidence head
  int rows = 0;
  int first_kept = 0;  // as in PassOutput
};

// Thread rule: one call at a time. `backend` must outlive it.
class DraftGrowth {
 public:
  DraftGrowth(Backend& backend, std::shared_ptr<const PackedAdapter> adapter);

  // Replaces `tree` by the most probable paths within `limits` that follow the token `last`; parents come first. No
  // path is longer than there are rows. Error: the device failed.
  Status grow(const DraftRows& rows, TokenId last, const DraftLimits& limits, DraftTree& tree);

 private:
  // A token that may be added to the tree.
  struct Candidate {
    DraftNode node;
    int depth;   // 0 for a child of the root
    float path;  // product of the probabilities from the root on
  };
  // What the best token's probability is taken to be, and the factor of those of the others.
  struct Chances {
    float best, others;
  };

  static bool less_likely(const Candidate& a, const Candidate& b);
  Status add_children(const DraftRows& rows, TokenId previous, int parent, int depth, float path);
  Result<int> choose(const DraftRows& rows, TokenId previous, int depth);
  Chances chances_of(const DraftRows& rows, int depth, int choice, float best) const;

  Backend& backend_;
  std::shared_ptr<const PackedAdapter> adapter_;
  std::vector<Candidate> heap_;
  int depths_ = 0, width_ = 1;  // of the tree in progress
  // The choices at the depths from `chain_begin_` on, of which each follows the best token of the one before it.
  Choices chain_;
  int chain_begin_ = 0;
  std::vector<TokenId> chain_previous_;  // [depths of it] the token that each follows
};

}  // namespace s3d
