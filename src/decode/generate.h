// What decides how an answer is made, and the short ways to one answer or to some at once (decode/scheduler.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"
#include "decode/sampler.h"
#include "s3d/options.h"
#include "s3d/types.h"

namespace s3d {

class Constraint;
struct PassCosts;
class Speculator;

struct DecodeOptions {
  SamplerOptions sampler = {};
  int max_tokens = 256;  // -1 = until the context is full; 0 = only the prompt is run
  int context = 0;       // most tokens of prompt and answer together; 0 = the model's or the KV pool's
  std::function<bool(TokenId)> is_end = {};  // tokens that end generation (not part of the answer)
  std::function<bool()> cancelled = {};      // asked before every pass, so that a long prompt can be interrupted too
  uint64_t stream = 0;                       // sequence number for the sampler's draws
  std::string model_name = "";               // for messages; empty = the model's general.name
  // Drafts for this sequence, or null: plain decoding. It changes no token, only the speed. Not owned.
  Speculator* speculator = nullptr;
  // What the answer must look like (decode/constraint.h), or null; nothing is pushed on it yet.
  std::shared_ptr<Constraint> constraint = nullptr;
};

// What the callback of each new token says. The end token is not shown to it.
enum class Next { kContinue, kStop, kCancel };
struct TokenLogprob {
  TokenId token;
  float logprob;  // natural logarithm of its probability by the unmodified logits, at temperature 1
};
struct NewToken {
  TokenId id;
  bool drafted;                            // it was proposed by a drafter, and accepted
  std::string_view source = {};            // who proposed it: a drafter's name, "grammar"; empty: nobody
  int depth = 0;                           // of a drafted token: how many drafted ones stand before it in its round
  float probability = 0;                   // of a drafted token: what its drafter believed
  float logprob = 0;                       // as in TokenLogprob, where Request::top_logprobs asks for it
  std::span<const TokenLogprob> top = {};  // the best tokens, best first, likewise; valid during the call
  operator TokenId() const { return id; }  // NOLINT(google-explicit-constructor): it is a token, with a remark
};
using OnToken = std::function<Next(NewToken token)>;

// Runs `prompt` (whose first kv.length(seq) tokens are already committed; the last token must not be) in chunks and
// generates. Afterwards all tokens but the last decided one are committed in `kv`. `costs`: of full passes, refined on
// the way; null: not known. Errors: those of Scheduler::submit(); what was committed before stays valid.
Result<Generation> generate(Backend& backend, KvCache& kv, SeqId seq, std::span<const TokenId> prompt,
                            const DecodeOptions& options, const OnToken& on_token = {},
                            std::shared_ptr<PassCosts> costs = nullptr);

// The same for several sequences that share their passes. The tokens of each are those of generate(), and so is its
// error, which leaves the others alone.
struct BatchItem {
  KvSequence seq;
  std::vector<TokenId> prompt;
  DecodeOptions options;
  OnToken on_token = {};
};
std::vector<Result<Generation>> generate_batch(Backend& backend, KvCache& kv, std::span<const BatchItem> items,
                                               std::shared_ptr<PassCosts> costs = nullptr);

}  // namespace s3d
