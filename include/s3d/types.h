// What comes out of the engine: tokens, answers, and figures about how they were made. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace s3d {

using TokenId = int32_t;

// A draft that costs a pass has at most so many rows: the last decided token and what is drafted after it. Deeper ones
// are hardly ever right (docs/benchmarks.md).
inline constexpr int kMaxRoundRows = 16;
inline constexpr int kMaxDraft = kMaxRoundRows - 1;  // tokens drafted by a pass in a round
// A draft that costs nothing, copied from the text, may be longer: a long copy is often right to its end.
inline constexpr int kMaxTextDraft = 64;

// Why an answer ended.
enum class FinishReason {
  kStop,      // an end token of the model, or a stop string
  kLength,    // max_tokens
  kContext,   // prompt and answer fill the context
  kCancelled  // the caller asked for it
};
std::string_view finish_reason_name(FinishReason reason);  // "stop", "length", "context", "cancelled"

// How long things took.
struct Timings {
  double waiting_seconds = 0;  // before the prompt was begun, for others
  int prompt_tokens = 0;
  int cached_tokens = 0;       // of the prompt, already in the KV cache
  double prefill_seconds = 0;  // to the first token's logits
  int decoded_tokens = 0;      // after the first token, the end token included
  double decode_seconds = 0;
  double prefill_tps() const;  // tokens per second; 0 when nothing ran
  double decode_tps() const;
};

// What speculation did: counts and times of one generation, or of many added up. Names as vLLM's users know them.
struct SpecStats {
  static constexpr int kMaxDepth = kMaxRoundRows;  // deeper drafts count as this deep

  int64_t num_rounds = 0;           // full passes while decoding, with or without a draft
  int64_t num_drafts = 0;           // of them, with a draft
  int64_t num_ended_drafts = 0;     // of these, within which the answer ended: no token of the target's own followed
  int64_t num_draft_tokens = 0;     // compared with the target's: of a draft all, but for those behind the answer's end
  int64_t num_accepted_tokens = 0;  // of them, chosen by the target too: tokens of the text, or its end
  // [depth] rounds in which a token was drafted at that depth and all before it were right, and those in which it was
  // right too. A tree counts once for each depth.
  std::array<int64_t, kMaxDepth> reached_by_depth{};
  std::array<int64_t, kMaxDepth> accepted_by_depth{};
  std::array<int64_t, kMaxDepth + 1> acceptance_histogram{};  // [accepted tokens] drafts
  double draft_seconds = 0;                                   // planning what to draft included
  double verify_seconds = 0;                                  // full passes while decoding
  double sample_seconds = 0;                                  // choosing and comparing tokens, callbacks included
  double other_seconds = 0;                                   // of decoding: committing rows, learning

  // Tokens of a round that had a draft, the target's own included; 0 without drafts.
  double mean_acceptance_length() const;
  double draft_acceptance_rate() const;             // accepted / drafted; 0 without drafts
  std::vector<double> acceptance_by_depth() const;  // accepted / reached, up to the deepest depth reached
  void add(const SpecStats& other);
};

// An answer as tokens.
struct Generation {
  std::vector<TokenId> tokens;  // without the end token
  FinishReason reason = FinishReason::kStop;
  Timings timings;
  SpecStats spec;
};

// An answer as text.
struct Answer {
  std::string text;       // whole characters; ends before the stop string
  Generation generation;  // its tokens include those of a stop string
};

// Text as it comes: whole characters, never a part of a stop string. `drafted`: the token that completed it was
// drafted.
using OnText = std::function<void(std::string_view text, bool drafted)>;

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

}  // namespace s3d
