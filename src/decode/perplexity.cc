#include "decode/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/index.h"
#include "decode/scheduler.h"

namespace s3d {
namespace {

// -log softmax(logits)[target], summed in double.
double negative_log_likelihood(std::span<const float> logits, int32_t target) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  return std::log(sum) + max - logits[target];
}

// Mean and spread of what has been scored.
class Tally {
 public:
  void add(double nll) {
    sum_ += nll;
    sum_of_squares_ += nll * nll;
    ++count_;
  }

  PerplexityResult result(int windows) const {
    const auto n = static_cast<double>(count_);
    const double mean = sum_ / n;
    const double variance = sum_of_squares_ / n - mean * mean;
    const double error = variance > 0 && count_ > 1 ? std::sqrt(variance / (n - 1)) : 0;
    return {std::exp(mean), std::exp(mean) * error, count_, windows};
  }

 private:
  double sum_ = 0, sum_of_squares_ = 0;
  int64_t count_ = 0;
};

Status check(const ModelConfig& config, const KvCache& kv, size_t n_tokens, const PerplexityOptions& options) {
  const int64_t room = std::min<int64_t>(config.context_length, kv.capacity());
  if (options.window < 4 || options.window > room) {
    return Error{fmt::format("a perplexity window of {} tokens: expected 4 to {} (the context)", options.window, room)};
  }
  if (n_tokens < usize(options.window)) {
    return Error{
        fmt::format("the text has {} tokens, but one window of {} is the least: give a longer text or a "
                    "smaller window",
                    n_tokens, options.window)};
  }
  if (options.bos >= config.vocab_size) {
    return Error{fmt::format("BOS token {} is outside the vocabulary of {} tokens", options.bos, config.vocab_size)};
  }
  return Ok();
}

// Runs a window as a prompt, of which the second half but for the last token scores.
Status run_window(Backend& backend, KvCache& kv, std::span<const TokenId> window, Tally& tally) {
  Scheduler scheduler(backend, kv, {.max_running = 1});
  Status status = Ok();
  Request request = {.prompt = {window.begin(), window.end()},
                     .options = {.max_tokens = 0, .cancelled = [&status] { return !status.ok(); }}};
  request.score_from = static_cast<int>(window.size() / 2);
  request.on_row = [&](const RowOutput& row) {
    const size_t next = usize(row.position) + 1;
    if (!status.ok() || next == window.size()) return;
    const double nll = negative_log_likelihood(row.logits, window[next]);
    if (std::isfinite(nll)) return tally.add(nll);
    status = Error{
        fmt::format("{}: the model's answer after {} tokens is no numbers (logits that are NaN or infinite): the file "
                    "is damaged or was converted wrongly",
                    backend.config().name, next)};
  };
  scheduler.submit(std::move(request), [&status](const Result<Generation>& result) {
    if (status.ok() && !result.ok()) status = result.error();
  });
  while (!scheduler.idle()) (void)scheduler.step();
  return status;
}

}  // namespace

Result<PerplexityResult> perplexity(Backend& backend, KvCache& kv, std::span<const TokenId> tokens,
                                    const PerplexityOptions& options) {
  S3D_TRY(check(backend.config(), kv, tokens.size(), options));
  const auto size = usize(options.window);
  const auto total = static_cast<int>(tokens.size() / size);
  Tally tally;
  for (int i = 0; i < total; ++i) {
    const auto cut = tokens.subspan(usize(i) * size, size);
    std::vector<TokenId> window(cut.begin(), cut.end());
    if (options.bos >= 0) window[0] = options.bos;
    S3D_TRY(run_window(backend, kv, window, tally));
    if (options.progress && !options.progress(tally.result(i + 1), total)) {
      return Error{fmt::format("stopped after {} of {} windows", i + 1, total)};
    }
  }
  return tally.result(total);
}

}  // namespace s3d
