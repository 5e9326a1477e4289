#include "decode/sequence.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/index.h"
#include "decode/speculator.h"

namespace s3d {
namespace {

Block full_pass(const Backend& backend, std::span<const Row> rows, std::span<const Want> want, bool hidden) {
  return Block{.rows = rows, .layers = LayerSet::all(backend.config().n_layers), .want = want, .want_hidden = hidden};
}

}  // namespace

SequenceRun::SequenceRun(Backend& backend, KvCache& kv, SeqId seq, std::span<const TokenId> prompt,
                         const DecodeOptions& options, const OnToken& on_token)
    : backend_(backend),
      kv_(kv),
      seq_(seq),
      options_(options),
      on_token_(on_token),
      sampler_(options.sampler),
      context_(context_limit()),
      tokens_(prompt.begin(), prompt.end()),
      n_prompt_(prompt.size()) {
  timings_.prompt_tokens = isize(prompt);
}

int SequenceRun::context_limit() const {
  const int64_t most = std::min<int64_t>(backend_.config().context_length, kv_.capacity());
  return static_cast<int>(options_.context > 0 ? std::min<int64_t>(options_.context, most) : most);
}

Status SequenceRun::check() const {
  const size_t n = tokens_.size();
  if (n == 0) return Error{"the prompt is empty: generation needs at least one token"};
  if (n >= usize(context_)) {
    return Error{
        fmt::format("the prompt has {} tokens, but the context holds {} including at least one of the answer; "
                    "shorten the prompt or raise the context (the model allows up to {})",
                    n, context_, backend_.config().context_length)};
  }
  if (options_.max_tokens < -1) {
    return Error{fmt::format("max tokens must be -1 (until the context is full) or more, got {}", options_.max_tokens)};
  }
  S3D_CHECK(kv_.length(seq_) < static_cast<int>(n), "the last token of a prompt must not be committed yet");
  return options_.sampler.check(backend_.config().vocab_size);
}

// ---- The prompt ----------------------------------------------------------------------------------------------------

Status SequenceRun::prefill() {
  const Stopwatch watch;
  kv_.use_rope_set(seq_, backend_.config().rope_set(static_cast<int64_t>(n_prompt_)));
  timings_.cached_tokens = kv_.length(seq_);
  while (!finished_ && kv_.length(seq_) < static_cast<int>(n_prompt_)) {
    const size_t begin = usize(kv_.length(seq_));
    S3D_TRY(prefill_chunk(std::min(n_prompt_, begin + usize(backend_.max_rows()))));
    timings_.prefill_seconds = watch.seconds();
  }
  return Ok();
}

// Rows of decided tokens from the first that is not committed up to `end`: one chunk of a text.
std::vector<Row> SequenceRun::chunk(size_t end) const {
  const int begin = kv_.length(seq_);
  std::vector<Row> rows;
  for (int i = begin; i < static_cast<int>(end); ++i) {
    rows.push_back({.token = tokens_[i], .position = i, .parent = i - begin - 1, .seq = seq_});
  }
  return rows;
}

Status SequenceRun::prefill_chunk(size_t end) {
  if (cancelled()) {
    finish(FinishReason::kCancelled);
    return Ok();
  }
  const std::vector<Row> rows = chunk(end);
  std::vector<Want> want(rows.size(), Want::kNothing);
  const bool last_chunk = end == n_prompt_;
  if (last_chunk) want.back() = Want::kLogits;
  S3D_ASSIGN(const PassOutput out, backend_.run(full_pass(backend_, rows, want, last_chunk && needs_state()), kv_));
  kv_.commit(seq_, isize(rows));
  if (!last_chunk) return Ok();
  if (options_.max_tokens == 0) {
    finish(FinishReason::kLength);
  } else {
    keep_state(out.hidden, 0);
    S3D_ASSIGN(const TokenId token, choose(out.logits));
    accept(token, /*drafted=*/false);
  }
  return Ok();
}

// When the text has outgrown the short set of rotations, its keys are computed again with the long one.
Status SequenceRun::follow_rope_set() {
  const size_t n_context = tokens_.size() - 1;
  kv_.use_rope_set(seq_, backend_.config().rope_set(static_cast<int64_t>(tokens_.size())));
  while (kv_.length(seq_) < static_cast<int>(n_context)) {
    const size_t begin = usize(kv_.length(seq_));
    const std::vector<Row> rows = chunk(std::min(n_context, begin + usize(backend_.max_rows())));
    const std::vector<Want> want(rows.size(), Want::kNothing);
    S3D_TRY(backend_.run(full_pass(backend_, rows, want, /*hidden=*/false), kv_));
    kv_.commit(seq_, isize(rows));
  }
  return Ok();
}

// ---- A round -------------------------------------------------------------------------------------------------------

bool SequenceRun::needs_state() const {
  return options_.speculator != nullptr && options_.speculator->needs_state();
}

// Tokens beyond the end of answer, context, cache or pass would be verified for nothing.
DraftLimits SequenceRun::draft_limits(int sequences) const {
  int64_t depth = context_ - static_cast<int64_t>(tokens_.size()) - 1;
  if (options_.max_tokens >= 0) {
    depth = std::min(depth, options_.max_tokens - static_cast<int64_t>(tokens_.size() - n_prompt_) - 1);
  }
  const int64_t short_context = backend_.config().short_context;
  const auto n_tokens = static_cast<int64_t>(tokens_.size());
  // All rows of a pass have one set of rotations: none is looked at beyond the length where it changes.
  if (n_tokens <= short_context) depth = std::min(depth, short_context - n_tokens);
  const int64_t most_rows = std::min<int64_t>(kv_.available(seq_, sequences), backend_.max_rows() / sequences);
  return {.nodes = static_cast<int>(std::max<int64_t>(0, most_rows - 1)),
          .depth = static_cast<int>(std::max<int64_t>(0, depth))};
}

Status SequenceRun::draft(int sequences) {
  round_watch_ = {};
  draft_seconds_ = 0;
  tree_.clear();
  if (cancelled()) finish(FinishReason::kCancelled);
  if (finished_) return Ok();
  S3D_TRY(follow_rope_set());
  if (options_.speculator == nullptr) return Ok();
  const DraftLimits limits = draft_limits(sequences);
  const Stopwatch watch;
  S3D_TRY(options_.speculator->propose({.seq = seq_, .tokens = tokens_, .state = state_}, limits, tree_));
  S3D_CHECK(isize(tree_) <= limits.nodes, "a draft of more nodes than asked for");
  draft_seconds_ = watch.seconds();
  return Ok();
}

void SequenceRun::add_rows(std::vector<Row>& rows) const {
  const int first = isize(rows);
  rows.push_back({.token = tokens_.back(), .position = kv_.length(seq_), .parent = -1, .seq = seq_});
  for (const DraftNode& node : tree_) {
    const int parent = first + 1 + node.parent;
    rows.push_back({.token = node.token, .position = rows[parent].position + 1, .parent = parent, .seq = seq_});
  }
}

// Index of the node that follows `node` (-1: the root) with `token`; -1 if none does.
int SequenceRun::child_with(int node, TokenId token) const {
  for (size_t i = usize(node + 1); i < tree_.size(); ++i) {
    if (tree_[i].parent == node && tree_[i].token == token) return static_cast<int>(i);
  }
  return -1;
}

Result<SequenceRun::Walk> SequenceRun::decide_along_tree(std::span<const float> logits) {
  const size_t vocab = usize(backend_.config().vocab_size);
  Walk walk;
  int node = -1;
  while (true) {
    const size_t row = usize(node + 1);
    S3D_ASSIGN(const TokenId token, choose(logits.subspan(row * vocab, vocab)));
    node = child_with(node, token);
    walk.rows.push_back(static_cast<int>(row));
    ++timings_.decoded_tokens;
    if (node >= 0) walk.path.push_back(node);
    accept(token, /*drafted=*/node >= 0);
    if (finished_ || node < 0) return walk;
  }
}

Status SequenceRun::absorb(std::span<const float> logits, std::span<const float> hidden, double verify_seconds,
                           int verify_rows) {
  const Stopwatch watch;
  auto decided = decide_along_tree(logits);
  if (!decided.ok()) {
    kv_.truncate(seq_, kv_.length(seq_));
    return decided.error();
  }
  const Walk& walk = *decided;
  const double sample_seconds = watch.seconds();
  keep_state(hidden, usize(walk.rows.back()));
  kv_.commit_path(seq_, walk.rows);
  count_round(walk);
  if (options_.speculator != nullptr) {
    options_.speculator->learn(tree_, {.path = walk.path,
                                       .finished = walk.path.size() == walk.rows.size(),
                                       .draft_seconds = draft_seconds_,
                                       .verify_seconds = verify_seconds,
                                       .verify_rows = verify_rows});
  }
  const double seconds = round_watch_.seconds();
  timings_.decode_seconds += seconds;
  stats_.draft_seconds += draft_seconds_;
  stats_.verify_seconds += verify_seconds;
  stats_.sample_seconds += sample_seconds;
  stats_.other_seconds += seconds - sample_seconds - draft_seconds_ - verify_seconds;
  return Ok();
}

void SequenceRun::keep_state(std::span<const float> hidden, size_t row) {
  if (hidden.empty()) return;
  const size_t d = usize(backend_.config().d_model);
  state_.assign(hidden.begin() + (row * d), hidden.begin() + ((row + 1) * d));
}

// Nodes of the first `depths` depths: what was drafted behind the end of the answer was compared with nothing.
int64_t SequenceRun::compared_nodes(size_t depths) const {
  std::vector<size_t> depth_of;
  for (const DraftNode& node : tree_) depth_of.push_back(node.parent < 0 ? 0 : depth_of[usize(node.parent)] + 1);
  return std::count_if(depth_of.begin(), depth_of.end(), [depths](size_t depth) { return depth < depths; });
}

void SequenceRun::count_round(const Walk& walk) {
  ++stats_.num_rounds;
  if (tree_.empty()) return;
  ++stats_.num_drafts;
  const bool ended_inside = walk.path.size() == walk.rows.size();
  if (ended_inside) ++stats_.num_ended_drafts;
  stats_.num_draft_tokens += compared_nodes(ended_inside ? walk.path.size() : tree_.size());
  stats_.num_accepted_tokens += static_cast<int64_t>(walk.path.size());
  constexpr size_t kMax = SpecStats::kMaxDepth;
  ++stats_.acceptance_histogram[std::min(walk.path.size(), kMax)];
  for (size_t depth = 0; depth < std::min(walk.rows.size(), kMax); ++depth) {
    const auto follows = [parent = walk.rows[depth] - 1](const DraftNode& node) { return node.parent == parent; };
    if (std::none_of(tree_.begin(), tree_.end(), follows)) return;
    ++stats_.reached_by_depth[depth];
    if (depth < walk.path.size()) ++stats_.accepted_by_depth[depth];
  }
}

// ---- Tokens --------------------------------------------------------------------------------------------------------

// The token that follows all decided ones, given the logits of the last of them.
Result<TokenId> SequenceRun::choose(std::span<const float> logits) {
  const TokenId token = sampler_.sample(logits, tokens_, options_.stream, isize(tokens_), workspace_);
  if (workspace_.finite) return token;
  const std::string& name = options_.model_name.empty() ? backend_.config().name : options_.model_name;
  return Error{
      fmt::format("{}: the model's answer after {} tokens is no numbers (logits that are NaN or infinite): the file is "
                  "damaged or was converted wrongly; get it again, or another quantization of the model",
                  name, tokens_.size())};
}

// Makes `token` part of the answer, unless it ends it, and looks for every reason to stop after it.
void SequenceRun::accept(TokenId token, bool drafted) {
  if (options_.is_end && options_.is_end(token)) return finish(FinishReason::kStop);
  tokens_.push_back(token);
  const Next next = on_token_ ? on_token_({token, drafted}) : Next::kContinue;
  const size_t n_answer = tokens_.size() - n_prompt_;
  if (next == Next::kStop) return finish(FinishReason::kStop);
  if (next == Next::kCancel) return finish(FinishReason::kCancelled);
  if (options_.max_tokens >= 0 && n_answer >= usize(options_.max_tokens)) {
    return finish(FinishReason::kLength);
  }
  if (tokens_.size() >= usize(context_)) return finish(FinishReason::kContext);
}

void SequenceRun::finish(FinishReason reason) {
  finished_ = true;
  reason_ = reason;
}

Generation SequenceRun::result() && {
  tokens_.erase(tokens_.begin(), tokens_.begin() + n_prompt_);
  return Generation{.tokens = std::move(tokens_), .reason = reason_, .timings = timings_, .spec = stats_};
}

// ---- All sequences -------------------------------------------------------------------------------------------------

Status round(Backend& backend, KvCache& kv, std::span<SequenceRun* const> sequences) {
  std::vector<SequenceRun*> running;
  for (SequenceRun* sequence : sequences) {
    if (!sequence->finished()) running.push_back(sequence);
  }
  for (SequenceRun* sequence : running) S3D_TRY(sequence->draft(isize(running)));
  std::erase_if(running, [](const SequenceRun* sequence) { return sequence->finished(); });
  if (running.empty()) return Ok();

  std::vector<Row> rows;
  bool hidden = false;
  for (const SequenceRun* sequence : running) {
    sequence->add_rows(rows);
    hidden = hidden || sequence->needs_state();
  }
  const std::vector<Want> want(rows.size(), Want::kLogits);
  const Stopwatch watch;
  S3D_ASSIGN(const PassOutput out, backend.run(full_pass(backend, rows, want, hidden), kv));
  const double seconds = watch.seconds();
  const size_t vocab = usize(backend.config().vocab_size);
  const size_t d = usize(backend.config().d_model);
  size_t first = 0;
  Status status = Ok();
  for (SequenceRun* sequence : running) {
    const size_t n = usize(sequence->rows());
    Status absorbed = sequence->absorb(out.logits.subspan(first * vocab, n * vocab),
                                       hidden ? out.hidden.subspan(first * d, n * d) : std::span<const float>{},
                                       seconds, isize(rows));
    if (status.ok()) status = std::move(absorbed);
    first += n;
  }
  return status;
}

}  // namespace s3d
