#include "cli/serve_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/index.h"
#include "base/stopwatch.h"
#include "fetch/event_stream.h"
#include "fetch/http.h"

namespace s3d::cli {
namespace {

using JsonValue = nlohmann::json;

// The time between two pieces of one answer, in seconds of the level.
struct Gap {
  double from, to;
};

// One answer, from the question to the last piece. Times are seconds of the level.
struct Exchange {
  std::string failure;  // "": it was answered to the end
  int prompt_tokens = 0;
  int tokens = 0;
  double asked = 0;
  double first = 0;
  double last = 0;
  std::vector<Gap> gaps;
};

// What an error body says, or all of it.
std::string error_text(const std::string& body) {
  const JsonValue parsed = JsonValue::parse(body, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_object() && parsed.contains("error")) {
    const JsonValue& error = parsed["error"];
    return error.is_object() ? error.value("message", error.dump()) : error.dump();
  }
  return body.substr(0, 200);
}

std::string question_body(const LoadTarget& target, const LoadPlan& plan, const std::string& question) {
  JsonValue body{{"model", target.model},
                 {"messages", JsonValue::array({{{"role", "user"}, {"content", question}}})},
                 {"max_tokens", plan.max_tokens},
                 {"temperature", plan.temperature},
                 {"stream", true},
                 {"stream_options", {{"include_usage", true}}}};
  if (plan.ignore_end) body["ignore_eos"] = true;
  return body.dump();
}

// Reads the events of a streamed answer as they come.
class AnswerReader {
 public:
  AnswerReader(Exchange& exchange, const Stopwatch& level) : exchange_(exchange), level_(level) {}

  void push(std::string_view bytes) {
    const double now = level_.seconds();
    for (const std::string& event : events_.push(bytes)) take(event, now);
  }

 private:
  void take(const std::string& text, double now) {
    if (text == "[DONE]") return;
    const JsonValue event = JsonValue::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!event.is_object()) return;
    if (event.contains("error")) exchange_.failure = error_text(text);
    if (event.contains("usage") && event["usage"].is_object()) {
      exchange_.tokens = event["usage"].value("completion_tokens", exchange_.tokens);
      exchange_.prompt_tokens = event["usage"].value("prompt_tokens", 0);
      counted_ = true;
    }
    if (!has_text(event)) return;
    if (exchange_.first == 0) {
      exchange_.first = now;
    } else {
      exchange_.gaps.push_back({exchange_.last, now});
    }
    exchange_.last = now;
    if (!counted_) ++exchange_.tokens;  // a piece counts as a token until the server says how many there were
  }

  static bool has_text(const JsonValue& event) {
    if (!event.contains("choices") || !event["choices"].is_array() || event["choices"].empty()) return false;
    const JsonValue& choice = event["choices"][0];
    if (!choice.is_object() || !choice.contains("delta") || !choice["delta"].is_object()) return false;
    for (const char* name : {"content", "reasoning_content"}) {
      const auto found = choice["delta"].find(name);
      if (found != choice["delta"].end() && found->is_string() && !found->get_ref<const std::string&>().empty())
        return true;
    }
    return false;
  }

  Exchange& exchange_;
  const Stopwatch& level_;
  EventStream events_;
  bool counted_ = false;
};

Exchange ask(const LoadTarget& target, const LoadPlan& plan, const std::string& question, const Stopwatch& level,
             const std::function<bool()>& keep_going) {
  Exchange exchange{.asked = level.seconds()};
  AnswerReader reader(exchange, level);
  std::string refusal;
  HttpRequest request{.url = target.url + "/v1/chat/completions", .token = target.api_key};
  request.json = question_body(target, plan, question);
  request.data = [&](std::string_view bytes) {
    reader.push(bytes);
    return true;
  };
  request.refused = [&](std::string_view bytes) { refusal += bytes; };
  request.keep_going = keep_going;
  const HttpOutcome outcome = http_exchange(request);
  if (outcome.failure) {
    exchange.failure = outcome.failure->message;
  } else if (outcome.response.status != 200) {
    exchange.failure = fmt::format("status {}: {}", outcome.response.status, error_text(refusal));
  } else if (exchange.failure.empty() && exchange.first == 0) {
    exchange.failure = "an answer without text";
  }
  return exchange;
}

// Of words that are a token each in most vocabularies.
std::string long_question(int words) {
  constexpr std::array<const char*, 4> kWords = {" one", " two", " three", " four"};
  std::string question = "Read these numbers and say the first one.";
  for (int i = 0; i < words; ++i) question += kWords[usize(i) % kWords.size()];
  return question;
}

// The level: what its threads share.
class Level {
 public:
  Level(const LoadTarget& target, const LoadPlan& plan, const std::function<bool()>& keep_going)
      : target_(target), plan_(plan), keep_going_(keep_going) {}

  LoadResult run() {
    std::vector<std::thread> threads;
    for (int i = 0; i < plan_.streams; ++i) threads.emplace_back([this] { ask_in_turn(); });
    for (std::thread& thread : threads) thread.join();
    result_.streams = plan_.streams;
    result_.seconds = watch_.seconds();
    if (long_exchange_.failure.empty() && long_exchange_.first > 0) result_.long_prompt = long_prompt();
    return std::move(result_);
  }

 private:
  bool goes_on() const { return !keep_going_ || keep_going_(); }

  void ask_in_turn() {
    std::thread intruder;
    for (int number = next_++; number < plan_.requests && goes_on(); number = next_++) {
      // The long prompt arrives when half of the questions are being answered.
      if (plan_.long_prompt > 0 && number == plan_.requests / 2) intruder = std::thread([this] { ask_long(); });
      const std::string& question = plan_.questions[usize(number) % plan_.questions.size()];
      add(ask(target_, plan_, question, watch_, keep_going_));
    }
    if (intruder.joinable()) intruder.join();
  }

  void ask_long() {
    LoadPlan plan = plan_;
    plan.max_tokens = 1;
    long_exchange_ = ask(target_, plan, long_question(plan_.long_prompt), watch_, keep_going_);
    const std::lock_guard lock(mutex_);
    if (!long_exchange_.failure.empty()) fail(long_exchange_.failure);
  }

  void fail(const std::string& why) {
    if (result_.failed++ == 0) result_.failure = why;
  }

  void add(const Exchange& exchange) {
    const std::lock_guard lock(mutex_);
    if (!exchange.failure.empty()) return fail(exchange.failure);
    ++result_.requests;
    result_.tokens += exchange.tokens;
    result_.first.push_back(exchange.first - exchange.asked);
    for (const Gap& gap : exchange.gaps) result_.gaps.push_back(gap.to - gap.from);
    gaps_.insert(gaps_.end(), exchange.gaps.begin(), exchange.gaps.end());
    if (exchange.last > exchange.first) {
      result_.rates.push_back((exchange.tokens - 1) / (exchange.last - exchange.first));
    }
  }

  LongPrompt long_prompt() const {
    LongPrompt out{.tokens = long_exchange_.prompt_tokens, .first = long_exchange_.first - long_exchange_.asked};
    for (const Gap& gap : gaps_) {
      if (gap.to > long_exchange_.asked && gap.from < long_exchange_.first) out.gaps.push_back(gap.to - gap.from);
    }
    return out;
  }

  const LoadTarget& target_;
  const LoadPlan& plan_;
  const std::function<bool()>& keep_going_;
  const Stopwatch watch_;
  std::atomic<int> next_{0};
  Exchange long_exchange_;  // of ask_long(); read when its thread has ended
  std::mutex mutex_;        // guards what follows
  LoadResult result_;
  std::vector<Gap> gaps_;
};

}  // namespace

Result<std::vector<std::string>> served_models(const LoadTarget& target) {
  std::string body;
  HttpRequest request{.url = target.url + "/v1/models", .token = target.api_key};
  request.data = [&](std::string_view bytes) {
    body += bytes;
    return true;
  };
  request.refused = [&](std::string_view bytes) { body += bytes; };
  const HttpOutcome outcome = http_exchange(request);
  if (outcome.failure)
    return Error{fmt::format("{}: {}; is a server running there?", target.url, outcome.failure->message)};
  if (outcome.response.status != 200) {
    return Error{fmt::format("{}/v1/models: status {}: {}", target.url, outcome.response.status, error_text(body))};
  }
  const JsonValue parsed = JsonValue::parse(body, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> names;
  if (parsed.is_object() && parsed.contains("data") && parsed["data"].is_array()) {
    for (const JsonValue& model : parsed["data"]) {
      if (model.is_object() && model.contains("id") && model["id"].is_string()) names.push_back(model["id"]);
    }
  }
  if (names.empty())
    return Error{fmt::format("{}/v1/models names no model; expected an OpenAI-compatible server", target.url)};
  return names;
}

Result<LoadResult> run_load(const LoadTarget& target, const LoadPlan& plan, const std::function<bool()>& keep_going) {
  LoadResult result = Level(target, plan, keep_going).run();
  if (result.requests > 0) return result;
  return Error{fmt::format("{}: no request was answered: {}", target.url,
                           result.failure.empty() ? "interrupted" : result.failure)};
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  const auto at = static_cast<std::ptrdiff_t>(std::max(1.0, rank)) - 1;
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[usize(at)];
}

}  // namespace s3d::cli
