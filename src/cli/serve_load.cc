#include "cli/serve_load.h"

#include <fmt/format.h>

#include <algorithm>
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

// One answer, from the question to the last piece.
struct Exchange {
  std::string failure;  // "": it was answered to the end
  int tokens = 0;
  double first = 0;
  double last = 0;
  std::vector<double> gaps;
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
  explicit AnswerReader(Exchange& exchange) : exchange_(exchange) {}

  void push(std::string_view bytes) {
    const double now = watch_.seconds();
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
      counted_ = true;
    }
    if (!has_text(event)) return;
    if (exchange_.first == 0) {
      exchange_.first = now;
    } else {
      exchange_.gaps.push_back(now - exchange_.last);
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
  EventStream events_;
  Stopwatch watch_;
  bool counted_ = false;
};

Exchange ask(const LoadTarget& target, const LoadPlan& plan, const std::string& question,
             const std::function<bool()>& keep_going) {
  Exchange exchange;
  AnswerReader reader(exchange);
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

void add(const Exchange& exchange, LoadResult& result) {
  if (!exchange.failure.empty()) {
    if (result.failed++ == 0) result.failure = exchange.failure;
    return;
  }
  ++result.requests;
  result.tokens += exchange.tokens;
  result.first.push_back(exchange.first);
  result.gaps.insert(result.gaps.end(), exchange.gaps.begin(), exchange.gaps.end());
  if (exchange.last > exchange.first) {
    result.rates.push_back((exchange.tokens - 1) / (exchange.last - exchange.first));
  }
}

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
  LoadResult result{.streams = plan.streams};
  std::mutex mutex;
  std::atomic<int> next{0};
  const Stopwatch watch;
  std::vector<std::thread> streams;
  for (int i = 0; i < plan.streams; ++i) {
    streams.emplace_back([&] {
      for (int number = next++; number < plan.requests && (!keep_going || keep_going()); number = next++) {
        const Exchange exchange = ask(target, plan, plan.questions[usize(number) % plan.questions.size()], keep_going);
        const std::lock_guard lock(mutex);
        add(exchange, result);
      }
    });
  }
  for (std::thread& stream : streams) stream.join();
  result.seconds = watch.seconds();
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
