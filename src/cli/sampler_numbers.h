// The numbers of a sampler as options, under the names that llama.cpp's users know. Internal to this folder.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace s3d::cli {

// `values`: SamplerOptions, or what has optional members of the same names; it must outlive the command.
// `tell_defaults`: the help says what counts where an option is not given.
template <typename Values>
void add_sampler_numbers(CLI::App& command, const std::string& group, Values& values, bool tell_defaults) {
  const auto add = [&](const char* names, auto& value, const std::string& help, const char* fallback) {
    command.add_option(names, value, tell_defaults ? help + fallback : help)->type_name("X")->group(group);
  };
  add("--temp,--temperature", values.temperature, "Temperature; 0: the most probable token", " (default: 0)");
  add("--top-k", values.top_k, "Only the K most probable tokens; 0: off", " (default)");
  add("--top-p", values.top_p, "Only the most probable tokens that make up P; 1: off", " (default)");
  add("--min-p", values.min_p, "Only tokens at least P times as probable as the best; 0: off", " (default)");
  add("--repeat-penalty", values.repetition_penalty, "Divides the scores of tokens seen; 1: off", " (default)");
  add("--presence-penalty", values.presence_penalty, "Subtracted from the scores of tokens seen", " (default: 0)");
  add("--frequency-penalty", values.frequency_penalty, "The same, for each time seen", " (default: 0)");
  add("--repeat-last-n", values.penalty_last_n, "How many last tokens count as seen; -1: all", " (default: 64)");
}

}  // namespace s3d::cli
