// The one interface above the kernels: run a list of layers over a block of rows, against a KV cache.
//
// A decode step, a prefill chunk, a draft pass, a tree verification, masks that ride in it, a layer-skip draft and a
// batch of many sequences are all Blocks. Promise: a row's results depend only on its own token, position, ancestors
// and committed context; not on the other rows, the number of threads, or the instruction set (docs/numerics.md).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "backend/kv_cache.h"
#include "backend/token_choice.h"
#include "base/result.h"
#include "model/layer_set.h"
#include "model/weights.h"
#include "s3d/types.h"

namespace s3d {

class PackedAdapter;
struct SideMatrix;

struct Row {
  TokenId token;     // >= 0: token id; -1 - j: mask embedding j of the adapter
  int32_t position;  // its position in the sequence
  int32_t parent;    // row index in this block whose child it is, always smaller than its own; -1: committed context
  SeqId seq;
};

enum class KvUse {
  kPending,  // rows are written to the pending slots of their sequence, in block order; the caller commits
  kScratch,  // the same, and dropped when the pass ends
};

enum class Want : uint8_t { kNothing, kLogits };

struct Block {
  std::span<const Row> rows;  // rows of one sequence need not be adjacent; their order is that of their slots
  LayerSet layers;
  // A draft pass: its mask embeddings, LoRA, bridge and draft vocabulary, on every row; `layers` must be its own.
  const PackedAdapter* adapter = nullptr;
  // A full pass with riders: the rows that are masks run with this adapter (a fused one), the others as if they were
  // alone. A mask stands behind a row whose next tokens it guesses, behind the committed context, or behind a mask;
  // only masks may stand behind it. Riders have logits like any other row. Their slots are never committed.
  const PackedAdapter* riders = nullptr;
  // [n rows] or empty: for the adapter's state injection, the hidden state [d_model], before the output norm, of the
  // row whose logits chose the last decided token of the row's sequence; null where it is not known.
  std::span<const float* const> state = {};
  KvUse kv = KvUse::kPending;
  std::span<const Want> want;  // [n rows]: which rows need logits; empty = the last row only
  // Also return the last hidden state of the wanted rows: before the output norm; of rows with an adapter, after it.
  bool want_hidden = false;
  // The caller asks for the choice of tokens and not for logits: a backend that keeps_logits() returns none then.
  bool keep_logits = false;
  // [n rows] or empty: a row's input vector [d_model] instead of the embedding of its token, which is then not looked
  // at; null: the embedding. Not together with an adapter.
  std::span<const float* const> input = {};
  // Also return the hidden states of the rows `tapped` (ascending indices) behind the first taps[i] layers, before any
  // norm; numbers from 1 to the model's, rising. Only in passes over all layers.
  std::span<const int> taps = {};
  std::span<const int> tapped = {};
};

// Views into the backend's memory, valid until its next run().
struct PassOutput {
  // [n_wanted, vocab]; of a draft pass [n_wanted, draft_size()], without the Markov head's term.
  std::span<const float> logits;
  std::span<const float> hidden;  // [n_wanted, d_model] if asked, else empty
  // Rows whose logits the backend has kept instead, until its next run(), and the number of the first of them.
  int kept = 0, first_kept = 0;
  std::span<const float> tapped;  // [n_tapped, taps, d_model]; of a part, only what its layers leave is filled in
};

// The share of a backend in a pass that several do, each with some of the model's layers: the residual stream of the
// rows, [n rows, d_model], comes in and goes out.
struct PassPart {
  int first_layer = 0, end_layer = 0;  // of the model: of the block's layers, those from `first_layer` on are run
  std::span<const float> in = {};      // empty: the pass begins here, with embeddings and masks
  std::span<float> out = {};           // empty: the pass ends here, with norm and logits; else taps are all output
};

// Thread rule: one run() at a time per backend.
class Backend {
 public:
  virtual ~Backend() = default;

  // Errors: position beyond the model's context, KV pool empty, token out of range, a block larger than max_rows().
  // After an error no row is pending.
  virtual Result<PassOutput> run(const Block& block, KvCache& kv) = 0;

  // The same for a part of a pass, in a cache whose layout has those layers. Further error: this backend does no parts.
  virtual Result<PassOutput> run_part(const Block& block, KvCache& kv, const PassPart& part);

  // Adds the adapter's Markov term to the logits of a draft pass: logits [previous.size(), draft_size()] += W2 P
  // rms(E). Nothing without a Markov head. `previous`: the token before each row's. `z`: empty, or [previous.size(),
  // Markov rank], takes P rms(E): what the confidence head reads.
  virtual void add_markov(const PackedAdapter& adapter, std::span<const TokenId> previous, std::span<float> logits,
                          std::span<float> z) = 0;

  // ---- The choice of tokens ----
  // Whether logits lie where they are dear to fetch: then run() keeps them if the block says so, and choices of kept
  // rows are made there. Others make choices of the logits that run() returned.
  virtual bool keeps_logits() const { return false; }
  // The best tokens of each row. Error: the device failed.
  virtual Status choose(const LogitRows& rows, const ChoiceAsk& ask, Choices& out);
  // The same of a draft pass, with the adapter's Markov term, if it has one: of the first row after `previous`, of each
  // other one after the best token of the row before it. What comes after a row without one is not specified.
  virtual Status choose_draft(const PackedAdapter& adapter, const LogitRows& rows, TokenId previous,
                              const ChoiceAsk& ask, Choices& out);

  // What drafters compute beside passes. A backend that cannot refuses beside() and can_multiply(), by name; it also
  // need not run blocks with inputs or taps.
  //
  // Another model on the same threads and device, with at most `max_rows` rows in a pass; of the two one runs at a
  // time. `model`: made of the parts of this one's and a layer of a file of its own (load_side_model).
  virtual Result<std::unique_ptr<Backend>> beside(std::shared_ptr<const Model> model, int max_rows);
  // out = w x for rows x; `in`: [n, in], `out`: [n, out]. Only where can_multiply() is no error.
  virtual Status can_multiply() const;
  // Before the first product with `w`: a backend with a memory of its own copies it there. Error: there is no room.
  virtual Status take(const SideMatrix& /*w*/) { return Ok(); }
  virtual void multiply(const SideMatrix& w, std::span<const float> in, std::span<float> out);

  // A cache for run(), in the backend's memory. Errors: those of KvCache::create.
  virtual Result<KvCache> make_kv_cache(KvType type, int64_t tokens) {
    return KvCache::create(config(), type, tokens, kv_storage());
  }
  // What makes that memory.
  virtual KvStorageMaker kv_storage() { return make_host_kv_storage; }

  virtual const ModelConfig& config() const = 0;
  virtual int max_rows() const = 0;           // rows of one block; longer prompts are run in chunks
  virtual std::string_view name() const = 0;  // what computes: "avx512", "avx2", "portable", "reference"
  virtual size_t weight_bytes() const = 0;    // that one full pass with logits reads
  virtual size_t scratch_bytes() const = 0;   // buffers of its own
};

}  // namespace s3d
