#include "cli/answer_default_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <limits>

namespace s3d::cli {

void AnswerDefaultOptions::add_to(CLI::App& command) {
  const std::string group = "Where a request does not say";
  const auto add = [&](const char* names, auto& value, const char* help) {
    command.add_option(names, value, help)->type_name("X")->group(group);
  };
  add("-n,--predict,--n-predict,--max-tokens", defaults.max_tokens,
      "Most tokens of an answer; -1: until the context is full (default)");
  add("--temp,--temperature", defaults.temperature, "Temperature; 0: the most probable token");
  add("--top-k", defaults.top_k, "Only the K most probable tokens; 0: off");
  add("--top-p", defaults.top_p, "Only the most probable tokens that make up P; 1: off");
  add("--min-p", defaults.min_p, "Only tokens at least P times as probable as the best; 0: off");
  add("--repeat-penalty", defaults.repetition_penalty, "Divides the scores of tokens seen; 1: off");
  add("--repeat-last-n", defaults.penalty_last_n, "How many last tokens count as seen; -1: all");
  add("--presence-penalty", defaults.presence_penalty, "Subtracted from the scores of tokens seen");
  add("--frequency-penalty", defaults.frequency_penalty, "The same, for each time seen");
  add("-s,--seed", seed, "Same seed, same text; -1: a new one for each request (default)");
}

Status AnswerDefaultOptions::check() {
  if (defaults.max_tokens < -1) {
    return Error{fmt::format("--predict must be -1 (until the context is full) or more, got {}", defaults.max_tokens)};
  }
  if (seed && *seed >= 0) defaults.seed = static_cast<uint64_t>(*seed);
  return defaults.over({}).check(std::numeric_limits<int>::max());
}

}  // namespace s3d::cli
