// s3d bench spec: what drafting gains on this machine.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <span>

#include "base/atomic_file.h"
#include "base/index.h"
#include "cli/bench_spec_prompts.h"
#include "cli/bench_spec_report.h"
#include "cli/drafter_list.h"
#include "cli/drafting_options.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/prompt_options.h"
#include "cli/report.h"
#include "cli/sampling_options.h"
#include "engine/tuning.h"

namespace s3d::cli {
namespace {

struct BenchSpecCommand {
  ModelOptions model;
  PromptOptions prompt_options;
  SamplingOptions sampling;
  DraftingOptions spec;
  std::vector<std::string> prompts;
  std::vector<std::string> drafters = {"auto"};
  std::vector<float> temperatures = {0};
  std::vector<double> synthetic_rates;
  std::string synthetic_cost = "0";
  int limit = 0;
  int repeats = 1;
  int turns = 1;
  std::string format = "md";
  bool json = false;
  std::vector<std::string> outputs;
};

constexpr const char* kBenchSpecFooter =
    R"(Every prompt (the first turn of a line, or more with --turns) is answered by plain decoding and by each drafter in turns, in one
process; the text must be the same, and the ratio of the times is what is printed.

Examples:
  s3d bench spec -m smollm2-135m --prompts bench/prompts/chat.jsonl --drafters s3d,auto
  s3d bench spec -m smollm2-135m --prompts bench/prompts/*.jsonl --drafters all -o page.md -o page.csv -o page.svg
  s3d bench spec -m model.gguf --prompts questions.txt --synthetic-rates 0.5,0.7,0.9 --synthetic-cost s3d
  s3d bench spec -m model.gguf --prompts questions.txt --drafters lookup,suffix,layerskip -n 128 -t 2 --json)";

bool is_format(const std::string& name) {
  return name == "md" || name == "csv" || name == "json" || name == "svg";
}

// "page.svg": "svg"
std::string ending(const std::string& path) {
  const size_t dot = path.find_last_of('.');
  return dot == std::string::npos ? "" : path.substr(dot + 1);
}

Status check_output(const BenchSpecCommand& o) {
  if (!is_format(o.format)) return Error{fmt::format("--format must be md, csv, json or svg, got '{}'", o.format)};
  for (const std::string& path : o.outputs) {
    if (is_format(ending(path))) continue;
    return Error{fmt::format("--output '{}': its name must end with .md, .csv, .json or .svg", path)};
  }
  return Ok();
}

Status check_synthetic(const BenchSpecCommand& o) {
  for (const double rate : o.synthetic_rates) {
    if (rate >= 0 && rate <= 1) continue;
    return Error{fmt::format("--synthetic-rates must be numbers from 0 to 1, got {:g}", rate)};
  }
  if (o.synthetic_cost == "0" || o.synthetic_cost == "s3d") return Ok();
  return Error{fmt::format("--synthetic-cost must be 0 or s3d, got '{}'", o.synthetic_cost)};
}

Status check_bench_spec(BenchSpecCommand& o) {
  if (!o.sampling.answer.stops.empty()) return Error{"--stop: bench spec measures whole answers; leave it out"};
  if (o.spec.settings.drafter != SpeculationOptions().drafter)
    return Error{"bench spec takes --drafters instead of --spec"};
  S3D_TRY(o.model.check());
  S3D_TRY(o.prompt_options.check());
  S3D_TRY(o.spec.check());
  if (o.json) o.format = "json";
  S3D_TRY(check_output(o));
  S3D_TRY(check_synthetic(o));
  for (const std::string& name : o.drafters) {
    if (name == "all") continue;
    SpeculationOptions settings = o.spec.settings;
    settings.drafter = name;
    S3D_TRY(settings.check());
  }
  if (o.limit < 0) return Error{fmt::format("--limit must be 0 (all) or more, got {}", o.limit)};
  if (o.repeats < 1) return Error{fmt::format("--repeats must be 1 or more, got {}", o.repeats)};
  if (o.turns < 1) return Error{fmt::format("--turns must be 1 or more, got {}", o.turns)};
  if (o.turns > 1 && o.prompt_options.raw)
    return Error{"--turns: there are no turns with --raw; leave one of them out"};
  for (const float temperature : o.temperatures) {
    o.sampling.answer.generate.sampler.temperature = temperature;
    S3D_TRY(o.sampling.check());
  }
  return Ok();
}

SpecBenchOptions plan_of(const BenchSpecCommand& o, const Runtime& runtime, const Console& console) {
  SpecBenchOptions plan = {.settings = o.spec.settings, .generate = o.sampling.answer.generate, .repeats = o.repeats};
  plan.on_measure = measuring_note(console);
  for (const std::string& name : o.drafters) {
    const std::vector<std::string> meant =
        name == "all" ? all_drafters(runtime, o.spec.settings) : std::vector<std::string>{name};
    plan.drafters.insert(plan.drafters.end(), meant.begin(), meant.end());
  }
  for (const double rate : o.synthetic_rates) {
    plan.synthetic.push_back({.rate = rate, .paced = o.synthetic_cost == "s3d"});
  }
  return plan;
}

Result<SpecBenchPage> measure(const BenchSpecCommand& o, Runtime& runtime, const Console& console) {
  S3D_ASSIGN(const std::vector<BenchPrompt> prompts,
             load_bench_prompts(runtime, {.files = o.prompts,
                                          .limit = o.limit,
                                          .turns = o.turns,
                                          .prompt = o.prompt_options,
                                          .max_tokens = o.sampling.answer.generate.max_tokens}));
  SpecBenchOptions plan = plan_of(o, runtime, console);
  SpecBenchPage page = {.model = runtime.file().path(),
                        .threads = runtime.threads(),
                        .backend = std::string(backend_name(runtime.backend_kind())),
                        .isa = std::string(runtime.backend().name()),
                        .devices = runtime.backend_parts(),
                        .prompts = fmt::format("{}", fmt::join(o.prompts, " ")),
                        .max_tokens = plan.generate.max_tokens,
                        .runs = {}};
  const bool live = console.shows_progress();
  const auto on_prompt = [&](size_t done, size_t total) {
    if (live && done % 10 == 0) console.note(fmt::format("prompt {} of {}", done + 1, total));
    return !Interrupt::requested();
  };
  S3D_ASSIGN(const size_t peak, plain_peak_bytes(runtime, prompts[0], plan.generate));
  for (const float temperature : o.temperatures) {
    plan.generate.sampler.temperature = temperature;
    S3D_ASSIGN(SpecBenchResult result, measure_spec_bench(runtime, prompts, plan, peak, on_prompt));
    page.runs.push_back({temperature, std::move(result)});
  }
  return page;
}

Result<int> run_bench_spec(const BenchSpecCommand& o, Console& console) {
  S3D_ASSIGN(const std::unique_ptr<Runtime> runtime, o.model.load(console));
  const std::string stale = read_tuning(*runtime).stale;
  if (!stale.empty()) console.note("tuning that is not used: " + stale);
  const Interrupt interrupt;
  const Result<SpecBenchPage> page = measure(o, *runtime, console);
  if (Interrupt::requested()) return kExitInterrupted;
  if (!page.ok()) return page.error();
  console.text(spec_page_text(*page, o.format));
  for (const std::string& path : o.outputs) {
    const std::string text = spec_page_text(*page, ending(path));
    S3D_TRY(write_file_atomically(path, std::as_bytes(std::span(text))));
  }
  if (page->same_tokens()) return kExitOk;
  return Error{"a drafter changed the text: this is a bug of S3D, please report it with the command line"};
}

// --temp as a list takes the place of the one of other commands.
void add_temperatures(CLI::App& command, BenchSpecCommand& o) {
  command.remove_option(command.get_option("--temp"));
  command.add_option("--temp,--temperature", o.temperatures, "Temperatures, one measurement for each (default: 0)")
      ->delimiter(',')
      ->type_name("T,…")
      ->group("Sampling");
}

void add_synthetic(CLI::App& command, BenchSpecCommand& o) {
  command
      .add_option("--synthetic-rates", o.synthetic_rates,
                  "Made-up drafters too, each of whose tokens is right with such a chance")
      ->delimiter(',')
      ->type_name("P,…");
  command
      .add_option("--synthetic-cost", o.synthetic_cost,
                  "What a made-up draft costs: nothing, or what one of S3D's costs (default: 0)")
      ->type_name("0|s3d");
}

}  // namespace

void add_bench_spec(CLI::App& bench, Program& program) {
  CLI::App* command =
      bench.add_subcommand("spec", "Plain decoding against drafters, in turns")->footer(kBenchSpecFooter);
  auto o = std::make_shared<BenchSpecCommand>();
  o->model.add_to(*command);
  command
      ->add_option(
          "--prompts", o->prompts,
          "JSONL with turns, prompt or text (and category), or a prompt a line; of several files each is a task")
      ->required()
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  command
      ->add_option("--drafters", o->drafters,
                   "Who drafts, with commas between: see --spec; all: all that this model has")
      ->delimiter(',')
      ->type_name("NAMES")
      ->capture_default_str();
  command->add_option("--limit", o->limit, "Only so many prompts of a file, evenly from it (default: all)")
      ->type_name("N");
  command->add_option("--repeats", o->repeats, "Runs of each prompt, the fastest counts (default: 1)")->type_name("N");
  command->add_option("--turns", o->turns, "Turns of a line, each a prompt with the dialogue before it (default: 1)")
      ->type_name("N");
  add_template_options(*command, o->prompt_options);
  add_system_option(*command, o->prompt_options);
  add_raw_option(*command, o->prompt_options);
  o->sampling.add_to(*command, /*default_max_tokens=*/128);
  add_temperatures(*command, *o);
  o->spec.add_to(*command);
  add_synthetic(*command, *o);
  command->add_option("--format", o->format, "How the result is printed (default: md)")->type_name("md|csv|json|svg");
  command->add_flag("--json", o->json, "The same as --format json");
  command
      ->add_option("-o,--output", o->outputs,
                   "File to write too, in the format of its ending; may be given several times")
      ->type_name("FILE");
  on_chosen<BenchSpecCommand>(*command, program, o, check_bench_spec, run_bench_spec);
}

}  // namespace s3d::cli
