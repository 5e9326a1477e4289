#include "decode/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace s3d {
namespace {

// Rows with logits in one pass: bounds the backend's logits buffer (64 * 262144 tokens * 4 bytes = 64 MiB).
constexpr int kScoredRows = 64;

// -log softmax(logits)[target], summed in double.
double negative_log_likelihood(std::span<const float> logits, int32_t target) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  return std::log(sum) + max - logits[static_cast<size_t>(target)];
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
  if (n_tokens < static_cast<size_t>(options.window)) {
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

// Runs tokens [begin, end) of a window after the ones before it; with `score`, each predicts the next one.
Status run_rows(Backend& backend, KvCache& kv, SeqId seq, std::span<const int32_t> window, size_t begin, size_t end,
                bool score, Tally& tally) {
  std::vector<Row> rows;
  for (size_t i = begin; i < end; ++i) {
    const int parent = static_cast<int>(rows.size()) - 1;
    rows.push_back(Row{window[i], static_cast<int32_t>(i), parent, seq});
  }
  const std::vector<Want> want(rows.size(), score ? Want::kLogits : Want::kNothing);
  Block block{.rows = rows, .layers = LayerSet::all(backend.config().n_layers)};
  block.want = want;
  S3D_ASSIGN(const PassOutput out, backend.run(block, kv));
  kv.commit(seq, static_cast<int>(rows.size()));
  if (!score) return Ok();
  const auto vocab = static_cast<size_t>(backend.config().vocab_size);
  for (size_t i = begin; i < end; ++i) {
    const double nll = negative_log_likelihood(out.logits.subspan((i - begin) * vocab, vocab), window[i + 1]);
    if (!std::isfinite(nll)) {
      return Error{
          fmt::format("{}: the model's answer after {} tokens is no numbers (logits that are NaN or infinite): "
                      "the file is damaged or was converted wrongly",
                      backend.config().name, i + 1)};
    }
    tally.add(nll);
  }
  return Ok();
}

Status run_window(Backend& backend, KvCache& kv, SeqId seq, std::span<const int32_t> window, Tally& tally) {
  kv.use_rope_set(seq, backend.config().rope_set(static_cast<int64_t>(window.size())));
  const size_t first = window.size() / 2, last = window.size() - 1;  // the rows that score: [first, last)
  const auto most = static_cast<size_t>(backend.max_rows());
  for (size_t begin = 0; begin < first; begin += most) {
    S3D_TRY(run_rows(backend, kv, seq, window, begin, std::min(begin + most, first), /*score=*/false, tally));
  }
  const size_t step = std::min<size_t>(most, kScoredRows);
  for (size_t begin = first; begin < last; begin += step) {
    S3D_TRY(run_rows(backend, kv, seq, window, begin, std::min(begin + step, last), /*score=*/true, tally));
  }
  return Ok();
}

}  // namespace

Result<PerplexityResult> perplexity(Backend& backend, KvCache& kv, std::span<const int32_t> tokens,
                                    const PerplexityOptions& options) {
  S3D_TRY(check(backend.config(), kv, tokens.size(), options));
  const auto size = static_cast<size_t>(options.window);
  const auto total = static_cast<int>(tokens.size() / size);
  Tally tally;
  for (int i = 0; i < total; ++i) {
    const auto cut = tokens.subspan(static_cast<size_t>(i) * size, size);
    std::vector<int32_t> window(cut.begin(), cut.end());
    if (options.bos >= 0) window[0] = options.bos;
    const KvSequence seq = kv.add_sequence();
    const Status status = run_window(backend, kv, seq, window, tally);
    if (!status.ok()) return status.error();
    if (options.progress && !options.progress(tally.result(i + 1), total)) {
      return Error{fmt::format("stopped after {} of {} windows", i + 1, total)};
    }
  }
  return tally.result(total);
}

}  // namespace s3d
