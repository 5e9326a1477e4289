#include "cli/bench_measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/index.h"
#include "base/median.h"
#include "base/stopwatch.h"
#include "cli/bandwidth.h"
#include "cli/report.h"
#include "engine/speculation.h"

namespace s3d::cli {
namespace {

// The samples of one round after the other.
struct Samples {
  std::vector<double> prefill_tps, decode_tps, read_gbps;
  std::vector<std::vector<double>> pass_ms;   // [max_rows][round]
  std::vector<std::vector<double>> draft_ms;  // [masks + 1][round]
};

class Bench {
 public:
  Bench(Runtime& runtime, const BenchOptions& plan)
      : runtime_(runtime), plan_(plan), seq_(runtime.kv().add_sequence()) {
    const auto n = usize(std::max(plan.prompt, plan.depth + plan.max_rows));
    const auto vocab = static_cast<double>(runtime.config().vocab_size);
    for (size_t i = 0; i < n; ++i) {  // any tokens do: the time of a pass does not depend on them
      tokens_.push_back(static_cast<TokenId>(keyed_uniform(/*seed=*/1, /*stream=*/0, static_cast<int>(i)) * vocab));
    }
    forget();
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Status open_drafter();
  Status check_answer();
  Status round(const ReadBuffer* buffer, ThreadPool* readers);
  void forget_samples();
  BenchResult result() const;

 private:
  Result<Timings> generate(int prompt, int answer);
  Status fill(int tokens);
  Result<PassOutput> pass(int rows);
  Status time_generation();
  Status time_passes();
  Status time_drafts();
  Status time(auto once, std::vector<double>& samples) const;
  void forget();

  Runtime& runtime_;
  const BenchOptions& plan_;
  KvSequence seq_;
  std::vector<TokenId> tokens_;
  std::unique_ptr<Drafter> drafter_;  // or null
  Samples samples_;
  int repeats_ = 1;  // passes per sample
};

// The adapter's, if it drafts by a pass of its own.
Status Bench::open_drafter() {
  const DraftFile* adapter = runtime_.first_adapter();
  if (adapter == nullptr || adapter->kind != "s3d") return Ok();
  SpeculationOptions named;
  named.drafter = adapter->kind;
  S3D_ASSIGN(drafter_, make_named_drafter(runtime_, named));
  forget();
  return Ok();
}

// Generates greedily, without a stop, from an empty cache.
Result<Timings> Bench::generate(int prompt, int answer) {
  runtime_.kv().truncate(seq_, 0);
  const DecodeOptions options{.max_tokens = answer, .is_end = [](TokenId) { return false; }};
  const auto tokens = std::span(tokens_).first(usize(prompt));
  S3D_ASSIGN(const Generation generation, runtime_.generate(seq_, tokens, options));
  return generation.timings;
}

Status Bench::fill(int tokens) {
  S3D_TRY(generate(tokens, /*answer=*/0));
  return Ok();
}

// One pass over a chain of rows after the committed ones; the rows stay pending.
Result<PassOutput> Bench::pass(int rows) {
  std::vector<Row> block;
  const int begin = runtime_.kv().length(seq_);
  for (int i = 0; i < rows; ++i) {
    block.push_back({.token = tokens_[begin + i], .position = begin + i, .parent = i - 1, .seq = seq_});
  }
  const std::vector<Want> want(block.size(), Want::kLogits);
  return runtime_.backend().run({.rows = block, .layers = LayerSet::all(runtime_.config().n_layers), .want = want},
                                runtime_.kv());
}

// Every row of a pass over n rows must have the logits, to the bit, that it has in a pass of its own.
Status Bench::check_answer() {
  S3D_TRY(fill(plan_.depth));
  std::vector<float> alone;
  for (int i = 0; i < plan_.max_rows; ++i) {
    S3D_ASSIGN(const PassOutput out, pass(1));
    alone.insert(alone.end(), out.logits.begin(), out.logits.end());
    runtime_.kv().commit(seq_, 1);
  }
  for (int rows = 1; rows <= plan_.max_rows; ++rows) {
    runtime_.kv().truncate(seq_, plan_.depth);
    S3D_ASSIGN(const PassOutput out, pass(rows));
    if (std::memcmp(out.logits.data(), alone.data(), out.logits.size_bytes()) != 0) {
      return Error{
          fmt::format("wrong answer: the logits of a pass over {} rows are not those of {} passes over one; "
                      "nothing was timed",
                      rows, rows)};
    }
  }
  runtime_.kv().truncate(seq_, plan_.depth);
  return Ok();
}

Status Bench::time_generation() {
  S3D_ASSIGN(const Timings prefill, generate(plan_.prompt, /*answer=*/0));
  samples_.prefill_tps.push_back(prefill.prefill_tps());
  S3D_ASSIGN(const Timings decode, generate(/*prompt=*/1, plan_.decode + 1));
  samples_.decode_tps.push_back(decode.decode_tps());
  return Ok();
}

// One sample: the milliseconds of `once`, the mean over its repeats.
Status Bench::time(auto once, std::vector<double>& samples) const {
  const Stopwatch watch;
  for (int i = 0; i < repeats_; ++i) S3D_TRY(once());
  samples.push_back(1e3 * watch.seconds() / repeats_);
  return Ok();
}

Status Bench::time_passes() {
  S3D_TRY(fill(plan_.depth));
  for (int rows = 1; rows <= plan_.max_rows; ++rows) {
    const auto once = [&]() -> Status {
      S3D_TRY(pass(rows));
      runtime_.kv().truncate(seq_, plan_.depth);
      return Ok();
    };
    S3D_TRY(time(once, samples_.pass_ms[rows - 1]));
  }
  return Ok();
}

// Choosing the tokens is a part of a draft.
Status Bench::time_drafts() {
  const auto tokens = std::span(tokens_).first(usize(plan_.depth) + 1);
  for (size_t d = 0; d < samples_.draft_ms.size(); ++d) {
    const int depth = static_cast<int>(d) + 1;
    DraftTree tree;
    const auto once = [&] {
      return drafter_->draft({.seq = seq_, .tokens = tokens, .state = {}}, {.nodes = depth, .depth = depth}, tree);
    };
    S3D_TRY(time(once, samples_.draft_ms[d]));
  }
  return Ok();
}

Status Bench::round(const ReadBuffer* buffer, ThreadPool* readers) {
  if (buffer != nullptr) {
    const Bytes bytes = buffer->bytes();
    samples_.read_gbps.push_back(static_cast<double>(bytes.size()) / read_seconds({&bytes, 1}, *readers) / 1e9);
  }
  S3D_TRY(time_generation());
  S3D_TRY(time_passes());
  return time_drafts();
}

// After the warm-up: small models get several passes in a sample, so that one lasts about 10 ms at least.
void Bench::forget_samples() {
  repeats_ = std::clamp(static_cast<int>(10.0 / samples_.pass_ms[0].back()) + 1, 1, 16);
  forget();
}

void Bench::forget() {
  samples_ = Samples{};
  samples_.pass_ms.resize(usize(plan_.max_rows));
  samples_.draft_ms.resize(drafter_ != nullptr ? usize(drafter_->max_depth()) : 0);
}

BenchResult Bench::result() const {
  BenchResult r;
  r.prefill_tps = median(samples_.prefill_tps);
  r.decode_tps = median(samples_.decode_tps);
  r.read_gbps = median(samples_.read_gbps);
  r.weight_gbps = r.decode_tps * static_cast<double>(runtime_.backend().weight_bytes()) / 1e9;
  for (const auto& samples : samples_.pass_ms) r.pass_ms.push_back(median(samples));
  for (double ms : r.pass_ms) r.pass_cost.push_back(ms / r.pass_ms[0]);
  for (const auto& samples : samples_.draft_ms) r.draft_cost.push_back(median(samples) / r.pass_ms[0]);
  return r;
}

Status check_fits(const Runtime& runtime, const BenchOptions& plan) {
  const int needed = std::max({plan.prompt + 1, plan.decode + 2, plan.depth + plan.max_rows});
  if (needed <= runtime.context()) return Ok();
  return Error{
      fmt::format("the measurement needs {} positions and the context holds {}: choose a smaller --prompt or "
                  "--decode, or raise --context",
                  needed, runtime.context())};
}

}  // namespace

Result<BenchResult> measure_bench(Runtime& runtime, const BenchOptions& plan, const OnRound& on_round) {
  S3D_TRY(check_fits(runtime, plan));
  const Error stopped{"stopped before all rounds were done"};
  Bench bench(runtime, plan);
  S3D_TRY(bench.open_drafter());
  S3D_TRY(bench.check_answer());
  if (!on_round(0)) return stopped;
  S3D_TRY(bench.round(nullptr, nullptr));
  bench.forget_samples();
  const size_t peak_rss = peak_resident_bytes();
  ThreadPool readers(runtime.threads());
  S3D_ASSIGN(const ReadBuffer buffer, ReadBuffer::create(plan.buffer_bytes, readers));
  for (int i = 1; i <= plan.samples; ++i) {
    if (!on_round(i)) return stopped;
    S3D_TRY(bench.round(&buffer, &readers));
  }
  BenchResult result = bench.result();
  result.peak_rss = peak_rss;
  return result;
}

}  // namespace s3d::cli
