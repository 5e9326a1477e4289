// One sequence that is being generated, and the round that advances several of them in one full pass.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/index.h"
#include "base/result.h"
#include "base/stopwatch.h"
#include "decode/drafter.h"
#include "decode/generate.h"
#include "decode/sampler.h"
#include "s3d/types.h"

namespace s3d {

// Between rounds all decided tokens but the last are committed in the KV cache. What the sequence refers to (backend,
// cache, options, callback) must outlive it. Thread rule: one call at a time.
class SequenceRun {
 public:
  SequenceRun(Backend& backend, KvCache& kv, SeqId seq, std::span<const TokenId> prompt, const DecodeOptions& options,
              const OnToken& on_token);

  Status check() const;  // prompt and options, before anything runs
  Status prefill();      // runs the prompt in chunks and decides the first token
  bool finished() const { return finished_; }
  Generation result() &&;

  // One round, in the order of these calls; round() below makes them.
  // Finishes if that was asked for; else proposes what may follow, when `sequences` of them share the KV cache.
  Status draft(int sequences);
  void add_rows(std::vector<Row>& rows) const;  // the last decided token and the tree
  int rows() const { return 1 + isize(tree_); }
  bool needs_state() const;
  // `logits` [rows(), vocab] and `hidden` [rows(), d_model] (empty unless needed) of the rows that were added. Decides
  // tokens along the tree while the target's own choice was drafted; commits their rows. Error: logits that are no
  // numbers; nothing is pending then, and the sequence is over.
  Status absorb(std::span<const float> logits, std::span<const float> hidden, double verify_seconds, int verify_rows);

 private:
  int context_limit() const;
  std::vector<Row> chunk(size_t end) const;
  Status prefill_chunk(size_t end);
  Status follow_rope_set();
  DraftLimits draft_limits(int sequences) const;
  // What the target chose: the rows whose logits decided a token, and the nodes that were it. There is one row more
  // than nodes, but for a sequence that finished with an accepted node: its row is not looked at, nor committed.
  struct Walk {
    std::vector<int> rows;
    std::vector<int> path;
  };
  Result<Walk> decide_along_tree(std::span<const float> logits);
  int child_with(int node, TokenId token) const;
  Result<TokenId> choose(std::span<const float> logits);
  void accept(TokenId token, bool drafted);
  void keep_state(std::span<const float> hidden, size_t row);
  int64_t compared_nodes(size_t depths) const;
  void count_round(const Walk& walk);
  void finish(FinishReason reason);
  bool cancelled() const { return options_.cancelled && options_.cancelled(); }

  Backend& backend_;
  KvCache& kv_;
  SeqId seq_;
  const DecodeOptions& options_;
  const OnToken& on_token_;
  Sampler sampler_;
  Sampler::Workspace workspace_;
  int context_;
  std::vector<TokenId> tokens_;  // prompt, then answer
  size_t n_prompt_;
  DraftTree tree_;            // of this round
  std::vector<float> state_;  // see DraftInput
  double draft_seconds_ = 0;  // of this round
  Stopwatch round_watch_;     // since its start
  bool finished_ = false;
  FinishReason reason_ = FinishReason::kStop;
  Timings timings_;
  SpecStats stats_;
};

// Advances every sequence that has not finished by at least one token, in one full pass. Error: of the pass; no
// sequence has pending rows then, and what was decided before stays valid.
Status round(Backend& backend, KvCache& kv, std::span<SequenceRun* const> sequences);

}  // namespace s3d
