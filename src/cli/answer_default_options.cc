#include "cli/answer_default_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <limits>

#include "cli/sampler_numbers.h"

namespace s3d::cli {

void AnswerDefaultOptions::add_to(CLI::App& command) {
  const std::string group = "Where a request does not say";
  const auto add = [&](const char* names, auto& value, const char* help) {
    command.add_option(names, value, help)->type_name("X")->group(group);
  };
  add("-n,--predict,--n-predict,--max-tokens", defaults.max_tokens,
      "Most tokens of an answer; -1: until the context is full (default)");
  add_sampler_numbers(command, group, defaults, /*tell_defaults=*/false);
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
