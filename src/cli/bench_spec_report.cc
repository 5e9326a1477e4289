#include "cli/bench_spec_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/drafting_options.h"
#include "cli/spec_bound.h"
#include "cli/spec_chart.h"

namespace s3d::cli {
namespace {

double mib(size_t bytes) {
  return static_cast<double>(bytes) / (1U << 20U);
}

std::string percent(double share) {
  return fmt::format("{:.0f} %", 100 * share);
}

Json figures_json(const SpecFigures& figures) {
  Json out = spec_json(figures.stats);
  out["prompts"] = figures.prompts;
  out["tokens"] = figures.tokens;
  out["tps"] = figures.tps;
  out["speedup"] = figures.speedup;
  out["speedup_quartiles"] = {figures.low, figures.high};
  out["tokens_per_round"] = figures.tokens_per_round();
  out["draft_share"] = figures.draft_share();
  out["verify_share"] = figures.verify_share();
  return out;
}

template <typename T>
Json value_or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json drafter_json(const DrafterResult& result) {
  Json out{{"name", result.name},
           {"extra_bytes", result.extra_bytes},
           {"peak_bytes", result.peak_bytes},
           {"gain_per_mib", value_or_null(result.gain_per_mib())},
           {"training",
            {{"core_seconds", value_or_null(result.training.core_seconds)},
             {"anchors", value_or_null(result.training.anchors)},
             {"device", value_or_null(result.training.device)}}},
           {"same_tokens", result.same_tokens}};
  out.update(figures_json(result.all));
  out["categories"] = Json::object();
  for (const SpecFigures& figures : result.categories) out["categories"][figures.category] = figures_json(figures);
  return out;
}

Json run_json(const SpecBenchPage& page, const SpecBenchPage::Run& run) {
  const SpecBenchResult& r = run.result;
  Json out{{"model", page.model},
           {"threads", page.threads},
           {"backend", page.backend},
           {"isa", page.isa},
           {"devices", division_json(page.devices)},
           {"prompts", page.prompts},
           {"max_tokens", page.max_tokens},
           {"temperature", run.temperature},
           {"same_tokens", r.same_tokens},
           {"plain_tps", r.plain.all.tps},
           {"plain_categories", Json::object()},
           {"drafters", Json::array()},
           {"bound", bound_line(r)},
           {"plain_peak_bytes", r.plain.peak_bytes},
           {"peak_rss", r.peak_rss}};
  for (const SpecFigures& figures : r.plain.categories) out["plain_categories"][figures.category] = figures.tps;
  for (const DrafterResult& result : r.drafters) out["drafters"].push_back(drafter_json(result));
  return out;
}

std::string rates_text(const SpecFigures& figures) {
  constexpr size_t kShown = 5;  // depths; deeper ones are in the other formats
  std::vector<std::string> rates;
  for (const double rate : figures.stats.acceptance_by_depth()) rates.push_back(fmt::format("{:.2f}", rate));
  const bool more = rates.size() > kShown;
  rates.resize(std::min(rates.size(), kShown));
  return fmt::format("{}{}", fmt::join(rates, " "), more ? " …" : "");
}

// All tasks together, a line for each drafter.
std::string overall_table(const SpecBenchResult& r) {
  std::string out =
      "| drafter | tokens/s | times plain (quartiles) | tokens a round | right by depth | draft, verify | extra memory "
      "| "
      "peak memory | gain per MiB | training |\n|---|---|---|---|---|---|---|---|---|---|\n";
  const auto line = [&out](const DrafterResult& d) {
    const SpecFigures& f = d.all;
    const auto gain = d.gain_per_mib();
    out += fmt::format("| {} | {:.1f} | {:.3f} ({:.2f} to {:.2f}) | {:.2f} | {} | {}, {} | {} | {} | {} | {} |\n",
                       d.name, f.tps, f.speedup, f.low, f.high, f.tokens_per_round(), rates_text(f),
                       percent(f.draft_share()), percent(f.verify_share()), mebibytes(d.extra_bytes),
                       mebibytes(d.peak_bytes), gain ? fmt::format("{:.4f}", *gain) : "", training_text(d.training));
  };
  line(r.plain);
  for (const DrafterResult& result : r.drafters) line(result);
  return out;
}

// Times plain decoding, a line for each task.
std::string task_table(const SpecBenchResult& r) {
  if (r.plain.categories.size() < 2) return "";
  std::string head = "\n| times plain | prompts | plain, tokens/s |", rule = "|---|---|---|";
  for (const DrafterResult& result : r.drafters) {
    head += fmt::format(" {} |", result.name);
    rule += "---|";
  }
  std::string out = head + "\n" + rule + "\n";
  for (size_t i = 0; i < r.plain.categories.size(); ++i) {
    const SpecFigures& plain = r.plain.categories[i];
    out += fmt::format("| {} | {} | {:.1f} |", visible(plain.category), plain.prompts, plain.tps);
    for (const DrafterResult& result : r.drafters) out += fmt::format(" {:.3f} |", result.categories[i].speedup);
    out += "\n";
  }
  return out;
}

// What computed: the kernels of the host, or which layers lay where.
std::string devices_of(const SpecBenchPage& page) {
  const bool on_cards =
      std::any_of(page.devices.begin(), page.devices.end(), [](const BackendPart& part) { return part.on_card; });
  return on_cards ? "layers " + division_text(page.devices) : page.isa + " kernels";
}

std::string csv_line(double temperature, const DrafterResult& d, const SpecFigures& f, const std::string& devices) {
  const std::string task = csv_field(f.category.empty() ? "all" : f.category);
  std::vector<std::string> rates;
  for (const double rate : f.stats.acceptance_by_depth()) rates.push_back(fmt::format("{:.4f}", rate));
  const auto number = [](const auto& value) {
    return value ? fmt::format("{:g}", static_cast<double>(*value)) : std::string();
  };
  return fmt::format("{:g},{},{},{},{},{:.3f},{:.3f},{:.4f},{:.4f},{:.4f},{:.4f},{},{:.4f},{:.4f},{},{},{},{},{},{}\n",
                     temperature, d.name, task, f.prompts, f.tokens, f.seconds, f.tps, f.speedup, f.low, f.high,
                     f.tokens_per_round(), fmt::join(rates, " "), f.draft_share(), f.verify_share(), d.extra_bytes,
                     d.peak_bytes, number(d.gain_per_mib()), number(d.training.core_seconds),
                     number(d.training.anchors), devices);
}

}  // namespace

bool SpecBenchPage::same_tokens() const {
  return std::all_of(runs.begin(), runs.end(), [](const Run& run) { return run.result.same_tokens; });
}

std::string spec_markdown(const SpecBenchPage& page) {
  std::string out;
  for (const SpecBenchPage::Run& run : page.runs) {
    const SpecBenchResult& r = run.result;
    out += fmt::format("{}{} · {} threads · {} · {} prompts · temperature {:g} · {}\n\n{}{}", out.empty() ? "" : "\n",
                       page.model, page.threads, devices_of(page), r.plain.all.prompts, run.temperature,
                       r.same_tokens ? "same tokens as plain decoding" : "TOKENS DIFFER FROM PLAIN DECODING",
                       overall_table(r), task_table(r));
    const std::string bound = bound_line(r);
    if (!bound.empty()) out += "\n" + bound + "\n";
  }
  return out;
}

std::string spec_csv(const SpecBenchPage& page) {
  std::string out =
      "temperature,drafter,task,prompts,tokens,seconds,tokens_per_second,speedup,speedup_low,speedup_high,"
      "tokens_per_round,acceptance_by_depth,draft_share,verify_share,extra_bytes,peak_bytes,gain_per_mib,"
      "training_core_seconds,training_anchors,devices\n";
  const std::string devices = csv_field(division_field(page.devices));
  for (const SpecBenchPage::Run& run : page.runs) {
    const auto add = [&](const DrafterResult& drafter) {
      out += csv_line(run.temperature, drafter, drafter.all, devices);
      for (const SpecFigures& figures : drafter.categories) out += csv_line(run.temperature, drafter, figures, devices);
    };
    add(run.result.plain);
    for (const DrafterResult& drafter : run.result.drafters) add(drafter);
  }
  return out;
}

Json spec_page_json(const SpecBenchPage& page) {
  if (page.runs.size() == 1) return run_json(page, page.runs[0]);
  Json out{{"runs", Json::array()}};
  for (const SpecBenchPage::Run& run : page.runs) out["runs"].push_back(run_json(page, run));
  return out;
}

std::string spec_svg(const SpecBenchPage& page) {
  const SpecBenchResult& r = page.runs[0].result;
  std::vector<SpecDot> dots;
  for (const DrafterResult& drafter : r.drafters) {
    if (drafter.name.starts_with("synthetic")) continue;  // takes no memory, and would squeeze the others
    dots.push_back({.name = drafter.name,
                    .speedup = drafter.all.speedup,
                    .extra_mib = mib(drafter.extra_bytes),
                    .draft_cost = round_parts(r.plain.all, drafter.all).draft});
  }
  const std::string name = page.model.substr(page.model.find_last_of('/') + 1);
  return spec_chart(
      fmt::format("{}, {} threads, {}, temperature {:g}", name, page.threads, page.isa, page.runs[0].temperature),
      dots);
}

std::string spec_page_text(const SpecBenchPage& page, const std::string& format) {
  if (format == "json") return json_text(spec_page_json(page));
  if (format == "csv") return spec_csv(page);
  return format == "svg" ? spec_svg(page) : spec_markdown(page);
}

}  // namespace s3d::cli
