#include "train/generate_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "decode/scheduler.h"
#include "engine/prompt.h"
#include "engine/prompt_file.h"
#include "engine/runtime.h"
#include "model/fingerprint.h"
#include "train/base_record.h"
#include "train/keyed_random.h"
#include "train/progress.h"
#include "train/text_output.h"

namespace s3d::train {
namespace {

Result<std::vector<std::string>> read_prompts(const std::string& path) {
  std::vector<std::string> prompts;
  if (path.empty()) return prompts;
  S3D_ASSIGN(std::vector<FilePrompt> all, read_prompt_file(path));
  for (FilePrompt& prompt : all) prompts.push_back(std::move(prompt.turns.front()));
  return prompts;
}

// One text that is being made.
struct Work {
  int64_t id;
  bool inventing;               // its prompt is not there yet
  std::vector<TokenId> prompt;  // of this phase: words before the user's while inventing
  KvSequence seq;
  RecordRows record;  // of the rows that chose the answer's tokens
};

class TextMaker {
 public:
  TextMaker(const DataOptions& options, Runtime& runtime, TextOutput& output)
      : options_(options),
        runtime_(runtime),
        output_(output),
        scheduler_(runtime.backend(), runtime.kv(),
                   {.max_running = options.sequences, .step_seconds = 0, .costs = runtime.costs()}) {}

  Status prepare() {
    S3D_ASSIGN(prompts_, read_prompts(options_.prompts));
    S3D_TRY(open_records());
    S3D_ASSIGN(maker_, PromptMaker::create(
                           runtime_.tokenizer(),
                           {.template_name = options_.chat_template, .raw = options_.raw, .raw_special = false}));
    if (options_.raw) {
      if (options_.invent > 0) return Error{"--invent needs a chat template; it does not go with --raw"};
      return check_lines();
    }
    S3D_TRY(maker_->check_chat());
    // What stands before a user's words: rendered around a mark and cut there.
    const std::string mark = "\x01";
    const std::vector<ChatMessage> question = {{"user", mark}};
    S3D_ASSIGN(ChatPrompt prompt, maker_->render(chat_context(question)));
    const size_t at = prompt.text.find(mark);
    if (at == std::string::npos) return Error{"the chat template drops the user's words"};
    prompt.text.resize(at);
    std::erase_if(prompt.marks, [at](const TextSpan& written) { return written.begin >= at; });
    before_user_ = maker_->ids(prompt);
    return check_lines();
  }

  Result<DataSummary> run() {
    clock_ = {};
    summary_.there = static_cast<int64_t>(output_.lines.size());
    while (true) {
      S3D_TRY(fill());
      if (scheduler_.idle()) break;
      if (options_.stop != nullptr && options_.stop->load()) {
        summary_.finished = false;
        break;
      }
      S3D_TRY(scheduler_.step());
      S3D_TRY(std::exchange(status_, Ok()));
      show(false);
    }
    show(true);
    return summary_;
  }

 private:
  SamplerOptions sampler(float temperature, uint64_t purpose) const {
    return {.temperature = temperature, .seed = keyed(options_.seed, purpose)};
  }
  int64_t total() const { return static_cast<int64_t>(prompts_.size()) + options_.invent; }
  bool records() const { return options_.record.layers.count() > 0 || options_.record.states; }

  Status open_records() {
    if (!records()) return Ok();
    const int n_layers = runtime_.config().n_layers;
    format_ =
        record_format(runtime_.config(), base_fingerprint(runtime_.file()), options_.record, RecordStates::kAnswer);
    if (format_.layers.count() > n_layers) {
      return Error{fmt::format("--record-layers {}+{}: the model has {} layers", format_.layers.first,
                               format_.layers.last, n_layers)};
    }
    return records_.open(record_path(options_.out), format_);
  }

  // What is there was made of the prompts of this run.
  Status check_lines() const {
    for (const auto& [id, ignored] : output_.lines) {
      if (id < 0 || id >= static_cast<int64_t>(prompts_.size())) continue;  // invented
      S3D_ASSIGN(const std::vector<TokenId> tokens, maker_->question(prompts_[static_cast<size_t>(id)]));
      S3D_TRY(output_.check_prompt(id, tokens));
    }
    return Ok();
  }

  // A prompt may be answered: it is new and not too long.
  bool takes(const std::vector<TokenId>& prompt) {
    const bool good = !prompt.empty() && prompt.size() <= static_cast<size_t>(options_.max_prompt) &&
                      output_.prompts.insert(hash_of(prompt)).second;
    if (!good) ++summary_.left_out;
    return good;
  }

  Status fill() {
    while (open_ < options_.sequences && next_ < total()) {
      const int64_t id = next_++;
      if (output_.lines.contains(id)) continue;
      const bool inventing = id >= static_cast<int64_t>(prompts_.size());
      std::vector<TokenId> tokens = before_user_;
      if (!inventing) {
        S3D_ASSIGN(tokens, maker_->question(prompts_[static_cast<size_t>(id)]));
        if (!takes(tokens)) continue;
      }
      ++open_;
      submit(std::make_shared<Work>(Work{id, inventing, std::move(tokens), runtime_.kv().add_sequence(), {}}));
    }
    return Ok();
  }

  // Its next phase: an invented question, or the answer. The end token belongs to the text, so it is no end for the
  // engine but a reason to stop.
  void submit(const std::shared_ptr<Work>& work) {
    Request request = {.prompt = work->prompt};
    request.options.sampler = work->inventing ? sampler(1, 1) : sampler(options_.temperature, 0);
    request.options.max_tokens = work->inventing ? options_.max_prompt : options_.max_answer;
    request.options.stream = static_cast<uint64_t>(work->id);
    request.kept_sequence = work->seq;
    request.on_token = [this](NewToken token) {
      ++summary_.tokens;
      return runtime_.tokenizer().is_end(token) ? Next::kStop : Next::kContinue;
    };
    if (records() && !work->inventing) {
      request.want_hidden = format_.states != RecordStates::kNone;
      request.on_row = [this, work](const RowOutput& row) {
        const float log_sum = log_sums(row.logits, runtime_.config().vocab_size).front();
        work->record.add(format_, row.logits, log_sum, row.hidden, runtime_.config().norm_eps);
      };
    }
    scheduler_.submit(std::move(request), [this, work](const Result<Generation>& made) {
      if (!status_.ok()) return;
      status_ = made.ok() ? finish(work, made->tokens) : made.error();
    });
  }

  // What the engine made of a work's phase.
  Status finish(const std::shared_ptr<Work>& work, const std::vector<TokenId>& made) {
    const bool end = !made.empty() && runtime_.tokenizer().is_end(made.back());
    if (!work->inventing) {
      --open_;
      return write(*work, made, end);
    }
    bool answers = false;
    if (end) {
      S3D_ASSIGN(answers, begin_answer(*work, made));
    } else {
      ++summary_.left_out;
    }
    if (answers) {
      submit(work);
    } else {
      --open_;
    }
    return Ok();
  }

  Status write(const Work& work, const std::vector<TokenId>& answer, bool end) {
    S3D_ASSIGN(const int64_t record_at, append_record(work, answer.size()));
    const std::string text = runtime_.tokenizer().decode({answer.begin(), answer.end() - (end ? 1 : 0)});
    S3D_TRY(output_.append(work.id, work.prompt, answer, text, record_at));
    ++summary_.written;
    return Ok();
  }

  // Where the record of a finished text is; -1 if none is wanted.
  Result<int64_t> append_record(const Work& work, size_t n_answer) {
    if (!records()) return int64_t{-1};
    // The row of position p says what comes at p + 1: the first answer token was chosen in the prompt's last row.
    const auto given = static_cast<int>(work.prompt.size());
    return records_.append(
        work.record.record(runtime_.kv(), work.seq, format_, given - 1, given + static_cast<int>(n_answer)));
  }

  // The invented words become the prompt of a chat, written anew by the template. False if it is not to be answered.
  Result<bool> begin_answer(Work& work, const std::vector<TokenId>& words) {
    std::string text = runtime_.tokenizer().decode({words.begin(), words.end() - 1});
    const size_t first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
    if (first == std::string::npos) {
      ++summary_.left_out;
      return false;
    }
    S3D_ASSIGN(std::vector<TokenId> prompt, maker_->question(text.substr(first, last + 1 - first)));
    if (!takes(prompt)) return false;
    // Keys and values of the beginning that both have in common stay.
    std::vector<TokenId> there = work.prompt;
    there.insert(there.end(), words.begin(), words.end());
    const auto same = std::mismatch(prompt.begin(), prompt.end() - 1, there.begin(), there.end()).first;
    const int common = std::min(runtime_.kv().length(work.seq), static_cast<int>(same - prompt.begin()));
    runtime_.kv().truncate(work.seq, common);
    work.inventing = false;
    work.prompt = std::move(prompt);
    return true;
  }

  void show(bool last) {
    summary_.seconds = clock_.seconds();
    if (!options_.log || !clock_.due(last)) return;
    const double rate = static_cast<double>(summary_.tokens) / summary_.seconds;
    const auto open = static_cast<double>(total() - next_) + static_cast<double>(open_) / 2;
    const double left = summary_.written > 0 ? open * summary_.seconds / static_cast<double>(summary_.written) : 0;
    options_.log(fmt::format("{} of {} written, {} left out, {:.0f} tokens/s, {:.0f} s left",
                             summary_.written + summary_.there, total(), summary_.left_out, rate, left));
  }

  const DataOptions& options_;
  Runtime& runtime_;
  TextOutput& output_;
  Scheduler scheduler_;
  std::vector<std::string> prompts_;
  std::optional<PromptMaker> maker_;
  std::vector<TokenId> before_user_;
  RecordFormat format_;
  RecordWriter records_;
  int open_ = 0;          // texts that are being made
  Status status_ = Ok();  // the first error of this step
  int64_t next_ = 0;
  DataSummary summary_;
  Progress clock_;
};

Status check(const DataOptions& o) {
  if (o.prompts.empty() && o.invent <= 0)
    return Error{"nothing to do: name a file with --prompts or a number with --invent"};
  if (o.sequences < 1 || o.sequences > 256)
    return Error{fmt::format("--sequences is {}, expected 1 to 256", o.sequences)};
  if (o.max_prompt < 1) return Error{fmt::format("--max-prompt is {}, expected 1 or more", o.max_prompt)};
  if (o.max_answer < 1) return Error{fmt::format("--max-answer is {}, expected 1 or more", o.max_answer)};
  if (o.temperature < 0) return Error{fmt::format("--temperature is {}, expected 0 or more", o.temperature)};
  return Ok();
}

// What an answer depends on, beside its prompt and id. How many tokens it may have is not among it: who raises the
// number goes on with the prompts that are left.
std::string run_name(const DataOptions& options, const Runtime& runtime) {
  return fmt::format("{} seed {} temperature {}{}{}", fingerprint_text(base_fingerprint(runtime.file())), options.seed,
                     options.temperature, options.raw ? " raw" : "",
                     options.chat_template.empty() ? "" : " template " + options.chat_template);
}

}  // namespace

Result<DataSummary> generate_data(const DataOptions& options) {
  S3D_TRY(check(options));
  // An invented question may be max_prompt tokens after the words that stand before it.
  const int context = options.max_prompt + std::max(options.max_answer, options.max_prompt) + 64;
  S3D_ASSIGN(const std::unique_ptr<Runtime> loaded, Runtime::load({.model = options.model,
                                                                   .threads = options.threads,
                                                                   .context = context,
                                                                   .sequences = options.sequences,
                                                                   .max_rows = 256}));
  Runtime& runtime = *loaded;
  TextOutput output;
  S3D_TRY(output.open(options.out, run_name(options, runtime)));
  TextMaker maker(options, runtime, output);
  S3D_TRY(maker.prepare());
  return maker.run();
}

}  // namespace s3d::train
