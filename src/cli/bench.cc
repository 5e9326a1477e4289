// s3d bench: speeds of one model on this machine.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/bench_measure.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/report.h"

namespace s3d::cli {
namespace {

struct BenchCommand {
  ModelOptions model;
  BenchOptions plan;
  std::string format = "md";
  bool json = false;
};

constexpr const char* kBenchFooter =
    R"(Prefill, decoding, passes over 1 to 16 rows and plain reading of memory are measured in turns in one
process; the medians are printed. Before that, every row of every pass is compared with a pass of its own.

Examples:
  s3d bench -m smollm2-135m
  s3d bench -m model.gguf -t 2 --json > bench.json
  s3d bench spec --help
  S3D_CPU=portable s3d bench -m model.gguf --format csv)";

Status check_bench(BenchCommand& o) {
  if (o.model.runtime.model.empty()) return Error{"--model is required"};
  if (o.json) o.format = "json";
  if (o.format != "md" && o.format != "csv" && o.format != "json") {
    return Error{fmt::format("--format must be md, csv or json, got '{}'", o.format)};
  }
  const auto range = [](const char* name, int value, int least, int most) -> Status {
    if (value >= least && value <= most) return Ok();
    return Error{fmt::format("{} must be from {} to {}, got {}", name, least, most, value)};
  };
  S3D_TRY(range("--prompt", o.plan.prompt, 1, 1 << 20));
  S3D_TRY(range("--decode", o.plan.decode, 1, 1 << 20));
  S3D_TRY(range("--samples", o.plan.samples, 1, 1000));
  // Only as many positions as are needed.
  if (o.model.runtime.context == 0) o.model.runtime.context = std::max({o.plan.prompt + 1, o.plan.decode + 2, 128});
  return o.model.check();
}

Json to_json(const Runtime& runtime, const BenchCommand& o, const BenchResult& r) {
  return Json{{"model", runtime.file().path()},
              {"threads", runtime.threads()},
              {"backend", backend_name(runtime.backend_kind())},
              {"isa", runtime.backend().name()},
              {"devices", division_json(runtime.backend_parts())},
              {"kv_type", o.model.kv_type},
              {"prompt_tokens", o.plan.prompt},
              {"samples", o.plan.samples},
              {"prefill_tps", r.prefill_tps},
              {"decode_tps", r.decode_tps},
              {"read_gbps", r.read_gbps},
              {"weight_gbps", r.weight_gbps},
              {"pass_cost", r.pass_cost},
              {"pass_ms", r.pass_ms},
              {"draft_cost", r.draft_cost},
              {"weight_bytes", runtime.backend().weight_bytes()},
              {"peak_rss", r.peak_rss}};
}

std::string to_csv(const Runtime& runtime, const BenchCommand& o, const BenchResult& r) {
  std::string head =
      "model,threads,isa,kv_type,prompt_tokens,prefill_tps,decode_tps,read_gbps,weight_gbps,peak_rss,devices";
  std::string row = fmt::format("{},{},{},{},{},{:.2f},{:.2f},{:.3f},{:.3f},{},{}", csv_field(runtime.file().path()),
                                runtime.threads(), runtime.backend().name(), o.model.kv_type, o.plan.prompt,
                                r.prefill_tps, r.decode_tps, r.read_gbps, r.weight_gbps, r.peak_rss,
                                csv_field(division_field(runtime.backend_parts())));
  for (size_t i = 0; i < r.pass_ms.size(); ++i) {
    head += fmt::format(",pass_ms_{}", i + 1);
    row += fmt::format(",{:.4f}", r.pass_ms[i]);
  }
  return head + "\n" + row + "\n";
}

std::string to_markdown(const Runtime& runtime, const BenchCommand& o, const BenchResult& r) {
  std::string out = fmt::format("{} · {} threads · {} kernels · KV {}\n\n| measure | value |\n|---|---|\n",
                                runtime.file().path(), runtime.threads(), runtime.backend().name(), o.model.kv_type);
  const auto line = [&out](std::string_view name, const std::string& value) {
    out += fmt::format("| {} | {} |\n", name, value);
  };
  line(fmt::format("prefill of {} tokens", o.plan.prompt), fmt::format("{:.1f} tokens/s", r.prefill_tps));
  line("decode", fmt::format("{:.1f} tokens/s", r.decode_tps));
  line("weights read while decoding",
       fmt::format("{:.2f} GB/s, {:.0f} % of reading alone", r.weight_gbps, 100 * r.weight_gbps / r.read_gbps));
  line("reading alone", fmt::format("{:.2f} GB/s", r.read_gbps));
  line("weights of a pass", mebibytes(runtime.backend().weight_bytes()));
  line("devices", division_text(runtime.backend_parts()));
  line("peak memory", mebibytes(r.peak_rss));
  out += "\n| rows of a pass | ms | cost in one-row passes |\n|---|---|---|\n";
  for (size_t i = 0; i < r.pass_ms.size(); ++i) {
    out += fmt::format("| {} | {:.3f} | {:.2f} |\n", i + 1, r.pass_ms[i], r.pass_cost[i]);
  }
  if (!r.draft_cost.empty()) out += "\n| tokens of a draft | cost in one-row passes |\n|---|---|\n";
  for (size_t i = 0; i < r.draft_cost.size(); ++i) out += fmt::format("| {} | {:.2f} |\n", i + 1, r.draft_cost[i]);
  return out;
}

Result<int> run_bench(const BenchCommand& o, Console& console) {
  S3D_ASSIGN(const std::unique_ptr<Runtime> loaded, o.model.load(console));
  Runtime& runtime = *loaded;
  const Interrupt interrupt;
  const bool live = console.stderr_is_terminal();
  const auto on_round = [&](int round) {
    if (live) console.note(fmt::format("round {} of {}", round, o.plan.samples));
    return !Interrupt::requested();
  };
  const Result<BenchResult> result = measure_bench(runtime, o.plan, on_round);
  if (Interrupt::requested()) return kExitInterrupted;
  if (!result.ok()) return result.error();
  if (o.format == "json") console.text(json_text(to_json(runtime, o, *result)));
  if (o.format == "csv") console.text(to_csv(runtime, o, *result));
  if (o.format == "md") console.text(to_markdown(runtime, o, *result));
  return kExitOk;
}

}  // namespace

void add_bench(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("bench", "Measure speed and memory")->footer(kBenchFooter);
  auto o = std::make_shared<BenchCommand>();
  o->model.model_is_required = false;  // it is not, for a subcommand
  o->model.add_to(*command, "what is measured needs");
  const auto number = [&](const char* name, int& value, const char* help) {
    command->add_option(name, value, help)->type_name("N")->capture_default_str();
  };
  number("--prompt", o->plan.prompt, "Tokens of the prefill");
  number("-n,--decode", o->plan.decode, "Tokens of a decode sample");
  number("--samples", o->plan.samples, "Rounds that count");
  command->add_option("--format", o->format, "How the result is printed")
      ->type_name("md|csv|json")
      ->capture_default_str();
  command->add_flag("--json", o->json, "The same as --format json");
  on_chosen<BenchCommand>(*command, program, o, check_bench, run_bench);
  add_bench_spec(*command, program);
  add_bench_serve(*command, program);
}

}  // namespace s3d::cli
