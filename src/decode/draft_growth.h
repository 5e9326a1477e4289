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
  std::span<const float> logits;  // [rows, draft_size] without the Markov head's term
  std::span<const float> hidden;  // [rows, d_model] after the output norm; read if there is a confidence head
  int rows = 0;
};

// Thread rule: one call at a time. `backend` must outlive it.
class DraftGrowth {
 public:
  DraftGrowth(Backend& backend, std::shared_ptr<const PackedAdapter> adapter);

  // Replaces `tree` by the most probable paths within `limits` that follow the token `last`; parents come first. No
  // path is longer than there are rows.
  void grow(const DraftRows& rows, TokenId last, const DraftLimits& limits, DraftTree& tree);

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
  void add_children(const DraftRows& rows, TokenId previous, int parent, int depth, float path, int width);
  Chances chances_of(const DraftRows& rows, int depth, float best) const;

  Backend& backend_;
  std::shared_ptr<const PackedAdapter> adapter_;
  std::vector<float> z_;       // [Markov rank] of one node
  std::vector<float> scored_;  // [draft_size] of one node
  std::vector<Candidate> heap_;
};

}  // namespace s3d
