// What may come next, and who proposes it. A drafter only decides how often a proposal is right, never what the text
// is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"
#include "model/layer_set.h"
#include "s3d/types.h"

namespace s3d {

// One proposed token. Siblings are alternatives for the same position; they differ in their tokens.
struct DraftNode {
  TokenId token;
  int parent;         // index of an earlier node of the tree; -1: it follows the last decided token
  float probability;  // the drafter's own guess, in [0, 1], that the target chooses it when it chose the parent
};
using DraftTree = std::vector<DraftNode>;  // parents before children; a chain has parents -1, 0, 1, …

// What a drafter sees of a sequence.
struct DraftInput {
  SeqId seq = 0;
  std::span<const TokenId> tokens;  // all decided ones, the prompt's first; all but the last are committed in the cache
  std::span<const float> state;     // [d_model] hidden state before the output norm of the row whose logits chose the
                                    // last token; empty if that row was not run in this process
};

struct DraftLimits {
  int nodes = 0;  // of the tree; 0 = nothing can be drafted
  int depth = 0;  // longest path
  int width = 1;  // alternatives for one position after the same tokens; 1 = a chain
};

// Rows of a sequence that a full pass has run and that are committed now.
struct CommittedRows {
  std::span<const TokenId> text;    // all decided tokens, the prompt's first; some of them may come after these rows
  int first = 0;                    // position of the first of these rows
  int count = 0;                    //
  std::span<const float> features;  // [count, taps, d_model] hidden states behind the layers of Drafter::taps()
};

struct DraftPass;

// Computes draft passes that run no layers of a model: heads of a drafter's own.
class DraftRunner {
 public:
  virtual ~DraftRunner() = default;
  virtual int max_rows() const = 0;  // of all passes together
  // Outputs of all rows, one pass after the other. Valid until the next call. Error: the device failed.
  virtual Result<PassOutput> run(std::span<const DraftPass* const> passes) = 0;
};

// Rows that a drafter wants to be run behind the committed ones of its sequence. Passes of one kind are run together,
// whosever they are.
struct DraftPass {
  std::vector<Row> rows;         // of one sequence of `kv`; parents count from the first of them. None: nothing to run
  std::vector<Want> want;        // [rows], or empty: all of them give logits
  std::vector<float> inputs;     // [rows, d_model] as Block::input, or empty
  const float* state = nullptr;  // as in Block, for each of the rows
  // The kind: what runs them, and how.
  DraftRunner* runner = nullptr;  // it, or if there is none `backend` on `kv`
  Backend* backend = nullptr;
  KvCache* kv = nullptr;
  KvUse use = KvUse::kScratch;  // kPending: who asked for them commits them when it takes the outputs
  LayerSet layers;
  const PackedAdapter* adapter = nullptr;
  bool want_hidden = false;
  bool keep_logits = false;  // as in Block
};

bool is_same_kind(const DraftPass& a, const DraftPass& b);
int max_rows(const DraftPass& kind);  // of passes of that kind together
// Pages that must be free for it in its cache, and that are. Without a cache there is always room.
int pages_to_reserve(const DraftPass& pass);
int free_pages(const DraftPass& kind);

// Runs passes of one kind as one. Errors: those of Backend::run.
Result<PassOutput> run_together(std::span<const DraftPass* const> passes);

// Of outputs of `all` rows those of `count` rows from `begin` on.
PassOutput slice(const PassOutput& out, int begin, int count, int all);

// How a drafter that costs a pass shares it with the drafters of other sequences.
enum class Sharing : uint8_t {
  kNone,     // its passes are its own
  kOnePass,  // a draft is one pass, the longer the more rows it has
  kSteps,    // a pass for each depth
};

// One object for each sequence that is generated: it may remember what it saw of `input.tokens`, which grow from call
// to call (and may be shorter again after a roll-back; a drafter compares, it does not assume). Thread rule: one call
// at a time.
class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual std::string_view name() const = 0;  // "s3d", "lookup", …: as in --spec
  virtual int max_depth() const = 0;          // longest path it can draft
  virtual bool needs_pass() const = 0;        // a draft runs layers of a model: it has a cost that is worth planning
  virtual bool needs_state() const { return false; }  // wants DraftInput::state
  virtual size_t extra_bytes() const = 0;             // memory that it takes beyond plain decoding

  // Replaces `tree` by a proposal within `limits`, both of its numbers 1 or more; may be empty. Passes that it needs
  // are run inside. The KV cache is afterwards as it was. Error: a pass failed. One that shares its passes needs no
  // draft() of its own.
  virtual Status draft(const DraftInput& input, const DraftLimits& limits, DraftTree& tree);

  // The same step by step, for a drafter whose passes may be shared with those of other sequences. After each step
  // `pass` has rows that are to be run, whose outputs the next step takes; or it has none, and `tree` is the proposal.
  // `mine` of take(): of the rows that were wanted; null: there is no memory to run them. `input` and `limits` are the
  // same in all steps.
  virtual Sharing sharing() const { return Sharing::kNone; }
  virtual void ask(const DraftInput& /*input*/, const DraftLimits& /*limits*/, DraftPass& /*pass*/,
                   DraftTree& /*tree*/) {}
  virtual void take(const DraftInput& /*input*/, const DraftLimits& /*limits*/, const PassOutput* /*mine*/,
                    DraftPass& /*pass*/, DraftTree& /*tree*/) {}

  // The adapter whose masks ride in full passes for this drafter (Block::riders); null: it has none. Then max_depth()
  // masks in a chain may ride behind a row, and draft() makes its tree of what observe_riders() was told.
  virtual const PackedAdapter* riders() const { return nullptr; }
  // Called after every round of a drafter with riders: the outputs of those behind the row whose logits decided the
  // last token, [masks, vocab] and [masks, d_model] after the output norm, or nothing where none rode there. Valid
  // during the call. The hidden states are there if the adapter has a confidence head.
  virtual void observe_riders(const PassOutput& /*riders*/) {}

  // Numbers of layers, rising, behind which the drafter reads the hidden states of all rows; none: it does not.
  virtual std::span<const int> taps() const { return {}; }
  // Called for a drafter with taps whenever rows are committed, those of the prompt too. Rows that are not run are not
  // shown: those that the prefix cache or a kept sequence spared. Rows from `first` on take the place of what was shown
  // at these positions and behind them. Valid during the call.
  virtual void observe(const CommittedRows& /*rows*/) {}

  // Text that the answer may repeat, beside what is in DraftInput::tokens. Called once, before the first draft.
  virtual void expect(std::span<const TokenId> /*text*/) {}
};

}  // namespace s3d
