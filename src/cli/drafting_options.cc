#include "cli/drafting_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

namespace s3d::cli {
namespace {

// The part of the histogram that was ever reached.
std::vector<int64_t> filled_part(std::span<const int64_t> counts) {
  size_t n = counts.size();
  while (n > 0 && counts[n - 1] == 0) --n;
  return {counts.begin(), counts.begin() + n};
}

}  // namespace

void DraftingOptions::add_to(CLI::App& command) {
  const std::string group = "Speculation (changes the speed, never the text)";
  command.add_option("--spec,--spec-type", settings.drafter, "Who drafts (default: auto)")
      ->type_name(fmt::format("{}", fmt::join(drafter_names(), "|")))
      ->group(group);
  command
      .add_option("--draft-rows,--spec-draft-n-max", settings.draft_rows,
                  "Tokens drafted and verified in every round (default: the planner chooses, none included)")
      ->type_name("N")
      ->group(group);
  command
      .add_option("--draft-width", settings.draft_width,
                  "Alternatives for each position where a pass drafts (default: 1, a chain; more: a tree)")
      ->type_name("N")
      ->group(group);
  command.add_option("--draft-layers", layers, "First and last layers that layerskip and s3d-untrained run, as in 3+9")
      ->type_name("A+Z")
      ->group(group);
  command.add_option("--draft-model,--model-draft", settings.draft_model, "Model that drafts for --spec model")
      ->type_name("MODEL")
      ->group(group);
}

void DraftingOptions::add_show_to(CLI::App& command) {
  command.add_flag("--show-spec", show, "Mark the tokens that were drafted and accepted")
      ->group("Speculation (changes the speed, never the text)");
}

Status DraftingOptions::check() {
  if (!layers.empty()) {
    auto set = parse_layer_set(layers);
    if (!set.ok()) return set.error().within("--draft-layers");
    settings.layers = *set;
  }
  return settings.check();
}

std::function<void()> measuring_note(const Console& console) {
  return [&console, said = false]() mutable {
    if (std::exchange(said, true)) return;
    console.note("Measuring what this model's passes cost here, for drafting; only its first runs on a machine do.");
  };
}

std::string spec_line(const SpecStats& stats) {
  if (stats.num_drafts == 0) return "";
  std::string line =
      fmt::format("drafted {}, accepted {} ({:.0f} %): {:.2f} tokens a round with drafts", stats.num_draft_tokens,
                  stats.num_accepted_tokens, 100 * stats.draft_acceptance_rate(), stats.mean_acceptance_length());
  const std::vector<double> rates = stats.acceptance_by_depth();
  for (size_t i = 0; i < rates.size(); ++i) {
    line += fmt::format("{}{}: {:.0f} %", i == 0 ? "; right at depth " : ", ", i + 1, 100 * rates[i]);
  }
  if (stats.num_rounds > stats.num_drafts) {
    line += fmt::format("; {} of {} rounds without a draft", stats.num_rounds - stats.num_drafts, stats.num_rounds);
  }
  return line;
}

Json spec_json(const SpecStats& stats) {
  return Json{{"num_rounds", stats.num_rounds},
              {"num_drafts", stats.num_drafts},
              {"num_draft_tokens", stats.num_draft_tokens},
              {"num_accepted_tokens", stats.num_accepted_tokens},
              {"mean_acceptance_length", stats.mean_acceptance_length()},
              {"draft_acceptance_rate", stats.draft_acceptance_rate()},
              {"acceptance_by_depth", stats.acceptance_by_depth()},
              {"acceptance_histogram", filled_part(stats.acceptance_histogram)},
              {"draft_seconds", stats.draft_seconds},
              {"verify_seconds", stats.verify_seconds},
              {"sample_seconds", stats.sample_seconds},
              {"other_seconds", stats.other_seconds}};
}

}  // namespace s3d::cli
