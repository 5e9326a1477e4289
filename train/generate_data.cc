#include "train/generate_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

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

// One sequence that is being made.
struct Slot {
  int64_t id;
  bool inventing;               // its prompt is not there yet
  std::vector<TokenId> tokens;  // all decided ones
  size_t given;                 // of them, not made in this phase
  KvSequence seq;
  RecordRows record;  // of the rows that chose the answer's tokens
};

class TextMaker {
 public:
  TextMaker(const DataOptions& options, Runtime& runtime, TextOutput& output)
      : options_(options),
        runtime_(runtime),
        output_(output),
        answers_(sampler(options.temperature, 0)),
        questions_(sampler(1, 1)) {}

  Status prepare() {
    S3D_ASSIGN(prompts_, read_prompts(options_.prompts));
    S3D_TRY(open_records());
    if (options_.raw) {
      if (options_.invent > 0) return Error{"--invent needs a chat template; it does not go with --raw"};
      return check_lines();
    }
    S3D_ASSIGN(template_, make_chat_template(runtime_.tokenizer(), {.template_name = options_.chat_template}));
    // What stands before a user's words: rendered around a mark and cut there.
    const std::string mark = "\x01";
    const std::vector<ChatMessage> question = {{"user", mark}};
    S3D_ASSIGN(ChatPrompt prompt, template_->render(question, /*add_generation_prompt=*/true));
    const size_t at = prompt.text.find(mark);
    if (at == std::string::npos) return Error{"the chat template drops the user's words"};
    prompt.text.resize(at);
    std::erase_if(prompt.marks, [at](const TextSpan& written) { return written.begin >= at; });
    before_user_ = runtime_.tokenizer().encode_chat(prompt);
    return check_lines();
  }

  Result<DataSummary> run() {
    clock_ = {};
    summary_.there = static_cast<int64_t>(output_.lines.size());
    while (true) {
      S3D_TRY(fill());
      if (slots_.empty()) break;
      if (options_.stop != nullptr && options_.stop->load()) {
        summary_.finished = false;
        break;
      }
      S3D_TRY(pass());
      show(false);
    }
    show(true);
    return summary_;
  }

 private:
  Sampler sampler(float temperature, uint64_t purpose) const {
    return Sampler(SamplerOptions{.temperature = temperature, .seed = keyed(options_.seed, purpose)});
  }
  int64_t total() const { return static_cast<int64_t>(prompts_.size()) + options_.invent; }
  bool records() const { return format_.layers.count() > 0; }

  Status open_records() {
    if (options_.record.layers.count() == 0) return Ok();
    const int n_layers = runtime_.config().n_layers;
    format_ = record_format(runtime_.config(), base_fingerprint(runtime_.file()), options_.record);
    if (format_.layers.count() > n_layers) {
      return Error{fmt::format("--record-layers {}+{}: the model has {} layers", format_.layers.first,
                               format_.layers.last, n_layers)};
    }
    return records_.open(record_path(options_.out), format_);
  }

  Result<std::vector<TokenId>> encode(const std::string& prompt) const {
    if (options_.raw) return runtime_.encode(prompt, /*parse_special=*/false);
    return runtime_.encode_chat(*template_, {{"user", prompt}});
  }

  // What is there was made of the prompts of this run.
  Status check_lines() const {
    for (const auto& [id, ignored] : output_.lines) {
      if (id < 0 || id >= static_cast<int64_t>(prompts_.size())) continue;  // invented
      S3D_ASSIGN(const std::vector<TokenId> tokens, encode(prompts_[static_cast<size_t>(id)]));
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
    while (slots_.size() < static_cast<size_t>(options_.sequences) && next_ < total()) {
      const int64_t id = next_++;
      if (output_.lines.contains(id)) continue;
      const bool inventing = id >= static_cast<int64_t>(prompts_.size());
      std::vector<TokenId> tokens = before_user_;
      if (!inventing) {
        S3D_ASSIGN(tokens, encode(prompts_[static_cast<size_t>(id)]));
        if (!takes(tokens)) continue;
      }
      const size_t given = tokens.size();
      slots_.push_back({id, inventing, std::move(tokens), given, runtime_.kv().add_sequence(), {}});
    }
    return Ok();
  }

  // One pass: the next row of every sequence that decodes, and prompts in the rows that are left.
  Status pass() {
    std::vector<Row> rows;
    std::vector<Want> want;
    std::vector<int> taken(slots_.size());
    for (const bool decoding : {true, false}) {
      for (size_t i = 0; i < slots_.size(); ++i) {
        const Slot& slot = slots_[i];
        const int done = runtime_.kv().length(slot.seq), pending = static_cast<int>(slot.tokens.size()) - done;
        if ((pending == 1) != decoding) continue;
        taken[i] = std::min(pending, runtime_.backend().max_rows() - static_cast<int>(rows.size()));
        add_rows(slot, done, taken[i], rows, want);
      }
    }
    const Block block{
        .rows = rows, .layers = LayerSet::all(runtime_.config().n_layers), .want = want, .want_hidden = format_.states};
    S3D_ASSIGN(const PassOutput out, runtime_.backend().run(block, runtime_.kv()));
    return accept(taken, out);
  }

  static void add_rows(const Slot& slot, int done, int count, std::vector<Row>& rows, std::vector<Want>& want) {
    for (int i = 0; i < count; ++i) {
      const int parent = i == 0 ? -1 : static_cast<int>(rows.size()) - 1;
      rows.push_back({slot.tokens[static_cast<size_t>(done + i)], done + i, parent, slot.seq});
      const bool last = done + i + 1 == static_cast<int>(slot.tokens.size());
      want.push_back(last ? Want::kLogits : Want::kNothing);
    }
  }

  // Logits come in the order of the rows: first those of sequences that decode, then of prompts that were completed.
  Status accept(const std::vector<int>& taken, const PassOutput& out) {
    const std::vector<float> sums = sums_of(out);
    const auto vocab = static_cast<size_t>(runtime_.config().vocab_size);
    const auto d = static_cast<size_t>(runtime_.config().d_model);
    std::vector<size_t> order;
    for (const bool decoding : {true, false}) {
      for (size_t i = 0; i < slots_.size(); ++i) {
        const int pending = static_cast<int>(slots_[i].tokens.size()) - runtime_.kv().length(slots_[i].seq);
        if ((pending == 1) == decoding && taken[i] == pending) order.push_back(i);
      }
    }
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (taken[i] > 0) runtime_.kv().commit(slots_[i].seq, taken[i]);
    }
    std::set<size_t> ended;
    for (size_t w = 0; w < order.size(); ++w) {
      Slot& slot = slots_[order[w]];
      const Sampler& sampler = slot.inventing ? questions_ : answers_;
      const TokenId token = sampler.sample(out.logits.subspan(w * vocab, vocab), slot.tokens,
                                           static_cast<uint64_t>(slot.id), static_cast<int>(slot.tokens.size()), work_);
      ++summary_.tokens;
      if (records() && !slot.inventing) {
        slot.record.add(format_, out.logits.subspan(w * vocab, vocab), sums[w],
                        format_.states ? out.hidden.subspan(w * d, d) : std::span<const float>(),
                        runtime_.config().norm_eps);
      }
      S3D_ASSIGN(const bool done, push(slot, token));
      if (done) ended.insert(order[w]);
    }
    for (auto i = ended.rbegin(); i != ended.rend(); ++i) {
      slots_.erase(slots_.begin() + static_cast<std::ptrdiff_t>(*i));
    }
    return Ok();
  }

  // log(sum(exp(logits))) of each row, if it is needed.
  std::vector<float> sums_of(const PassOutput& out) const {
    return records() ? log_sums(out.logits, runtime_.config().vocab_size) : std::vector<float>();
  }

  // The record of a finished slot; -1 if none is wanted.
  Result<int64_t> append_record(const Slot& slot) {
    if (!records()) return int64_t{-1};
    // The row of position p says what comes at p + 1: the first answer token was chosen in row given - 1.
    return records_.append(slot.record.record(runtime_.kv(), slot.seq, format_, static_cast<int>(slot.given) - 1,
                                              static_cast<int>(slot.tokens.size())));
  }

  // Adds a token; true if the slot has nothing more to do.
  Result<bool> push(Slot& slot, TokenId token) {
    slot.tokens.push_back(token);
    const bool end = runtime_.tokenizer().is_end(token);
    const size_t made = slot.tokens.size() - slot.given;
    const auto most = static_cast<size_t>(slot.inventing ? options_.max_prompt : options_.max_answer);
    if (!end && made < most) return false;
    if (slot.inventing) return end ? begin_answer(slot) : abandon();
    const auto middle = slot.tokens.begin() + static_cast<std::ptrdiff_t>(slot.given);
    S3D_ASSIGN(const int64_t record_at, append_record(slot));
    const std::vector<TokenId> prompt(slot.tokens.begin(), middle), answer(middle, slot.tokens.end());
    const std::string text = runtime_.tokenizer().decode({middle, slot.tokens.end() - (end ? 1 : 0)});
    S3D_TRY(output_.append(slot.id, prompt, answer, text, record_at));
    ++summary_.written;
    return true;
  }

  bool abandon() {
    ++summary_.left_out;
    return true;
  }

  // The invented words become the prompt of a chat, written anew by the template.
  Result<bool> begin_answer(Slot& slot) {
    const auto begin = slot.tokens.begin() + static_cast<std::ptrdiff_t>(slot.given);
    std::string text = runtime_.tokenizer().decode({begin, slot.tokens.end() - 1});
    const size_t first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
    if (first == std::string::npos) return abandon();
    S3D_ASSIGN(std::vector<TokenId> prompt, encode(text.substr(first, last + 1 - first)));
    if (!takes(prompt)) return true;
    // Keys and values of the beginning that both have in common stay.
    const auto same = std::mismatch(prompt.begin(), prompt.end() - 1, slot.tokens.begin(), slot.tokens.end()).first;
    const int common = std::min(runtime_.kv().length(slot.seq), static_cast<int>(same - prompt.begin()));
    runtime_.kv().truncate(slot.seq, common);
    slot.inventing = false;
    slot.given = prompt.size();
    slot.tokens = std::move(prompt);
    return false;
  }

  void show(bool last) {
    summary_.seconds = clock_.seconds();
    if (!options_.log || !clock_.due(last)) return;
    const double rate = static_cast<double>(summary_.tokens) / summary_.seconds;
    const auto open = static_cast<double>(total() - next_) + static_cast<double>(slots_.size()) / 2;
    const double left = summary_.written > 0 ? open * summary_.seconds / static_cast<double>(summary_.written) : 0;
    options_.log(fmt::format("{} of {} written, {} left out, {:.0f} tokens/s, {:.0f} s left",
                             summary_.written + summary_.there, total(), summary_.left_out, rate, left));
  }

  const DataOptions& options_;
  Runtime& runtime_;
  TextOutput& output_;
  Sampler answers_, questions_;
  Sampler::Workspace work_;
  std::vector<std::string> prompts_;
  std::optional<ChatTemplate> template_;
  std::vector<TokenId> before_user_;
  RecordFormat format_;
  RecordWriter records_;
  std::vector<Slot> slots_;
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
