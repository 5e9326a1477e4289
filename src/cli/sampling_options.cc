#include "cli/sampling_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <random>

#include "cli/sampler_numbers.h"

namespace s3d::cli {
namespace {

// CLI11 would take -1 as the largest number and cut off what is larger.
std::string seed_error(std::string& text) {
  uint64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status == std::errc{} && end == text.data() + text.size()) return "";
  return fmt::format("expected a whole number from 0 to {}, got '{}'", std::numeric_limits<uint64_t>::max(), text);
}

}  // namespace

void SamplingOptions::add_to(CLI::App& command, int default_max_tokens) {
  SamplerOptions& s = answer.generate.sampler;
  answer.generate.max_tokens = default_max_tokens;
  command
      .add_option(
          "-n,--max-tokens,--predict", answer.generate.max_tokens,
          fmt::format("Most tokens of the answer; -1: until the context is full (default: {})", default_max_tokens))
      ->type_name("N");
  command.add_option("--stop,-r,--reverse-prompt", answer.stops, "Text that ends the answer (may be given again)")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  const std::string group = "Sampling";
  add_sampler_numbers(command, group, s, /*tell_defaults=*/true);
  command.add_option("--logit-bias", logit_bias, "ID+X, ID-X or ID=X: added to a token's score (may be given again)")
      ->type_name("BIAS")
      ->group(group)
      ->allow_extra_args(false);
  command.add_option("-s,--seed", seed, "Same seed, same text (default: a new one each time)")
      ->type_name("N")
      ->group(group)
      ->check(CLI::Validator(seed_error, ""));
}

Status SamplingOptions::check() {
  SamplerOptions& s = answer.generate.sampler;
  if (answer.generate.max_tokens < -1) {
    return Error{
        fmt::format("--max-tokens must be -1 (until the context is full) or more, got {}", answer.generate.max_tokens)};
  }
  for (const std::string& text : logit_bias) {
    S3D_ASSIGN(auto bias, parse_logit_bias(text));
    s.logit_bias.push_back(bias);
  }
  s.seed = seed ? *seed : std::random_device{}();
  return s.check(std::numeric_limits<int>::max());  // against the real vocabulary when the model is known
}

Result<std::pair<int32_t, float>> parse_logit_bias(const std::string& text) {
  const Error error{fmt::format("--logit-bias '{}': expected ID+X, ID-X or ID=X, as in 15043+1.5 or 15043=-inf", text)};
  TokenId id = 0;
  const char* end = text.data() + text.size();
  const auto [sign, status] = std::from_chars(text.data(), end, id);
  if (status != std::errc{} || sign == end || id < 0) return error;
  if (*sign != '+' && *sign != '-' && *sign != '=') return error;
  const char* begin = *sign == '-' ? sign : sign + 1;
  char* parsed = nullptr;
  const float value = std::strtof(begin, &parsed);
  if (parsed == begin || parsed != end || value != value) return error;
  return std::pair{id, value};
}

}  // namespace s3d::cli
