// s3d bench serve: what a server gives to many users at once; any server that speaks the OpenAI API.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>

#include "base/index.h"
#include "cli/interrupt.h"
#include "cli/program.h"
#include "cli/report.h"
#include "cli/serve_chart.h"
#include "cli/serve_load.h"
#include "engine/prompt_file.h"

namespace s3d::cli {
namespace {

struct BenchServeCommand {
  std::vector<std::string> urls;
  std::string api_key;
  std::string model;
  std::string prompts;
  std::vector<int> streams = {1, 2, 4, 8, 16};
  int requests = 0;
  LoadPlan plan;
  std::string format = "md";
  std::vector<LoadTarget> targets;  // of `urls`
};

constexpr const char* kFooter =
    R"(So many streams as --streams says ask the questions of the file (the first turn of each line), one after the other.
With several servers each level runs on one after the other, and the last column compares with the last server.

Examples:
  s3d bench serve --url http://127.0.0.1:8080 --prompts bench/prompts/chat.jsonl
  s3d bench serve --url s3d=http://127.0.0.1:8080 --url llama-server=http://127.0.0.1:8081 \
    --prompts bench/prompts/code.jsonl --streams 1,4,8 -n 128 --format svg > serve.svg)";

// "name=http://…" or "http://…", without a slash or /v1 at its end.
Result<LoadTarget> parse_target(const std::string& text) {
  const size_t scheme = text.find("http");
  std::string url = scheme == std::string::npos ? "" : text.substr(scheme);
  for (const std::string_view end : {"/", "/v1"}) {
    if (url.ends_with(end)) url.resize(url.size() - end.size());
  }
  const bool named = scheme != std::string::npos && scheme > 1 && text[scheme - 1] == '=';
  if ((url.starts_with("http://") || url.starts_with("https://")) && (scheme == 0 || named)) {
    return LoadTarget{.name = named ? text.substr(0, scheme - 1) : url, .url = url};
  }
  return Error{fmt::format("--url '{}' is not understood; expected http://HOST:PORT, or NAME=http://HOST:PORT", text)};
}

Status check_bench_serve(BenchServeCommand& o) {
  for (const std::string& text : o.urls) {
    S3D_ASSIGN(LoadTarget target, parse_target(text));
    target.api_key = o.api_key;
    target.model = o.model;
    o.targets.push_back(target);
  }
  constexpr int kMaxWords = 1 << 20;
  if (o.plan.long_prompt < 0 || o.plan.long_prompt > kMaxWords)
    return Error{fmt::format("--long-prompt must be from 0 to {} words, got {}", kMaxWords, o.plan.long_prompt)};
  constexpr int kMaxStreams = 1024;
  for (const int streams : o.streams) {
    if (streams >= 1 && streams <= kMaxStreams) continue;
    return Error{fmt::format("--streams must be numbers from 1 to {}, got {}", kMaxStreams, streams)};
  }
  if (o.requests < 0)
    return Error{fmt::format("--requests must be 0 (three for each stream) or more, got {}", o.requests)};
  if (o.plan.max_tokens < 1) return Error{fmt::format("--max-tokens must be 1 or more, got {}", o.plan.max_tokens)};
  for (const char* format : {"md", "csv", "json", "svg"}) {
    if (o.format == format) return Ok();
  }
  return Error{fmt::format("--format must be md, csv, json or svg, got '{}'", o.format)};
}

// [level][target]
using Results = std::vector<std::vector<LoadResult>>;

double milliseconds(double seconds) {
  return 1000 * seconds;
}

Json to_json(const LongPrompt& prompt) {
  return {{"tokens", prompt.tokens},
          {"first_text_ms", milliseconds(prompt.first)},
          {"other_gaps", prompt.gaps.size()},
          {"other_gap_ms", milliseconds(percentile(prompt.gaps, 0.5))},
          {"other_gap_longest_ms", milliseconds(percentile(prompt.gaps, 1))}};
}

// What the long prompts did, a line each; "" where none arrived.
std::string long_prompt_lines(const BenchServeCommand& o, const Results& results) {
  std::string out;
  for (const auto& level : results) {
    for (size_t i = 0; i < level.size(); ++i) {
      const LongPrompt& prompt = level[i].long_prompt;
      if (prompt.tokens == 0) continue;
      out += fmt::format(
          "\n{}, {} streams: a prompt of {} tokens had its first text after {:.0f} ms. Meanwhile {} pieces of the "
          "other "
          "streams came; the time between two was {:.0f} ms (median) and {:.0f} ms at most.\n",
          o.targets[i].name, level[i].streams, prompt.tokens, milliseconds(prompt.first), prompt.gaps.size(),
          milliseconds(percentile(prompt.gaps, 0.5)), milliseconds(percentile(prompt.gaps, 1)));
    }
  }
  return out;
}

Json to_json(const BenchServeCommand& o, const Results& results) {
  Json out{{"prompts", o.prompts},
           {"max_tokens", o.plan.max_tokens},
           {"temperature", o.plan.temperature},
           {"results", Json::array()}};
  for (const auto& level : results) {
    for (size_t i = 0; i < level.size(); ++i) {
      const LoadResult& r = level[i];
      out["results"].push_back({{"server", o.targets[i].name},
                                {"model", o.targets[i].model},
                                {"streams", r.streams},
                                {"requests", r.requests},
                                {"failed", r.failed},
                                {"failure", r.failure},
                                {"tokens", r.tokens},
                                {"seconds", r.seconds},
                                {"tokens_per_second", r.tps()},
                                {"stream_tokens_per_second", percentile(r.rates, 0.5)},
                                {"first_text_ms", milliseconds(percentile(r.first, 0.5))},
                                {"first_text_p99_ms", milliseconds(percentile(r.first, 0.99))},
                                {"gap_ms", milliseconds(percentile(r.gaps, 0.5))},
                                {"gap_p99_ms", milliseconds(percentile(r.gaps, 0.99))}});
      if (r.long_prompt.tokens > 0) out["results"].back()["long_prompt"] = to_json(r.long_prompt);
    }
  }
  return out;
}

std::string to_csv(const BenchServeCommand& o, const Results& results) {
  std::string out =
      "server,streams,requests,failed,tokens,seconds,tokens_per_second,stream_tokens_per_second,first_text_ms,"
      "first_text_p99_ms,gap_ms,gap_p99_ms\n";
  for (const auto& level : results) {
    for (size_t i = 0; i < level.size(); ++i) {
      const LoadResult& r = level[i];
      out += fmt::format("{},{},{},{},{},{:.3f},{:.2f},{:.2f},{:.1f},{:.1f},{:.2f},{:.2f}\n", o.targets[i].name,
                         r.streams, r.requests, r.failed, r.tokens, r.seconds, r.tps(), percentile(r.rates, 0.5),
                         milliseconds(percentile(r.first, 0.5)), milliseconds(percentile(r.first, 0.99)),
                         milliseconds(percentile(r.gaps, 0.5)), milliseconds(percentile(r.gaps, 0.99)));
    }
  }
  return out;
}

std::string to_markdown(const BenchServeCommand& o, const Results& results) {
  const bool several = o.targets.size() > 1;
  std::string out = fmt::format(
      "{} · {} tokens an answer at most\n\n| streams | server | tokens/s in all | of a stream | first text, ms (99 %) "
      "| "
      "between pieces, ms (99 %) | failed |{}\n|---|---|---|---|---|---|---|{}\n",
      o.prompts, o.plan.max_tokens, several ? fmt::format(" times {} |", o.targets.back().name) : "",
      several ? "---|" : "");
  for (const auto& level : results) {
    for (size_t i = 0; i < level.size(); ++i) {
      const LoadResult& r = level[i];
      out += fmt::format("| {} | {} | {:.1f} | {:.1f} | {:.0f} ({:.0f}) | {:.1f} ({:.1f}) | {} of {} |{}\n", r.streams,
                         o.targets[i].name, r.tps(), percentile(r.rates, 0.5), milliseconds(percentile(r.first, 0.5)),
                         milliseconds(percentile(r.first, 0.99)), milliseconds(percentile(r.gaps, 0.5)),
                         milliseconds(percentile(r.gaps, 0.99)), r.failed, r.failed + r.requests,
                         several ? fmt::format(" {:.2f} |", r.tps() / level.back().tps()) : "");
    }
  }
  return out;
}

std::string to_svg(const BenchServeCommand& o, const Results& results) {
  std::vector<ChartLine> lines;
  for (size_t i = 0; i < o.targets.size(); ++i) {
    lines.push_back({.name = o.targets[i].name});
    for (const auto& level : results) {
      lines.back().points.push_back({static_cast<double>(level[i].streams), level[i].tps()});
    }
  }
  return throughput_chart(lines);
}

// A request before each level: nothing that a server does once is measured.
Result<std::vector<LoadResult>> run_level(const BenchServeCommand& o, int streams, Console& console) {
  LoadPlan plan = o.plan;
  plan.streams = streams;
  constexpr int kRequestsPerStream = 3;
  plan.requests = o.requests > 0 ? o.requests : kRequestsPerStream * streams;
  LoadPlan warm = plan;
  warm.streams = warm.requests = 1;
  warm.long_prompt = 0;
  std::vector<LoadResult> level;
  for (const LoadTarget& target : o.targets) {
    console.note(fmt::format("{}: {} streams", target.name, streams));
    const auto keep_going = [] { return !Interrupt::requested(); };
    S3D_TRY(run_load(target, warm, keep_going));
    S3D_ASSIGN(LoadResult result, run_load(target, plan, keep_going));
    level.push_back(std::move(result));
  }
  return level;
}

Result<int> run_bench_serve(BenchServeCommand o, Console& console) {
  S3D_ASSIGN(const std::vector<FilePrompt> prompts, read_prompt_file(o.prompts));
  for (const FilePrompt& prompt : prompts) o.plan.questions.push_back(prompt.turns[0]);
  for (LoadTarget& target : o.targets) {
    S3D_ASSIGN(const std::vector<std::string> models, served_models(target));
    if (target.model.empty()) target.model = models.front();
  }
  const Interrupt interrupt;
  Results results;
  for (const int streams : o.streams) {
    S3D_ASSIGN(std::vector<LoadResult> level, run_level(o, streams, console));
    if (Interrupt::requested()) return kExitInterrupted;
    results.push_back(std::move(level));
  }
  if (o.format == "json") console.text(json_text(to_json(o, results)));
  if (o.format == "csv") console.text(to_csv(o, results));
  if (o.format == "svg") console.text(to_svg(o, results));
  if (o.format == "md") console.text(to_markdown(o, results) + long_prompt_lines(o, results));
  const auto failed = [](const LoadResult& result) { return result.failed > 0; };
  const bool good = std::none_of(results.begin(), results.end(),
                                 [&](const auto& level) { return std::any_of(level.begin(), level.end(), failed); });
  return good ? kExitOk : kExitFailure;
}

}  // namespace

void add_bench_serve(CLI::App& bench, Program& program) {
  CLI::App* command = bench.add_subcommand("serve", "Measure a server: throughput and waiting times by streams");
  const auto o = std::make_shared<BenchServeCommand>();
  command->footer(kFooter);
  command->add_option("--url", o->urls, "Server, or NAME=server; may be given more than once")
      ->required()
      ->type_name("[NAME=]URL");
  command->add_option("--prompts", o->prompts, "Questions: a text a line, or JSON lines with \"turns\"")
      ->required()
      ->type_name("FILE");
  command->add_option("--streams", o->streams, "Streams at the same time, one level after the other")
      ->delimiter(',')
      ->type_name("N,…");
  command->add_option("--requests", o->requests, "Requests of a level; 0: three for each stream")->type_name("N");
  command->add_option("-n,--max-tokens", o->plan.max_tokens, "Tokens of an answer at most")->type_name("N");
  command->add_option("--temp,--temperature", o->plan.temperature, "0: the most likely token each time")
      ->type_name("T")
      ->capture_default_str();
  command->add_flag("--ignore-eos", o->plan.ignore_end, "Answers go on to --max-tokens");
  command->add_option("--long-prompt", o->plan.long_prompt, "Words of a prompt that arrives in the middle of a level")
      ->type_name("WORDS");
  command->add_option("--model", o->model, "Model to ask for; default: the first that the server names")
      ->type_name("NAME");
  command->add_option("--api-key", o->api_key, "Key to send")->type_name("KEY");
  command->add_option("--format", o->format, "md, csv, json or svg")->type_name("FORMAT");
  on_chosen<BenchServeCommand>(
      *command, program, o, check_bench_serve,
      [](const BenchServeCommand& chosen, Console& console) { return run_bench_serve(chosen, console); });
}

}  // namespace s3d::cli
