// s3d bench spec: what drafting gains on this machine.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "base/index.h"
#include "cli/bench_spec_measure.h"
#include "cli/drafting_options.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/prompt_options.h"
#include "cli/report.h"
#include "cli/sampling_options.h"
#include "engine/prompt_file.h"

namespace s3d::cli {
namespace {

struct BenchSpecCommand {
  ModelOptions model;
  PromptOptions prompt_options;
  SamplingOptions sampling;
  DraftingOptions spec;
  std::string prompts;
  std::vector<std::string> drafters = {"auto"};
  int limit = 0;
  int repeats = 1;
  bool json = false;
};

constexpr const char* kBenchSpecFooter =
    R"(Every prompt (the first turn of a line) is answered by plain decoding and by each drafter in turns, in one
process; the text must be the same, and the ratio of the times is what is printed.

Examples:
  s3d bench spec -m smollm2-135m --prompts bench/prompts/chat.jsonl --drafters s3d,auto
  s3d bench spec -m model.gguf --prompts questions.txt --drafters lookup,suffix,layerskip -n 128 -t 2 --json)";

Status check_bench_spec(BenchSpecCommand& o) {
  if (!o.sampling.answer.stops.empty()) return Error{"--stop: bench spec measures whole answers; leave it out"};
  if (o.spec.settings.drafter != SpeculationOptions().drafter)
    return Error{"bench spec takes --drafters instead of --spec"};
  S3D_TRY(o.model.check());
  S3D_TRY(o.prompt_options.check());
  S3D_TRY(o.spec.check());
  for (const std::string& name : o.drafters) {
    SpeculationOptions settings = o.spec.settings;
    settings.drafter = name;
    S3D_TRY(settings.check());
  }
  if (o.limit < 0) return Error{fmt::format("--limit must be 0 (all) or more, got {}", o.limit)};
  if (o.repeats < 1) return Error{fmt::format("--repeats must be 1 or more, got {}", o.repeats)};
  return o.sampling.check();
}

// The first turns, evenly from the whole file when there is a limit.
Result<std::vector<BenchPrompt>> load_prompts(const BenchSpecCommand& o, const Runtime& runtime) {
  S3D_ASSIGN(const std::vector<FilePrompt> all, read_prompt_file(o.prompts));
  const size_t n = o.limit > 0 ? std::min(all.size(), usize(o.limit)) : all.size();
  S3D_ASSIGN(const PromptMaker maker, PromptMaker::create(runtime.tokenizer(), o.prompt_options));
  std::vector<BenchPrompt> out;
  for (size_t i = 0; i < n; ++i) {
    const FilePrompt& prompt = all[i * all.size() / n];
    S3D_ASSIGN(const std::vector<TokenId> tokens, maker.question(prompt.turns[0]));
    out.push_back({prompt.category, tokens});
  }
  return out;
}

Json figures_json(const SpecFigures& figures) {
  Json out = spec_json(figures.stats);
  out["prompts"] = figures.prompts;
  out["tokens"] = figures.tokens;
  out["tps"] = figures.tps;
  out["speedup"] = figures.speedup;
  return out;
}

Json drafter_json(const DrafterResult& result) {
  Json out{{"name", result.name}, {"extra_bytes", result.extra_bytes}, {"same_tokens", result.same_tokens}};
  out.update(figures_json(result.all));
  out["categories"] = Json::object();
  for (const SpecFigures& figures : result.categories) out["categories"][figures.category] = figures_json(figures);
  return out;
}

Json to_json(const Runtime& runtime, const BenchSpecCommand& o, const SpecBenchResult& r) {
  Json out{{"model", runtime.file().path()},
           {"threads", runtime.threads()},
           {"backend", backend_name(runtime.backend_kind())},
           {"isa", runtime.backend().name()},
           {"prompts", o.prompts},
           {"max_tokens", o.sampling.answer.generate.max_tokens},
           {"temperature", o.sampling.answer.generate.sampler.temperature},
           {"same_tokens", r.same_tokens},
           {"plain_tps", r.plain.all.tps},
           {"drafters", Json::array()},
           {"peak_rss", r.peak_rss}};
  for (const DrafterResult& result : r.drafters) out["drafters"].push_back(drafter_json(result));
  return out;
}

std::string to_markdown(const Runtime& runtime, const SpecBenchResult& r) {
  std::string out = fmt::format(
      "{} · {} threads · {} kernels · {} prompts · {}\n\n"
      "| drafter | prompts | tokens/s | times plain | tokens a round | right by depth | extra memory |\n"
      "|---|---|---|---|---|---|---|\n",
      runtime.file().path(), runtime.threads(), runtime.backend().name(), r.plain.all.prompts,
      r.same_tokens ? "same tokens as plain decoding" : "TOKENS DIFFER FROM PLAIN DECODING");
  const auto line = [&out](const std::string& name, const SpecFigures& f, const std::string& bytes) {
    std::vector<std::string> rates;
    for (const double rate : f.stats.acceptance_by_depth()) rates.push_back(fmt::format("{:.2f}", rate));
    out += fmt::format("| {} | {} | {:.1f} | {:.3f} | {:.2f} | {} | {} |\n", name, f.prompts, f.tps, f.speedup,
                       f.stats.mean_acceptance_length(), fmt::join(rates, " "), bytes);
  };
  line("off", r.plain.all, "");
  for (const DrafterResult& result : r.drafters) {
    line(result.name, result.all, mebibytes(result.extra_bytes));
    if (result.categories.size() < 2) continue;
    for (const SpecFigures& figures : result.categories) line("· " + visible(figures.category), figures, "");
  }
  return out;
}

Result<int> run_bench_spec(const BenchSpecCommand& o, Console& console) {
  S3D_ASSIGN(const std::unique_ptr<Runtime> loaded, o.model.load(console));
  Runtime& runtime = *loaded;
  S3D_ASSIGN(const std::vector<BenchPrompt> prompts, load_prompts(o, runtime));
  const Interrupt interrupt;
  const bool live = console.shows_progress();
  const auto on_prompt = [&](size_t done, size_t total) {
    if (live && done % 10 == 0) console.note(fmt::format("prompt {} of {}", done + 1, total));
    return !Interrupt::requested();
  };
  const SpecBenchOptions plan = {o.drafters, o.spec.settings, o.sampling.answer.generate, o.repeats,
                                 measuring_note(console)};
  const Result<SpecBenchResult> result = measure_spec_bench(runtime, prompts, plan, on_prompt);
  if (Interrupt::requested()) return kExitInterrupted;
  if (!result.ok()) return result.error();
  console.text(o.json ? json_text(to_json(runtime, o, *result)) : to_markdown(runtime, *result));
  if (result->same_tokens) return kExitOk;
  return Error{"a drafter changed the text: this is a bug of S3D, please report it with the command line"};
}

}  // namespace

void add_bench_spec(CLI::App& bench, Program& program) {
  CLI::App* command =
      bench.add_subcommand("spec", "Plain decoding against drafters, in turns")->footer(kBenchSpecFooter);
  auto o = std::make_shared<BenchSpecCommand>();
  o->model.add_to(*command);
  command->add_option("--prompts", o->prompts, "JSONL with turns, prompt or text (and category), or a prompt a line")
      ->required()
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  command->add_option("--drafters", o->drafters, "Who drafts, with commas between: see --spec")
      ->delimiter(',')
      ->type_name("NAMES")
      ->capture_default_str();
  command->add_option("--limit", o->limit, "Only so many prompts, evenly from the file (default: all)")->type_name("N");
  command->add_option("--repeats", o->repeats, "Runs of each prompt, the fastest counts (default: 1)")->type_name("N");
  add_template_options(*command, o->prompt_options);
  add_system_option(*command, o->prompt_options);
  add_raw_option(*command, o->prompt_options);
  o->sampling.add_to(*command, /*default_max_tokens=*/128);
  o->spec.add_to(*command);
  command->add_flag("--json", o->json, "One JSON object");
  on_chosen<BenchSpecCommand>(*command, program, o, check_bench_spec, run_bench_spec);
}

}  // namespace s3d::cli
