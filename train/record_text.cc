#include "train/record_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/runtime.h"
#include "model/fingerprint.h"
#include "train/base_record.h"
#include "train/dataset.h"
#include "train/progress.h"
#include "train/text_output.h"

namespace s3d::train {
namespace {

Result<RecordFormat> format_of(const RecordTextOptions& run, const Runtime& runtime) {
  const int n_layers = runtime.config().n_layers;
  const RecordOptions& record = run.record;
  const auto [first, last] = record.layers;
  const int least = record.states ? 0 : 1;
  if (first < 0 || last < 0 || record.layers.count() < least || record.layers.count() > n_layers) {
    return Error{
        fmt::format("--record-layers {}+{}: {} to {} layers together were expected", first, last, least, n_layers)};
  }
  return record_format(runtime.config(), base_fingerprint(runtime.file()), record, RecordStates::kAll);
}

// Passes over all tokens but the last, which chooses nothing; what the rows that chose the answer's tokens gave, or
// all rows if their states are wanted.
Result<BaseRecord> read_through(Runtime& runtime, const Sequence& sequence, const RecordFormat& format) {
  const auto vocab = static_cast<size_t>(runtime.config().vocab_size), d = static_cast<size_t>(format.d_model);
  const bool states = format.states != RecordStates::kNone;
  const int length = sequence.length(), first = states ? 0 : sequence.prompt_length - 1;
  KvCache& kv = runtime.kv();
  RecordRows answer;
  const KvSequence seq = kv.add_sequence();
  const auto pass = [&](int begin, int end) -> Status {
    std::vector<Row> rows;
    std::vector<Want> want;
    for (int i = begin; i < end; ++i) {
      rows.push_back({sequence.tokens[static_cast<size_t>(i)], i, i - begin - 1, seq});
      want.push_back(i >= first ? Want::kLogits : Want::kNothing);
    }
    S3D_ASSIGN(
        const PassOutput out,
        runtime.backend().run(
            {.rows = rows, .layers = LayerSet::all(runtime.config().n_layers), .want = want, .want_hidden = states},
            kv));
    kv.commit(seq, end - begin);
    const std::vector<float> sums = log_sums(out.logits, runtime.config().vocab_size);
    for (size_t i = 0; i < sums.size(); ++i) {
      answer.add(format, out.logits.subspan(i * vocab, vocab), sums[i],
                 states ? out.hidden.subspan(i * d, d) : std::span<const float>(), runtime.config().norm_eps);
    }
    return Ok();
  };
  Status done = Ok();
  const int step = runtime.backend().max_rows();
  for (int begin = 0; begin < length - 1 && done.ok(); begin += step) {
    done = pass(begin, std::min(length - 1, begin + step));
  }
  Result<BaseRecord> record =
      done.ok() ? Result<BaseRecord>(answer.record(kv, seq, format, first, length)) : Result<BaseRecord>(done.error());
  return record;
}

}  // namespace

Result<RecordTextSummary> record_text(const RecordTextOptions& run) {
  S3D_ASSIGN(
      const std::unique_ptr<Runtime> loaded,
      Runtime::load(
          {.model = run.model, .threads = run.threads, .context = run.max_length, .max_rows = 64, .adapter = "none"}));
  Runtime& runtime = *loaded;
  S3D_ASSIGN(const RecordFormat format, format_of(run, runtime));
  S3D_ASSIGN(const Dataset data, read_dataset({run.data}, runtime.config().vocab_size, run.max_length));
  TextOutput output;
  RecordWriter records;
  S3D_TRY(output.open(run.out, "read by " + fingerprint_text(format.fingerprint)));
  S3D_TRY(records.open(record_path(run.out), format));
  RecordTextSummary summary = {.there = static_cast<int64_t>(output.lines.size())};
  Progress clock;
  for (size_t i = 0; i < data.sequences.size(); ++i) {
    const Sequence& sequence = data.sequences[i];
    const auto middle = sequence.tokens.begin() + sequence.prompt_length;
    if (output.lines.contains(static_cast<int64_t>(i))) {
      S3D_TRY(output.check_prompt(static_cast<int64_t>(i), {sequence.tokens.begin(), middle}));
      continue;
    }
    if (run.stop != nullptr && run.stop->load()) {
      summary.finished = false;
      break;
    }
    S3D_ASSIGN(const BaseRecord record, read_through(runtime, sequence, format));
    S3D_ASSIGN(const int64_t at, records.append(record));
    const std::vector<int32_t> answer(middle, sequence.tokens.end());
    S3D_TRY(output.append(static_cast<int64_t>(i), {sequence.tokens.begin(), middle}, answer,
                          runtime.tokenizer().decode(answer), at));
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
