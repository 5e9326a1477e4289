// What is asked of the scheduler (decode/scheduler.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/kv_cache.h"
#include "base/result.h"
#include "decode/generate.h"
#include "s3d/types.h"

namespace s3d {

class Speculator;

// Outputs of the full pass for one row. Valid during the call.
struct RowOutput {
  int position;                   // of the row: its logits are those of the token at position + 1
  std::span<const float> logits;  // [vocab], as the model gave them
  std::span<const float> hidden;  // [d_model] before the output norm; empty unless Request::want_hidden
};

// One text that is to be continued: a value. What options and callbacks refer to must outlive the request.
struct Request {
  std::vector<TokenId> prompt;
  DecodeOptions options;                   // options.speculator is used where `speculator` is null
  std::shared_ptr<Speculator> speculator;  // or null: plain decoding. One object for each running request
  int top_logprobs = -1;            // -1: none; 0 … 20: each NewToken carries its logprob and so many best tokens
  std::string cache_key;            // requests of different keys share nothing of the prefix cache
  bool use_cache = true;            // looks into the prefix cache, and leaves its tokens there
  std::vector<TokenId> prediction;  // text that the answer may repeat: a free source of drafts, never of tokens
  OnToken on_token;                 // may be empty. Called inside step()
  // Called for each row whose logits decide a token (before on_token; the end token's too), and for each row of the
  // prompt from position `score_from` on (-1: none), in their order. May be empty.
  std::function<void(const RowOutput& row)> on_row;
  int score_from = -1;
  bool want_hidden = false;  // RowOutput::hidden
  // A sequence of the cache that the caller keeps, whose committed tokens are the beginning of the prompt without its
  // last token. Afterwards all tokens but the last decided one are committed in it. -1: the scheduler adds one, begins
  // with what the prefix cache has, and removes it at the end. A kept sequence neither uses nor feeds the prefix cache.
  SeqId kept_sequence = -1;
};

using Ticket = uint64_t;  // of a request, in the order of submission; never 0
using OnDone = std::function<void(Result<Generation> result)>;

}  // namespace s3d
