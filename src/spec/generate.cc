#include "spec/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace s3d {
namespace {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

// One generation: the tokens decided so far, of which all but the last are committed in the KV cache between rounds.
class Run {
 public:
  Run(Backend& backend, KvCache& kv, SeqId seq, std::span<const int32_t> prompt, const GenerateOptions& options,
      const OnToken& on_token)
      : backend_(backend),
        kv_(kv),
        seq_(seq),
        options_(options),
        on_token_(on_token),
        sampler_(options.sampler),
        context_(context_limit()),
        tokens_(prompt.begin(), prompt.end()),
        n_prompt_(prompt.size()) {
    timings_.prompt_tokens = static_cast<int>(prompt.size());
    timings_.cached_tokens = kv.length(seq);
  }

  Status check() const;
  Status prefill();
  Status step();
  bool finished() const { return finished_; }
  Generation result() &&;

 private:
  int context_limit() const;
  Status prefill_chunk(size_t end);
  Status plain_round();
  Block full_pass(std::span<const Row> rows, std::span<const Want> want) const;
  int32_t choose(std::span<const float> logits);
  void accept(int32_t token);
  void finish(FinishReason reason);
  bool cancelled() const { return options_.cancelled && options_.cancelled(); }

  Backend& backend_;
  KvCache& kv_;
  SeqId seq_;
  const GenerateOptions& options_;
  const OnToken& on_token_;
  Sampler sampler_;
  Sampler::Workspace workspace_;
  int context_;
  std::vector<int32_t> tokens_;  // prompt, then answer
  size_t n_prompt_;
  bool finished_ = false;
  FinishReason reason_ = FinishReason::kStop;
  Timings timings_;
};

int Run::context_limit() const {
  const int64_t most = std::min<int64_t>(backend_.config().context_length, kv_.capacity());
  return static_cast<int>(options_.context > 0 ? std::min<int64_t>(options_.context, most) : most);
}

Status Run::check() const {
  const size_t n = tokens_.size();
  if (n == 0) return Error{"the prompt is empty: generation needs at least one token"};
  if (n >= static_cast<size_t>(context_)) {
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

Block Run::full_pass(std::span<const Row> rows, std::span<const Want> want) const {
  return Block{.rows = rows, .layers = {.head = backend_.config().n_layers, .tail = 0}, .want = want};
}

// Runs the prompt in chunks and decides the first token of the answer.
Status Run::prefill() {
  const Stopwatch watch;
  while (!finished_ && kv_.length(seq_) < static_cast<int>(n_prompt_)) {
    const size_t begin = static_cast<size_t>(kv_.length(seq_));
    S3D_TRY(prefill_chunk(std::min(n_prompt_, begin + static_cast<size_t>(backend_.max_rows()))));
    timings_.prefill_seconds = watch.seconds();
  }
  return Ok();
}

Status Run::prefill_chunk(size_t end) {
  if (cancelled()) {
    finish(FinishReason::kCancelled);
    return Ok();
  }
  const int begin = kv_.length(seq_);
  std::vector<Row> rows;
  for (int i = begin; i < static_cast<int>(end); ++i) {
    rows.push_back({.token = tokens_[static_cast<size_t>(i)], .position = i, .parent = i - begin - 1, .seq = seq_});
  }
  std::vector<Want> want(rows.size(), Want::kNothing);
  const bool last_chunk = end == n_prompt_;
  if (last_chunk) want.back() = Want::kLogits;
  S3D_ASSIGN(const PassOutput out, backend_.run(full_pass(rows, want), kv_));
  kv_.commit(seq_, static_cast<int>(rows.size()));
  if (!last_chunk) return Ok();
  if (options_.max_tokens == 0) {
    finish(FinishReason::kLength);
  } else {
    accept(choose(out.logits));
  }
  return Ok();
}

// One round: decides at least one more token, or finishes.
Status Run::step() {
  const Stopwatch watch;
  if (cancelled()) {
    finish(FinishReason::kCancelled);
    return Ok();
  }
  S3D_TRY(plain_round());
  timings_.decode_seconds += watch.seconds();
  return Ok();
}

Status Run::plain_round() {
  const Row row{.token = tokens_.back(), .position = kv_.length(seq_), .parent = -1, .seq = seq_};
  S3D_ASSIGN(const PassOutput out, backend_.run(full_pass({&row, 1}, {}), kv_));
  kv_.commit(seq_, 1);
  ++timings_.decoded_tokens;
  accept(choose(out.logits));
  return Ok();
}

// The token that follows all decided ones, given the logits of the last of them.
int32_t Run::choose(std::span<const float> logits) {
  return sampler_.sample(logits, tokens_, options_.stream, static_cast<int>(tokens_.size()), workspace_);
}

// Makes `token` part of the answer, unless it ends it, and looks for every reason to stop after it.
void Run::accept(int32_t token) {
  if (options_.is_end && options_.is_end(token)) return finish(FinishReason::kStop);
  tokens_.push_back(token);
  const Next next = on_token_ ? on_token_(token) : Next::kContinue;
  const size_t n_answer = tokens_.size() - n_prompt_;
  if (next == Next::kStop) return finish(FinishReason::kStop);
  if (next == Next::kCancel) return finish(FinishReason::kCancelled);
  if (options_.max_tokens >= 0 && n_answer >= static_cast<size_t>(options_.max_tokens)) {
    return finish(FinishReason::kLength);
  }
  if (tokens_.size() >= static_cast<size_t>(context_)) return finish(FinishReason::kContext);
}

void Run::finish(FinishReason reason) {
  finished_ = true;
  reason_ = reason;
}

Generation Run::result() && {
  tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(n_prompt_));
  return Generation{.tokens = std::move(tokens_), .reason = reason_, .timings = timings_};
}

double rate(int count, double seconds) {
  return count > 0 && seconds > 0 ? count / seconds : 0;
}

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

double Timings::prefill_tps() const {
  return rate(prompt_tokens - cached_tokens, prefill_seconds);
}

double Timings::decode_tps() const {
  return rate(decoded_tokens, decode_seconds);
}

Result<Generation> generate(Backend& backend, KvCache& kv, SeqId seq, std::span<const int32_t> prompt,
                            const GenerateOptions& options, const OnToken& on_token) {
  Run run(backend, kv, seq, prompt, options, on_token);
  S3D_TRY(run.check());
  S3D_TRY(run.prefill());
  while (!run.finished()) S3D_TRY(run.step());
  return std::move(run).result();
}

}  // namespace s3d
