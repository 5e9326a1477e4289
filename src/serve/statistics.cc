#include "serve/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>

#include "base/index.h"

namespace s3d::serve {
namespace {

// A label's value: backslash, quote and line feed are escaped.
std::string label_value(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

}  // namespace

void Histogram::add(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[usize(at - bounds_.begin())];
  sum_ += value;
  ++count_;
}

void Histogram::write(const std::string& name, const std::string& labels, std::string& out) const {
  int64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bounds_[i], below);
  }
  out += fmt::format("{}_bucket{{{},le=\"+Inf\"}} {}\n", name, labels, count_);
  out += fmt::format("{0}_sum{{{1}}} {2}\n{0}_count{{{1}}} {3}\n", name, labels, sum_, count_);
}

void Statistics::count(const std::string& model, const AnswerRecord& answer) {
  const JobEnd& end = answer.end;
  const std::lock_guard lock(mutex_);
  Totals& t = totals_[model];
  ++t.ended[end.error ? "error" : std::string(finish_reason_name(end.reason))];
  if (end.error) return;
  t.prompt_tokens += end.timings.prompt_tokens;
  t.cached_tokens += end.timings.cached_tokens;
  t.answer_tokens += end.answer_tokens;
  t.prompt_seconds += end.timings.prefill_seconds;
  t.answer_seconds += end.timings.decode_seconds;
  t.longest = std::max<int64_t>(t.longest, end.timings.prompt_tokens + end.answer_tokens);
  t.spec.add(end.spec);
  t.queue.add(end.queue_seconds);
  t.whole.add(answer.whole_seconds);
  t.prompt_length.add(end.timings.prompt_tokens);
  t.answer_length.add(end.answer_tokens);
  if (end.answer_tokens > 0) t.first_token.add(answer.first_token_seconds);
  if (end.answer_tokens > 1) {
    t.token.add((answer.whole_seconds - answer.first_token_seconds) / (end.answer_tokens - 1));
  }
}

void Statistics::count_refused() {
  const std::lock_guard lock(mutex_);
  ++refused_;
}

// Writes the page: for each name its help, its type and a sample for each model.
class MetricsPage {
 public:
  using Totals = Statistics::Totals;
  using ModelLoad = Statistics::ModelLoad;
  MetricsPage(const std::map<std::string, Totals>& totals, const std::vector<ModelLoad>& loads)
      : totals_(totals), loads_(loads) {}

  void head(std::string_view name, std::string_view type, std::string_view help) {
    out_ += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
  }

  void value(const std::string& name, const std::string& labels, double number) {
    out_ += labels.empty() ? fmt::format("{} {}\n", name, number) : fmt::format("{}{{{}}} {}\n", name, labels, number);
  }

  static std::string labels(const std::string& model) { return fmt::format("model_name=\"{}\"", label_value(model)); }

  // One sample for each model that has answered.
  void counter(const std::string& name, std::string_view help, const std::function<double(const Totals&)>& of) {
    head(name, "counter", help);
    for (const auto& [model, totals] : totals_) value(name, labels(model), of(totals));
  }

  void histogram(const std::string& name, std::string_view help, Histogram Totals::*member) {
    head(name, "histogram", help);
    for (const auto& [model, totals] : totals_) (totals.*member).write(name, labels(model), out_);
  }

  // One sample for each model that is loaded.
  void load(const std::string& name, std::string_view type, std::string_view help,
            const std::function<double(const LoadStats&)>& of) {
    head(name, type, help);
    for (const ModelLoad& model : loads_) value(name, labels(model.name), of(model.load));
  }

  // llama-server's form: no labels, all models together.
  void sum(const std::string& name, std::string_view type, std::string_view help, double number) {
    head(name, type, help);
    value(name, "", number);
  }
  double all(const std::function<double(const Totals&)>& of) const {
    double sum = 0;
    for (const auto& [model, totals] : totals_) sum += of(totals);
    return sum;
  }
  double all_loads(const std::function<double(const LoadStats&)>& of) const {
    double sum = 0;
    for (const ModelLoad& model : loads_) sum += of(model.load);
    return sum;
  }

  void vllm_load();
  void vllm_totals();
  void vllm_speculation();
  void llama_server();
  std::string take() { return std::move(out_); }

 private:
  const std::map<std::string, Totals>& totals_;
  const std::vector<ModelLoad>& loads_;
  std::string out_;
};

void MetricsPage::vllm_load() {
  load("vllm:num_requests_running", "gauge", "Answers that are being made.",
       [](const LoadStats& l) { return l.running; });
  load("vllm:num_requests_waiting", "gauge", "Requests in the queue.", [](const LoadStats& l) { return l.waiting; });
  const auto usage = [](const LoadStats& l) {
    return ratio(static_cast<double>(l.kv_used), static_cast<double>(l.kv_capacity));
  };
  load("vllm:kv_cache_usage_perc", "gauge", "Used part of the KV cache; 1 is all of it.", usage);
  load("vllm:num_preemptions_total", "counter", "Answers that had to make room for others and ran again.",
       [](const LoadStats& l) { return static_cast<double>(l.preemptions); });
  load("vllm:prefix_cache_queries_total", "counter", "Prompt tokens that were looked up in the prefix cache.",
       [](const LoadStats& l) { return static_cast<double>(l.prefix_queries); });
  load("vllm:prefix_cache_hits_total", "counter", "Prompt tokens that were found there.",
       [](const LoadStats& l) { return static_cast<double>(l.prefix_hits); });
}

void MetricsPage::vllm_totals() {
  counter("vllm:prompt_tokens_total", "Tokens of prompts.",
          [](const Totals& t) { return static_cast<double>(t.prompt_tokens); });
  counter("vllm:generation_tokens_total", "Tokens of answers.",
          [](const Totals& t) { return static_cast<double>(t.answer_tokens); });
  head("vllm:request_success_total", "counter", "Answers, by how they ended.");
  for (const auto& [model, totals] : totals_) {
    for (const auto& [reason, count] : totals.ended) {
      value("vllm:request_success_total", fmt::format("{},finished_reason=\"{}\"", labels(model), reason),
            static_cast<double>(count));
    }
  }
  histogram("vllm:time_to_first_token_seconds", "From the request to its first token.", &Totals::first_token);
  histogram("vllm:time_per_output_token_seconds", "Mean time between two tokens of an answer.", &Totals::token);
  histogram("vllm:e2e_request_latency_seconds", "From the request to its last token.", &Totals::whole);
  histogram("vllm:request_queue_time_seconds", "Time in the queue.", &Totals::queue);
  histogram("vllm:request_prompt_tokens", "Tokens of a prompt.", &Totals::prompt_length);
  histogram("vllm:request_generation_tokens", "Tokens of an answer.", &Totals::answer_length);
}

void MetricsPage::vllm_speculation() {
  counter("vllm:spec_decode_num_drafts_total", "Rounds that drafted.",
          [](const Totals& t) { return static_cast<double>(t.spec.num_drafts); });
  counter("vllm:spec_decode_num_draft_tokens_total", "Tokens that were drafted.",
          [](const Totals& t) { return static_cast<double>(t.spec.num_draft_tokens); });
  counter("vllm:spec_decode_num_accepted_tokens_total", "Drafted tokens that were accepted.",
          [](const Totals& t) { return static_cast<double>(t.spec.num_accepted_tokens); });
  const std::string name = "vllm:spec_decode_num_accepted_tokens_per_pos_total";
  head(name, "counter", "The same, by their place in the draft.");
  for (const auto& [model, totals] : totals_) {
    for (size_t i = 0; i < totals.spec.accepted_by_depth.size(); ++i) {
      value(name, fmt::format("{},position=\"{}\"", labels(model), i),
            static_cast<double>(totals.spec.accepted_by_depth[i]));
    }
  }
}

void MetricsPage::llama_server() {
  const double prompt = all([](const Totals& t) { return static_cast<double>(t.prompt_tokens - t.cached_tokens); });
  const double prompt_seconds = all([](const Totals& t) { return t.prompt_seconds; });
  const double answer = all([](const Totals& t) { return static_cast<double>(t.answer_tokens); });
  const double answer_seconds = all([](const Totals& t) { return t.answer_seconds; });
  const double passes = all_loads([](const LoadStats& l) { return static_cast<double>(l.passes); });
  const double rows = all_loads([](const LoadStats& l) { return static_cast<double>(l.rows); });
  double longest = 0;
  for (const auto& [model, totals] : totals_) longest = std::max(longest, static_cast<double>(totals.longest));
  sum("llamacpp:prompt_tokens_total", "counter", "Tokens of prompts that were run.", prompt);
  sum("llamacpp:prompt_tokens_cached_total", "counter", "Tokens of prompts that the prefix cache had.",
      all([](const Totals& t) { return static_cast<double>(t.cached_tokens); }));
  sum("llamacpp:prompt_seconds_total", "counter", "Time that they took.", prompt_seconds);
  sum("llamacpp:tokens_predicted_total", "counter", "Tokens of answers.", answer);
  sum("llamacpp:tokens_predicted_seconds_total", "counter", "Time that they took.", answer_seconds);
  sum("llamacpp:n_decode_total", "counter", "Full passes.", passes);
  sum("llamacpp:n_tokens_max", "counter", "Tokens of the longest prompt and answer.", longest);
  sum("llamacpp:n_busy_slots_per_decode", "counter", "Mean rows of a full pass.", ratio(rows, passes));
  sum("llamacpp:prompt_tokens_seconds", "gauge", "Mean tokens of prompts a second.", ratio(prompt, prompt_seconds));
  sum("llamacpp:predicted_tokens_seconds", "gauge", "Mean tokens of answers a second.", ratio(answer, answer_seconds));
  sum("llamacpp:requests_processing", "gauge", "Answers that are being made.",
      all_loads([](const LoadStats& l) { return l.running; }));
  sum("llamacpp:requests_deferred", "gauge", "Requests in the queue.",
      all_loads([](const LoadStats& l) { return l.waiting; }));
}

std::string Statistics::page(const std::vector<ModelLoad>& models) const {
  const std::lock_guard lock(mutex_);
  MetricsPage page(totals_, models);
  page.vllm_load();
  page.vllm_totals();
  page.vllm_speculation();
  page.llama_server();
  page.load("s3d:cached_tokens", "gauge", "Positions that the prefix cache keeps.",
            [](const LoadStats& l) { return static_cast<double>(l.cached_tokens); });
  page.sum("s3d:requests_refused_total", "counter", "Requests that were told to come later.",
           static_cast<double>(refused_));
  return page.take();
}

}  // namespace s3d::serve
