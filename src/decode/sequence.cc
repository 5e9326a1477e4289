#include "decode/sequence.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/index.h"
#include "decode/constraint.h"
#include "decode/logprobs.h"

namespace s3d {
namespace {

constexpr int kMaxTopLogprobs = 20;

// Of row number `row` of a share; empty where there are choices instead.
std::span<const float> row_logits(const PassShare& share, size_t row) {
  const size_t vocab = share.wanted > 0 ? share.logits.size() / usize(share.wanted) : 0;
  return share.logits.subspan(row * vocab, vocab);
}

}  // namespace

void PassRows::clear() {
  rows.clear();
  want.clear();
  wanted = 0;
  taps.clear();
  tapped.clear();
}

void PassRows::add(const Row& row, Want wants, std::span<const int> taps_of_row) {
  if (!taps_of_row.empty()) tapped.push_back(isize(rows));
  for (const int tap : taps_of_row) {
    const auto at = std::lower_bound(taps.begin(), taps.end(), tap);
    if (at == taps.end() || *at != tap) taps.insert(at, tap);
  }
  rows.push_back(row);
  want.push_back(wants);
  if (wants != Want::kNothing) ++wanted;
}

SequenceRun::SequenceRun(const ModelConfig& config, KvCache& kv, Request request)
    : config_(config),
      kv_(kv),
      request_(std::move(request)),
      sampler_(request_.options.sampler),
      context_(context_limit()),
      tokens_(std::move(request_.prompt)),
      n_prompt_(tokens_.size()) {
  timings_.prompt_tokens = isize(tokens_);
  if (request_.options.constraint != nullptr) mask_.resize((usize(config_.vocab_size) + 31) / 32);
  if (speculator() != nullptr && !request_.prediction.empty()) speculator()->expect(request_.prediction);
}

int SequenceRun::context_limit() const {
  const int64_t most = std::min<int64_t>(config_.context_length, kv_.capacity());
  const int64_t asked = request_.options.context;
  return static_cast<int>(asked > 0 ? std::min(asked, most) : most);
}

Speculator* SequenceRun::speculator() const {
  return request_.speculator != nullptr ? request_.speculator.get() : request_.options.speculator;
}

Status SequenceRun::check() const {
  const size_t n = tokens_.size();
  if (n == 0) return Error{"the prompt is empty: generation needs at least one token"};
  const DecodeOptions& options = request_.options;
  const size_t room = usize(context_) - (options.max_tokens == 0 ? 0 : 1);
  if (n > room) {
    return Error{
        fmt::format("the prompt has {} tokens, but the context holds {} including at least one of the answer; "
                    "shorten the prompt or raise the context (the model allows up to {})",
                    n, context_, config_.context_length)};
  }
  for (const TokenId token : tokens_) {
    if (token >= 0 && token < config_.vocab_size) continue;
    return Error{
        fmt::format("token {} of the prompt is not in the vocabulary of {} tokens", token, config_.vocab_size)};
  }
  if (options.max_tokens < -1) {
    return Error{fmt::format("max tokens must be -1 (until the context is full) or more, got {}", options.max_tokens)};
  }
  if (request_.top_logprobs < -1 || request_.top_logprobs > kMaxTopLogprobs) {
    return Error{
        fmt::format("top logprobs must be from 0 to {} (-1 = none), got {}", kMaxTopLogprobs, request_.top_logprobs)};
  }
  S3D_CHECK(!kept() || kv_.length(seq()) < static_cast<int>(n), "the last token of a prompt must not be committed yet");
  return options.sampler.check(config_.vocab_size);
}

SequenceRun::Phase SequenceRun::phase() const {
  if (finished_) return Phase::kFinished;
  if (!begun_) return Phase::kWaiting;
  return prompt_rows() > 0 ? Phase::kPrefilling : Phase::kDecoding;
}

RopeSet SequenceRun::rope_set() const {
  return config_.rope_set(static_cast<int64_t>(tokens_.size()));
}

std::span<const TokenId> SequenceRun::committed() const {
  return begun_ ? std::span(tokens_).first(usize(kv_.length(seq()))) : std::span<const TokenId>{};
}

// ---- Memory, and the end -------------------------------------------------------------------------------------------

void SequenceRun::begin(KvSequence sequence) {
  own_ = std::move(sequence);
  begun_ = true;
  kv_.use_rope_set(seq(), rope_set());
  if (answer_tokens() > 0) return;  // it was taken its memory
  prefill_watch_ = {};
  timings_.cached_tokens = kv_.length(seq());
  timings_.waiting_seconds = waiting_watch_.seconds();
}

void SequenceRun::give_up_memory() {
  if (kept()) {
    kv_.truncate(seq(), 0);
  } else {
    own_ = {};
  }
  begun_ = false;
}

void SequenceRun::finish(FinishReason reason) {
  finished_ = true;
  reason_ = reason;
}

void SequenceRun::fail(Error error) {
  finished_ = true;
  error_ = std::move(error);
}

Result<Generation> SequenceRun::take_result() {
  if (error_) return *std::move(error_);
  tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(n_prompt_));
  return Generation{.tokens = std::move(tokens_), .reason = reason_, .timings = timings_, .spec = stats_};
}

// When the text has outgrown the short set of rotations, its keys are computed again with the long one.
void SequenceRun::prepare() {
  if (finished_) return;
  if (request_.options.cancelled && request_.options.cancelled()) return finish(FinishReason::kCancelled);
  if (begun_) kv_.use_rope_set(seq(), rope_set());
}

// ---- The prompt ----------------------------------------------------------------------------------------------------

// Of an answer that has begun, the last token's row belongs to its next round.
size_t SequenceRun::prompt_end() const {
  return answer_tokens() > 0 ? tokens_.size() - 1 : n_prompt_;
}

int SequenceRun::prompt_rows() const {
  return static_cast<int>(prompt_end()) - kv_.length(seq());
}

int SequenceRun::most_prompt_rows() const {
  const int rows = prompt_rows();
  if (request_.score_from < 0 || answer_tokens() > 0) return rows;
  return std::min(rows, std::max(request_.score_from - kv_.length(seq()), kScoredRows));
}

int SequenceRun::scored_rows(int count) const {
  if (request_.score_from < 0 || answer_tokens() > 0) return 0;
  return std::clamp(kv_.length(seq()) + count - request_.score_from, 0, count);
}

void SequenceRun::add_prompt_rows(int count, PassRows& pass) const {
  const int begin = kv_.length(seq());
  const bool decides = answer_tokens() == 0 && request_.options.max_tokens != 0;
  for (int i = begin; i < begin + count; ++i) {
    const bool last = decides && usize(i) + 1 == n_prompt_;
    const bool scored = answer_tokens() == 0 && request_.score_from >= 0 && i >= request_.score_from;
    const int parent = i == begin ? -1 : isize(pass.rows) - 1;
    pass.add({.token = tokens_[usize(i)], .position = i, .parent = parent, .seq = seq()},
             last || scored ? Want::kLogits : Want::kNothing, taps());
  }
}

void SequenceRun::absorb_prompt(int count, const PassShare& share) {
  kv_.commit(seq(), count);
  std::vector<int> rows(usize(count));
  std::iota(rows.begin(), rows.end(), 0);
  show_features(rows, share);
  if (answer_tokens() > 0) {  // run again
    timings_.decode_seconds += share.seconds;
    stats_.other_seconds += share.seconds;
    return;
  }
  timings_.prefill_seconds = prefill_watch_.seconds();
  for (int row = 0; row < share.wanted; ++row) show_row(kv_.length(seq()) - share.wanted + row, share, usize(row));
  if (prompt_rows() > 0) return;
  if (request_.options.max_tokens == 0) return finish(FinishReason::kLength);
  if (Status decided = decide_first(share); !decided.ok()) fail(decided.error());
}

// The answer's first token, by the last of the prompt's rows.
Status SequenceRun::decide_first(const PassShare& share) {
  const size_t last = usize(share.wanted) - 1;
  keep_state(share.hidden, last);
  S3D_ASSIGN(const std::optional<TokenId> token, choose(share, last));
  if (token) return accept(*token, {}, row_logits(share, last));
  finish(FinishReason::kStop);
  return Ok();
}

// ---- A round -------------------------------------------------------------------------------------------------------

bool SequenceRun::needs_hidden() const {
  const bool riders = !proposal_.riders.empty() && proposal_.riders_want_hidden;
  return request_.want_hidden || riders || (speculator() != nullptr && speculator()->needs_state());
}

// Whoever is shown logits or their probabilities, restricts tokens, or drafts from logits needs them all.
int SequenceRun::needed_best() const {
  const DecodeOptions& options = request_.options;
  const bool all = options.constraint != nullptr || request_.on_row || request_.top_logprobs >= 0 ||
                   request_.score_from >= 0 || !proposal_.riders.empty();
  const int best = all ? 0 : sampler_.needed_best();
  return best <= ChoiceAsk::kMost && best < config_.vocab_size ? best : 0;
}

// Tokens beyond the end of answer, context, cache or pass would be verified for nothing.
DraftLimits SequenceRun::draft_limits(int64_t rows) const {
  const auto n_tokens = static_cast<int64_t>(tokens_.size());
  int64_t depth = context_ - n_tokens - 1;
  const int64_t most_tokens = request_.options.max_tokens;
  if (most_tokens >= 0) depth = std::min(depth, most_tokens - answer_tokens() - 1);
  // All rows of a sequence have one set of rotations: none is looked at beyond the length where it changes.
  const int64_t short_context = config_.short_context;
  if (n_tokens <= short_context) depth = std::min(depth, short_context - n_tokens);
  return {.nodes = static_cast<int>(std::max<int64_t>(0, rows - 1)),
          .depth = static_cast<int>(std::max<int64_t>(0, depth))};
}

Status SequenceRun::propose(const RoundLoad& load, int64_t rows) {
  const Stopwatch watch;
  proposal_.clear();
  limits_ = draft_limits(rows);
  draft_rows_ = draft_sharers_ = 0;
  asked_ = speculator() != nullptr;
  if (asked_) {
    S3D_TRY(speculator()->propose({.seq = seq(), .tokens = tokens_, .state = state_}, limits_, load, proposal_));
    check_proposal();
  }
  draft_seconds_ = watch.seconds();
  return Ok();
}

void SequenceRun::take_draft(const PassOutput* mine, double seconds, int rows, int sharers) {
  const Stopwatch watch;
  speculator()->take({.seq = seq(), .tokens = tokens_, .state = state_}, mine, proposal_);
  check_proposal();
  draft_rows_ = rows;
  draft_sharers_ = sharers;
  draft_seconds_ += seconds + watch.seconds();
}

void SequenceRun::check_proposal() const {
  S3D_CHECK(isize(proposal_.tree) + proposal_.rider_rows() <= limits_.nodes, "a draft of more nodes than asked for");
}

void SequenceRun::settle_proposal() {
  Constraint* constraint = request_.options.constraint.get();
  if (constraint == nullptr) return;
  const Stopwatch watch;
  DraftLimits limits = limits_;
  limits.nodes -= proposal_.rider_rows();
  obey(*constraint, limits, proposal_);
  draft_seconds_ += watch.seconds();
}

RowWish SequenceRun::wish(std::vector<double>& paths) const {
  RowWish wish;
  wish.prompt_rows = prompt_rows() > 0 ? most_prompt_rows() : 0;
  if (wish.prompt_rows > 0) return wish;
  wish.riders = proposal_.rider_rows();
  if (proposal_.tree.empty()) return wish;
  if (proposal_.chances.empty()) {
    wish.whole_draft = isize(proposal_.tree);
  } else {
    paths = path_chances(proposal_.tree, proposal_.chances);
    wish.paths = paths;
  }
  return wish;
}

void SequenceRun::add_rows(PassRows& pass) const {
  const int first = isize(pass.rows);
  pass.add({.token = tokens_.back(), .position = kv_.length(seq()), .parent = -1, .seq = seq()}, Want::kLogits, taps());
  for (const DraftNode& node : proposal_.tree) {
    const int parent = first + 1 + node.parent;
    const int position = pass.rows[usize(parent)].position + 1;
    pass.add({.token = node.token, .position = position, .parent = parent, .seq = seq()}, Want::kLogits, taps());
  }
  for (const Rider& rider : proposal_.riders) {
    int parent = first + 1 + rider.node;
    for (int j = 0; j < rider.masks; ++j) {
      const int position = pass.rows[usize(parent)].position + 1;
      pass.add({.token = -1 - j, .position = position, .parent = parent, .seq = seq()}, Want::kLogits);
      parent = isize(pass.rows) - 1;
    }
  }
}

// Tells the speculator what rode behind the last row that was looked at.
void SequenceRun::show_riders(const Walk& walk, const PassShare& share) const {
  const size_t vocab = usize(config_.vocab_size), d = usize(config_.d_model);
  size_t row = 1 + proposal_.tree.size();
  for (const Rider& rider : proposal_.riders) {
    const auto masks = usize(rider.masks);
    if (rider.node + 1 == walk.rows.back()) {
      PassOutput mine = {.logits = share.logits.subspan(row * vocab, masks * vocab)};
      if (!share.hidden.empty()) mine.hidden = share.hidden.subspan(row * d, masks * d);
      speculator()->observe_riders(mine);
    }
    row += masks;
  }
}

std::span<const int> SequenceRun::taps() const {
  return speculator() != nullptr ? speculator()->taps() : std::span<const int>();
}

// Tells the speculator the hidden states of its `rows` of the pass, which are the last that are committed.
void SequenceRun::show_features(std::span<const int> rows, const PassShare& share) const {
  const std::span<const int> mine = taps();
  if (mine.empty() || rows.empty()) return;
  const size_t d = usize(config_.d_model), width = share.taps.size() * d;
  std::vector<float> features;
  for (const int row : rows) {
    for (const int tap : mine) {
      const auto at = std::lower_bound(share.taps.begin(), share.taps.end(), tap) - share.taps.begin();
      const std::span<const float> state = share.tapped.subspan(usize(row) * width + usize(at) * d, d);
      features.insert(features.end(), state.begin(), state.end());
    }
  }
  const int count = isize(rows);
  speculator()->observe({.text = tokens_, .first = kv_.length(seq()) - count, .count = count, .features = features});
}

Status SequenceRun::decide_along_tree(const PassShare& share, Walk& walk) {
  int node = -1;
  while (true) {
    const size_t row = usize(node + 1);
    S3D_ASSIGN(const std::optional<TokenId> token, choose(share, row));
    if (!token) {  // the constraint's end: the row is not looked at
      finish(FinishReason::kStop);
      return Ok();
    }
    show_row(isize(tokens_) - 1, share, row);
    node = child_with(proposal_.tree, node, *token);
    walk.rows.push_back(static_cast<int>(row));
    ++timings_.decoded_tokens;
    Origin origin;
    if (node >= 0) {
      walk.path.push_back(node);
      const bool forced = !proposal_.forced.empty() && proposal_.forced[usize(node)];
      origin = {.source = forced ? "grammar" : proposal_.source,
                .depth = isize(walk.path) - 1,
                .probability = proposal_.tree[usize(node)].probability,
                .drafted = true};
    }
    S3D_TRY(accept(*token, origin, row_logits(share, row)));
    if (finished_ || node < 0) return Ok();
  }
}

void SequenceRun::absorb(const PassShare& share, const Stopwatch& step) {
  const Stopwatch watch;
  Walk walk;
  if (Status decided = decide_along_tree(share, walk); !decided.ok()) {
    kv_.truncate(seq(), kv_.length(seq()));
    return fail(decided.error());
  }
  if (walk.rows.empty()) return kv_.truncate(seq(), kv_.length(seq()));
  const double sample_seconds = watch.seconds();
  keep_state(share.hidden, usize(walk.rows.back()));
  kv_.commit_path(seq(), walk.rows);
  show_features(walk.rows, share);
  count_round(walk);
  if (asked_ && !finished_) show_riders(walk, share);
  if (asked_) learn(walk, share);
  constexpr double kKept = 0.8;
  usual_tokens_ = kKept * usual_tokens_ + (1 - kKept) * static_cast<double>(walk.rows.size());
  usual_rows_ = 1 + draft_nodes();
  const double seconds = step.seconds();
  timings_.decode_seconds += seconds;
  stats_.draft_seconds += draft_seconds_;
  stats_.verify_seconds += share.seconds;
  stats_.sample_seconds += sample_seconds;
  stats_.other_seconds += seconds - sample_seconds - draft_seconds_ - share.seconds;
}

void SequenceRun::learn(const Walk& walk, const PassShare& share) {
  RoundResult result = {.path = walk.path,
                        .finished = walk.path.size() == walk.rows.size(),
                        .draft_seconds = draft_seconds_,
                        .draft_rows = draft_rows_,
                        .draft_sharers = draft_sharers_,
                        .verify_seconds = share.seconds,
                        .verify_rows = share.rows};
  if (proposal_.forced.empty()) return speculator()->learn(proposal_.tree, result);
  OwnPart own = own_part(proposal_, walk.path);
  result.path = std::move(own.path);
  speculator()->learn(own.tree, result);
}

void SequenceRun::keep_state(std::span<const float> hidden, size_t row) {
  if (hidden.empty() || speculator() == nullptr) return;
  const size_t d = usize(config_.d_model);
  const std::span<const float> mine = hidden.subspan(row * d, d);
  state_.assign(mine.begin(), mine.end());
}

// Nodes of the first `depths` depths: what was drafted behind the end of the answer was compared with nothing.
int64_t SequenceRun::compared_nodes(size_t depths) const {
  std::vector<size_t> depth_of;
  for (const DraftNode& node : proposal_.tree) {
    depth_of.push_back(node.parent < 0 ? 0 : depth_of[usize(node.parent)] + 1);
  }
  return std::count_if(depth_of.begin(), depth_of.end(), [depths](size_t depth) { return depth < depths; });
}

void SequenceRun::count_round(const Walk& walk) {
  const DraftTree& tree = proposal_.tree;
  ++stats_.num_rounds;
  if (tree.empty()) return;
  ++stats_.num_drafts;
  const bool ended_inside = walk.path.size() == walk.rows.size();
  if (ended_inside) ++stats_.num_ended_drafts;
  stats_.num_draft_tokens += ended_inside ? compared_nodes(walk.path.size()) : isize(tree);
  stats_.num_accepted_tokens += static_cast<int64_t>(walk.path.size());
  constexpr size_t kMax = SpecStats::kMaxDepth;
  ++stats_.acceptance_histogram[std::min(walk.path.size(), kMax)];
  for (size_t depth = 0; depth < std::min(walk.rows.size(), kMax); ++depth) {
    const auto follows = [parent = walk.rows[depth] - 1](const DraftNode& node) { return node.parent == parent; };
    if (std::none_of(tree.begin(), tree.end(), follows)) return;
    ++stats_.reached_by_depth[depth];
    if (depth < walk.path.size()) ++stats_.accepted_by_depth[depth];
  }
}

// ---- Tokens --------------------------------------------------------------------------------------------------------

// The token that follows all decided ones, given the logits of the last of them; nothing where the constraint lets
// nothing follow.
Result<std::optional<TokenId>> SequenceRun::choose(const PassShare& share, size_t row) {
  if (share.choices == nullptr) return choose(row_logits(share, row));
  const int at = share.first + static_cast<int>(row);
  S3D_TRY(check_finite(share.choices->finite[usize(at)] != 0));
  const std::span<const RankedToken> best = share.choices->row(at);
  return std::optional(sampler_.sample_best(best, request_.options.stream, isize(tokens_), workspace_));
}

Result<std::optional<TokenId>> SequenceRun::choose(std::span<const float> logits) {
  const DecodeOptions& options = request_.options;
  std::span<const uint32_t> allowed;
  if (options.constraint != nullptr && options.constraint->allowed(mask_)) {
    if (std::all_of(mask_.begin(), mask_.end(), [](uint32_t word) { return word == 0; }))
      return std::optional<TokenId>();
    allowed = mask_;
  }
  const TokenId token = sampler_.sample(logits, tokens_, options.stream, isize(tokens_), workspace_, allowed);
  S3D_TRY(check_finite(workspace_.finite));
  return std::optional(token);
}

Status SequenceRun::check_finite(bool finite) const {
  if (finite) return Ok();
  const DecodeOptions& options = request_.options;
  const std::string& name = options.model_name.empty() ? config_.name : options.model_name;
  return Error{
      fmt::format("{}: the model's answer after {} tokens is no numbers (logits that are NaN or infinite): the file is "
                  "damaged or was converted wrongly; get it again, or another quantization of the model",
                  name, tokens_.size())};
}

// Makes `token` part of the answer, unless it ends it, and looks for every reason to stop after it.
Status SequenceRun::accept(TokenId token, const Origin& origin, std::span<const float> logits) {
  const DecodeOptions& options = request_.options;
  if (options.is_end && options.is_end(token)) {
    finish(FinishReason::kStop);
    return Ok();
  }
  if (options.constraint != nullptr && !options.constraint->push(token)) {
    return Error{fmt::format("the grammar allowed token {} after {} tokens of the answer and then refused it", token,
                             answer_tokens())};
  }
  tokens_.push_back(token);
  const Next next = show_token(token, origin, logits);
  if (next == Next::kStop) {
    finish(FinishReason::kStop);
  } else if (next == Next::kCancel) {
    finish(FinishReason::kCancelled);
  } else if (options.max_tokens >= 0 && answer_tokens() >= options.max_tokens) {
    finish(FinishReason::kLength);
  } else if (tokens_.size() >= usize(context_)) {
    finish(FinishReason::kContext);
  }
  return Ok();
}

Next SequenceRun::show_token(TokenId token, const Origin& origin, std::span<const float> logits) const {
  if (!request_.on_token) return Next::kContinue;
  NewToken shown = {.id = token,
                    .drafted = origin.drafted,
                    .source = origin.source,
                    .depth = origin.depth,
                    .probability = origin.probability};
  if (request_.top_logprobs < 0) return request_.on_token(shown);
  const double log_sum = log_sum_exp(logits);
  const std::vector<TokenLogprob> top = top_logprobs(logits, log_sum, request_.top_logprobs);
  shown.logprob = static_cast<float>(static_cast<double>(logits[usize(token)]) - log_sum);
  shown.top = top;
  return request_.on_token(shown);
}

// Row number `row` of those with outputs.
void SequenceRun::show_row(int position, const PassShare& share, size_t row) const {
  if (!request_.on_row) return;
  const size_t d = usize(config_.d_model);
  RowOutput output = {.position = position, .logits = row_logits(share, row)};
  if (request_.want_hidden) output.hidden = share.hidden.subspan(row * d, d);
  request_.on_row(output);
}

}  // namespace s3d
