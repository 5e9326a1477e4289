// One sequence that is being run: what was decided of its text, and what it wants of the next pass. Internal to the
// scheduler.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/index.h"
#include "base/result.h"
#include "base/stopwatch.h"
#include "decode/proposal.h"
#include "decode/request.h"
#include "decode/row_allocator.h"
#include "decode/sampler.h"
#include "decode/speculator.h"
#include "s3d/types.h"

namespace s3d {

// The rows of a pass, as sequences add them.
struct PassRows {
  std::vector<Row> rows;
  std::vector<Want> want;   // [rows]
  int wanted = 0;           // rows with outputs
  std::vector<int> taps;    // of all sequences, rising: Block::taps
  std::vector<int> tapped;  // rows of sequences with taps: Block::tapped

  void clear();
  void add(const Row& row, Want wants, std::span<const int> taps_of_row = {});
};

// What a pass came to for one sequence: the outputs of its rows that wanted some, in their order.
struct PassShare {
  std::span<const float> logits;     // [wanted, vocab], or empty where choices are there instead
  std::span<const float> hidden;     // [wanted, d_model], or empty
  std::span<const float> tapped;     // [its rows but riders, taps of the pass, d_model], or empty
  std::span<const int> taps;         // of the pass
  const Choices* choices = nullptr;  // of the whole pass, or null
  int wanted = 0;
  int first = 0;       // of the rows in `choices`
  double seconds = 0;  // of the pass
  int rows = 0;        // of all sequences in it
};

// A small state machine: it waits for memory, then runs its prompt, then decodes, until it has finished; when its
// memory is taken it waits again, and its answer so far is run like a prompt. Between passes all decided tokens but the
// last are committed in the KV cache once the prompt is through. Errors are its own. Thread rule: one call at a time.
class SequenceRun {
 public:
  enum class Phase : uint8_t { kWaiting, kPrefilling, kDecoding, kFinished };

  SequenceRun(const ModelConfig& config, KvCache& kv, Request request);

  Status check() const;  // prompt and options, before anything runs
  Phase phase() const;
  bool finished() const { return finished_; }
  bool failed() const { return error_.has_value(); }
  const Request& request() const { return request_; }          // its prompt has become tokens()
  std::span<const TokenId> tokens() const { return tokens_; }  // all that are decided, the prompt's first
  RopeSet rope_set() const;                                    // of a text of that length
  SeqId seq() const { return kept() ? request_.kept_sequence : own_.id(); }
  std::span<const TokenId> committed() const;  // tokens whose keys and values are in the cache
  int answer_tokens() const { return isize(tokens_) - static_cast<int>(n_prompt_); }
  Result<Generation> take_result();  // of a finished one, once: its text, or its error

  // Gets memory: a sequence that holds a beginning of its tokens, without the last one. Nothing for a kept one.
  void begin(KvSequence sequence);
  bool kept() const { return request_.kept_sequence >= 0; }
  void give_up_memory();  // waits again
  void finish(FinishReason reason);
  void fail(Error error);

  // Before each pass: asks whether it was cancelled, and follows the set of rotations.
  void prepare();

  // ---- Its prompt ----
  int prompt_rows() const;       // that are not run yet, and must be before it decodes
  int most_prompt_rows() const;  // of them, in one pass
  // Rows with logits of all prompts in one pass: bounds the backend's buffer (64 * 262144 tokens * 4 bytes = 64 MiB).
  static constexpr int kScoredRows = 64;
  int scored_rows(int count) const;  // of the next `count` rows of its prompt
  void add_prompt_rows(int count, PassRows& pass) const;
  void absorb_prompt(int count, const PassShare& share);

  // ---- A round ----
  // Asks what may follow: at most `rows` rows in the pass. Afterwards there is a proposal, or rows in draft_pass().
  Status propose(const RoundLoad& load, int64_t rows);
  const DraftPass& draft_pass() const { return proposal_.pass; }
  // How many of a row's best tokens it must see of the next pass; 0: logits.
  int needed_best() const;
  // Of the draft pass that it shared with `sharers` - 1 others, of `rows` rows in all; null: there was no memory for
  // it. Afterwards there is a proposal, or there are rows in draft_pass() again.
  void take_draft(const PassOutput* mine, double seconds, int rows, int sharers);
  void settle_proposal();  // as the constraint allows; afterwards wish() and keep() may be called
  RowWish wish(std::vector<double>& paths) const;
  void keep(std::span<const int> nodes) { keep_nodes(proposal_, nodes); }
  int draft_nodes() const { return isize(proposal_.tree); }
  int rider_rows() const { return proposal_.rider_rows(); }
  int round_rows() const { return 1 + draft_nodes() + rider_rows(); }
  const PackedAdapter* riders() const { return proposal_.riders.empty() ? nullptr : proposal_.rider_adapter; }
  void drop_riders() { proposal_.riders.clear(); }
  void add_rows(PassRows& pass) const;  // the last decided token, the tree, and what rides behind them
  // Decides tokens along the tree while the target's own choice was drafted; commits their rows. `step`: since the
  // round's beginning.
  void absorb(const PassShare& share, const Stopwatch& step);

  bool needs_hidden() const;
  std::span<const int> taps() const;  // of its speculator
  bool may_draft() const { return speculator() != nullptr; }
  double usual_tokens() const { return usual_tokens_; }  // of a round
  int usual_rows() const { return usual_rows_; }

 private:
  // What the target chose: the rows whose logits decided a token, and the nodes that were it. There is one row more
  // than nodes, but for a sequence that finished with an accepted node: its row is not looked at, nor committed.
  struct Walk {
    std::vector<int> rows;
    std::vector<int> path;
  };
  // Who proposed a token.
  struct Origin {
    std::string_view source;
    int depth = 0;
    float probability = 0;
    bool drafted = false;
  };

  int context_limit() const;
  size_t prompt_end() const;
  DraftLimits draft_limits(int64_t rows) const;
  Speculator* speculator() const;
  Status decide_along_tree(const PassShare& share, Walk& walk);
  Status decide_first(const PassShare& share);
  Result<std::optional<TokenId>> choose(const PassShare& share, size_t row);
  Result<std::optional<TokenId>> choose(std::span<const float> logits);
  Status check_finite(bool finite) const;
  Status accept(TokenId token, const Origin& origin, std::span<const float> logits);
  void show_row(int position, const PassShare& share, size_t row) const;
  Next show_token(TokenId token, const Origin& origin, std::span<const float> logits) const;
  void keep_state(std::span<const float> hidden, size_t row);
  void check_proposal() const;
  void show_riders(const Walk& walk, const PassShare& share) const;
  void show_features(std::span<const int> rows, const PassShare& share) const;
  void learn(const Walk& walk, const PassShare& share);
  int64_t compared_nodes(size_t depths) const;
  void count_round(const Walk& walk);

  const ModelConfig& config_;
  KvCache& kv_;
  Request request_;
  Sampler sampler_;
  Sampler::Workspace workspace_;
  int context_;
  std::vector<TokenId> tokens_;  // prompt, then answer
  size_t n_prompt_;
  KvSequence own_;              // unless the caller keeps it
  bool begun_ = false;          // has memory
  std::vector<uint32_t> mask_;  // of the constraint

  // This round.
  Proposal proposal_;
  DraftLimits limits_;
  bool asked_ = false;  // the speculator was
  double draft_seconds_ = 0;
  int draft_rows_ = 0, draft_sharers_ = 0;  // of the draft pass

  std::vector<float> state_;  // see DraftInput
  double usual_tokens_ = 1;
  int usual_rows_ = 1;
  Stopwatch waiting_watch_, prefill_watch_;
  bool finished_ = false;
  FinishReason reason_ = FinishReason::kStop;
  std::optional<Error> error_;
  Timings timings_;
  SpecStats stats_;
};

}  // namespace s3d
