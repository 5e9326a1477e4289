#include "serve/ollama_common.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ctime>

namespace s3d::serve {
namespace {

// Seconds of a unit of Go's durations; nothing: no unit.
std::optional<double> unit_seconds(std::string_view unit) {
  struct Unit {
    std::string_view name;
    double seconds;
  };
  constexpr std::array kUnits =
      std::to_array<Unit>({{"h", 3600}, {"m", 60}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"µs", 1e-6}, {"ns", 1e-9}});
  for (const Unit& known : kUnits) {
    if (known.name == unit) return known.seconds;
  }
  return {};
}

}  // namespace

RequestHead read_ollama_head(Fields& fields) {
  RequestHead head;
  const std::optional<std::string> model = fields.text("model"), name = fields.text("name");
  head.model = model.value_or(name.value_or(""));
  if (head.model.empty()) fields.fail("model", "expected the name of a model");
  const Json* keep_alive = fields.find("keep_alive");
  if (keep_alive == nullptr) return head;
  if (keep_alive->is_string()) {
    head.keep_alive.seconds = parse_duration_seconds(keep_alive->get_ref<const std::string&>());
    if (!head.keep_alive.seconds) fields.fail("keep_alive", "expected a duration such as 5m, or a number of seconds");
  } else {
    constexpr double kMost = 1e15;
    const auto seconds = fields.number("keep_alive", -kMost, kMost);
    if (seconds) head.keep_alive.seconds = static_cast<int64_t>(std::ceil(*seconds));
  }
  return head;
}

std::optional<int64_t> parse_duration_seconds(std::string_view text) {
  constexpr double kMost = 1e15;  // about 30 million years
  const bool negative = text.starts_with('-');
  std::string_view rest = negative ? text.substr(1) : text;
  if (rest.empty()) return {};
  double sum = 0;
  while (!rest.empty()) {
    double value = 0;
    const auto [end, status] = std::from_chars(rest.data(), rest.data() + rest.size(), value, std::chars_format::fixed);
    if (status != std::errc{} || !std::isfinite(value)) return {};
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    const size_t digit = std::min(rest.find_first_of("0123456789."), rest.size());
    const bool bare = digit == 0 && rest.empty();
    const std::optional<double> unit = bare ? std::optional(1.0) : unit_seconds(rest.substr(0, digit));
    if (!unit) return {};
    sum += value * *unit;
    rest.remove_prefix(digit);
  }
  if (sum > kMost) return {};
  const auto seconds = static_cast<int64_t>(std::ceil(sum));
  return negative ? -seconds : seconds;
}

std::string tagged(const std::string& name) {
  return name.find(':') == std::string::npos ? name + ":latest" : name;
}

std::string rfc3339(int64_t seconds, int64_t nanoseconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  const std::string fraction = nanoseconds > 0 ? fmt::format(".{:09}", nanoseconds) : "";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec, fraction);
}

std::string rfc3339_now() {
  using std::chrono::nanoseconds;
  const auto now = std::chrono::duration_cast<nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  constexpr int64_t kPerSecond = 1'000'000'000;
  return rfc3339(now / kPerSecond, now % kPerSecond);
}

Json ollama_details(const ModelCard& card) {
  return {{"parent_model", ""},
          {"format", "gguf"},
          {"family", card.family},
          {"families", {card.family}},
          {"parameter_size", short_count(card.parameters)},
          {"quantization_level", card.quantization}};
}

std::string short_count(int64_t count) {
  const auto number = static_cast<double>(count);
  if (number >= 1e9) return fmt::format("{:.1f}B", number / 1e9);
  if (number >= 1e6) return fmt::format("{:.1f}M", number / 1e6);
  return fmt::format("{:.1f}K", number / 1e3);
}

}  // namespace s3d::serve
