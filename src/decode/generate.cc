#include "decode/generate.h"

#include <optional>
#include <utility>

#include "base/index.h"
#include "decode/scheduler.h"

namespace s3d {
namespace {

double rate(int count, double seconds) {
  return count > 0 && seconds > 0 ? count / seconds : 0;
}

// The error of a failed pass has reached the requests, too.
void run_until_idle(Scheduler& scheduler) {
  while (!scheduler.idle()) (void)scheduler.step();
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

Result<Generation> generate(Backend& backend, KvCache& kv, SeqId seq, std::span<const TokenId> prompt,
                            const DecodeOptions& options, const OnToken& on_token, std::shared_ptr<PassCosts> costs) {
  Scheduler scheduler(backend, kv, {.max_running = 1, .step_seconds = 0, .costs = std::move(costs)});
  std::optional<Result<Generation>> answer;
  Request request = {.prompt = {prompt.begin(), prompt.end()}, .options = options, .on_token = on_token};
  request.kept_sequence = seq;
  scheduler.submit(std::move(request), [&answer](Result<Generation> result) { answer = std::move(result); });
  run_until_idle(scheduler);
  return *std::move(answer);
}

std::vector<Result<Generation>> generate_batch(Backend& backend, KvCache& kv, std::span<const BatchItem> items,
                                               std::shared_ptr<PassCosts> costs) {
  Scheduler scheduler(backend, kv, {.max_running = isize(items), .step_seconds = 0, .costs = std::move(costs)});
  std::vector<Result<Generation>> answers(items.size(), Error{"not finished"});
  for (size_t i = 0; i < items.size(); ++i) {
    Request request = {.prompt = items[i].prompt, .options = items[i].options, .on_token = items[i].on_token};
    request.kept_sequence = items[i].seq;
    scheduler.submit(std::move(request), [&answers, i](Result<Generation> result) { answers[i] = std::move(result); });
  }
  run_until_idle(scheduler);
  return answers;
}

}  // namespace s3d
