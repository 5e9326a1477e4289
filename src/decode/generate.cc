#include "decode/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "decode/sequence.h"

namespace s3d {
namespace {

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
                            const DecodeOptions& options, const OnToken& on_token) {
  SequenceRun run(backend, kv, seq, prompt, options, on_token);
  S3D_TRY(run.check());
  S3D_TRY(run.prefill());
  SequenceRun* const one[] = {&run};
  while (!run.finished()) S3D_TRY(round(backend, kv, one));
  return std::move(run).result();
}

Result<std::vector<Generation>> generate_batch(Backend& backend, KvCache& kv, std::span<const BatchItem> items) {
  if (items.size() > static_cast<size_t>(backend.max_rows())) {
    return Error{
        fmt::format("a batch of {} sequences: each takes a row of a pass, which has {} at most; raise the rows of a "
                    "pass, or make smaller batches",
                    items.size(), backend.max_rows())};
  }
  std::deque<SequenceRun> runs;  // a deque, because runs do not move
  std::vector<SequenceRun*> all;
  for (const BatchItem& item : items) {
    all.push_back(&runs.emplace_back(backend, kv, item.seq, item.prompt, item.options, item.on_token));
    S3D_TRY(runs.back().check());
  }
  for (SequenceRun& run : runs) S3D_TRY(run.prefill());
  const auto running = [&] {
    return std::any_of(runs.begin(), runs.end(), [](const SequenceRun& run) { return !run.finished(); });
  };
  while (running()) S3D_TRY(round(backend, kv, all));
  std::vector<Generation> out;
  for (SequenceRun& run : runs) out.push_back(std::move(run).result());
  return out;
}

}  // namespace s3d
