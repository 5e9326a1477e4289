#include "train/keep_context.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/engine.h"
#include "model/fingerprint.h"
#include "train/dataset.h"
#include "train/kept_context.h"
#include "train/progress.h"
#include "train/text_output.h"

namespace s3d::train {
namespace {

Result<KeptFormat> format_of(const ContextRun& run, const Engine& engine) {
  const int n_layers = engine.config().n_layers;
  const KeepPlan& keep = run.keep;
  if (keep.head < 0 || keep.tail < 0 || keep.layers() < 1 || keep.layers() > n_layers) {
    return Error{fmt::format("--keep-head {} and --keep-tail {}: 1 to {} layers together were expected", keep.head,
                             keep.tail, n_layers)};
  }
  return kept_format(engine.config(), base_fingerprint(engine.file()), keep);
}

// Passes over all tokens but the last, which chooses nothing; what the rows that chose the answer's tokens gave.
Result<KeptRecord> read_through(Engine& engine, const Sequence& sequence, const KeptFormat& format) {
  const auto vocab = static_cast<size_t>(engine.config().vocab_size), d = static_cast<size_t>(format.d_model);
  const int length = sequence.length(), first = sequence.prompt_length - 1;
  KvCache& kv = engine.kv();
  KeptRows kept;
  const SeqId seq = kv.add_sequence();
  const auto pass = [&](int begin, int end) -> Status {
    std::vector<Row> rows;
    std::vector<Want> want;
    for (int i = begin; i < end; ++i) {
      rows.push_back({sequence.tokens[static_cast<size_t>(i)], i, i - begin - 1, seq});
      want.push_back(i >= first ? Want::kLogits : Want::kNothing);
    }
    S3D_ASSIGN(
        const PassOutput out,
        engine.backend().run(
            {.rows = rows, .layers = {engine.config().n_layers, 0}, .want = want, .want_hidden = format.states}, kv));
    kv.commit(seq, end - begin);
    const std::vector<float> sums = log_sums(out.logits, engine.config().vocab_size);
    for (size_t i = 0; i < sums.size(); ++i) {
      kept.add(format, out.logits.subspan(i * vocab, vocab), sums[i],
               format.states ? out.hidden.subspan(i * d, d) : std::span<const float>(), engine.config().norm_eps);
    }
    return Ok();
  };
  Status done = Ok();
  const int step = engine.backend().max_rows();
  for (int begin = 0; begin < length - 1 && done.ok(); begin += step) {
    done = pass(begin, std::min(length - 1, begin + step));
  }
  Result<KeptRecord> record =
      done.ok() ? Result<KeptRecord>(kept.record(kv, seq, format, first, length)) : Result<KeptRecord>(done.error());
  kv.remove_sequence(seq);
  return record;
}

}  // namespace

Result<ContextSummary> keep_context(const ContextRun& run) {
  S3D_ASSIGN(
      Engine engine,
      Engine::load(
          {.model = run.model, .threads = run.threads, .context = run.max_length, .max_rows = 64, .adapter = "none"}));
  S3D_ASSIGN(const KeptFormat format, format_of(run, engine));
  S3D_ASSIGN(const Dataset data, read_dataset({run.data}, engine.config().vocab_size, run.max_length));
  TextOutput output;
  KeptWriter context;
  S3D_TRY(output.open(run.out));
  S3D_TRY(context.open(kept_path(run.out), format));
  ContextSummary summary = {.there = static_cast<int64_t>(output.ids.size())};
  Progress clock;
  for (size_t i = 0; i < data.sequences.size(); ++i) {
    if (output.ids.contains(static_cast<int64_t>(i))) continue;
    if (run.stop != nullptr && run.stop->load()) {
      summary.finished = false;
      break;
    }
    const Sequence& sequence = data.sequences[i];
    S3D_ASSIGN(const KeptRecord record, read_through(engine, sequence, format));
    S3D_ASSIGN(const int64_t at, context.append(record));
    const auto middle = sequence.tokens.begin() + sequence.prompt_length;
    const std::vector<int32_t> answer(middle, sequence.tokens.end());
    S3D_TRY(output.append(static_cast<int64_t>(i), {sequence.tokens.begin(), middle}, answer,
                          engine.tokenizer().decode(answer), at));
    ++summary.written;
    summary.tokens += sequence.length();
    summary.seconds = clock.seconds();
    if (!run.log || !clock.due(i + 1 == data.sequences.size())) continue;
    run.log(fmt::format("{} of {} sequences, {:.0f} tokens/s", summary.there + summary.written, data.sequences.size(),
                        static_cast<double>(summary.tokens) / summary.seconds));
  }
  return summary;
}

}  // namespace s3d::train
