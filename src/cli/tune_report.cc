#include "cli/tune_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/index.h"

namespace s3d::cli {
namespace {

using tune::Evidence;
using tune::PlanValue;
using tune::Prediction;

std::string list(const std::vector<double>& values) {
  std::vector<std::string> texts;
  for (const double value : values) texts.push_back(fmt::format("{:.2f}", value));
  return fmt::format("{}", fmt::join(texts, " "));
}

std::vector<double> rates_only(const std::vector<tune::Rate>& rates) {
  std::vector<double> out;
  for (const tune::Rate& rate : rates) out.push_back(rate.rate);
  return out;
}

// [rows] T(n) in one-row passes, and the same of draft passes of so many layers.
std::string cost_table(const Evidence& evidence) {
  const tune::Costs& costs = evidence.costs;
  const double one = costs.full.of(1);
  std::string head = "| rows |", rule = "|---|", full = "| T, in one-row passes |";
  const int layers = evidence.open && evidence.open->layers.count() > 0 ? evidence.open->layers.count()
                                                                        : evidence.skips.front().layers.count();
  std::string draft = fmt::format("| D of {} of {} layers |", layers, evidence.n_layers);
  for (int rows = 1; rows <= tune::kMostMasks + 1; ++rows) {
    head += fmt::format(" {} |", rows);
    rule += "---|";
    full += fmt::format(" {:.2f} |", costs.full.of(rows) / one);
    draft += fmt::format(" {:.2f} |", costs.context * costs.draft(layers, rows) / one);
  }
  return fmt::format(
      "T(1) is {:.3f} ms on the texts that were tried; draft passes take {:.2f} times as long there as alone.\n\n"
      "{}\n{}\n{}\n{}\n",
      1000 * one, costs.context, head, rule, full, draft);
}

std::string untrained_table(const Evidence& evidence, const Prediction& prediction) {
  std::string out = "| untrained layers | β | right | of drafts | the law says |\n|---|---|---|---|---|\n";
  for (const tune::SkipRate& skip : evidence.skips) {
    const double beta = static_cast<double>(skip.layers.count()) / evidence.n_layers;
    const double share = static_cast<double>(skip.layers.first) / skip.layers.count();
    out += fmt::format("| {}+{} | {:.2f} | {:.3f} | {:.0f} | {:.3f} |\n", skip.layers.first, skip.layers.last, beta,
                       skip.rate.rate, skip.rate.count, tune::acceptance(beta, prediction.laws.u(share)));
  }
  return out;
}

// The best plan of some numbers of layers, the best of all among them: for the picture of the whole, not only of the
// winner.
std::vector<PlanValue> curve_of(const Prediction& prediction, int n_layers) {
  constexpr int kMostLines = 15;
  const int step = 1 + n_layers / kMostLines, best = prediction.plans[0].plan.layers.count();
  std::vector<PlanValue> curve;
  for (int count = 1; count < n_layers; ++count) {
    if (count % step != 0 && count != best) continue;
    const auto found = std::find_if(prediction.plans.begin(), prediction.plans.end(), [count](const PlanValue& value) {
      return !value.plan.fused && value.plan.layers.count() == count;
    });
    if (found != prediction.plans.end()) curve.push_back(*found);
  }
  for (const PlanValue& value : prediction.plans) {
    if (value.plan.fused) curve.push_back(value);
  }
  return curve;
}

std::string curve_table(const Evidence& evidence, const Prediction& prediction) {
  std::string out =
      "| plan | first draft right | tokens drafted | tokens a round | tokens/s | times plain "
      "|\n|---|---|---|---|---|---|\n";
  for (const PlanValue& value : curve_of(prediction, evidence.n_layers)) {
    const double first = value.plan.fused ? prediction.laws.fused.front()
                                          : prediction.laws.rates(value.plan.layers, evidence.n_layers, 1).front();
    const bool best = value.plan == prediction.plans[0].plan;
    out += fmt::format("| {}{}{} | {:.2f} | {} | {:.2f} | {:.1f} | {:.2f} |\n", best ? "**" : "", value.plan.text(),
                       best ? "**" : "", first, value.depth, value.tokens, value.tps, value.tps / evidence.plain_tps);
  }
  return out;
}

std::string open_line(const Evidence& evidence, const Prediction& prediction) {
  if (!evidence.open) return "No trained drafter is open: what training adds is not known; --trained names one.\n";
  const std::string what = fmt::format("The open drafter, {}: right by depth {}", evidence.open->name,
                                       list(rates_only(evidence.open->rates)));
  if (prediction.open.depth == 0) return what + "; no draft of it pays.\n";
  return fmt::format(
      "{}; drafting {} in every round gives {:.2f} tokens a round: **{:.1f} ± {:.1f} tokens/s, {:.2f} "
      "times plain** ({:.1f}).\n",
      what, prediction.open.depth, prediction.open.tokens, prediction.open_tps.value, prediction.open_tps.error,
      prediction.open_tps.value / evidence.plain_tps, evidence.plain_tps);
}

std::string best_line(const Evidence& evidence, const Prediction& prediction) {
  const PlanValue& best = prediction.plans[0];
  std::vector<std::string> others;
  for (const tune::Plan& plan : prediction.as_good) others.push_back(plan.text());
  return fmt::format(
      "The best plan: {}, **{:.1f} ± {:.1f} tokens/s, {:.2f} times plain**, trained as well as what was "
      "measured.{}\n",
      best.plan.text(), prediction.best_tps.value, prediction.best_tps.error,
      prediction.best_tps.value / evidence.plain_tps,
      others.empty() ? "" : fmt::format(" As good within the error: {}.", fmt::join(others, "; ")));
}

}  // namespace

std::string tune_markdown(const Runtime& runtime, const Evidence& evidence, const Prediction& prediction) {
  std::string laws;
  for (const tune::Laws::Split& split : prediction.laws.splits) {
    laws += fmt::format("{}{:.3g} with {:.0f} % of the layers at the start", laws.empty() ? "" : ", ",
                        std::exp(split.u), 100 * split.share);
  }
  return fmt::format(
      "{} · {} threads · {} kernels\n\n{}\n{}\nα(β; U) = (1 − U^β) / (1 − U): U = {}. The points scatter {:.1f} times "
      "as much as chance.\n\n{}\n{}{}",
      runtime.file().path(), runtime.threads(), runtime.backend().name(), cost_table(evidence),
      untrained_table(evidence, prediction), laws, std::sqrt(prediction.scatter), curve_table(evidence, prediction),
      open_line(evidence, prediction), best_line(evidence, prediction));
}

Json tune_json(const Runtime& runtime, const std::string& model, const Evidence& evidence,
               const Prediction& prediction) {
  Json out{{"model", runtime.file().path()},
           {"threads", runtime.threads()},
           {"isa", runtime.backend().name()},
           {"plain_tps", evidence.plain_tps},
           {"pass_seconds", Json::array()},
           {"context_factor", evidence.costs.context},
           {"adapter_factor", evidence.costs.adapter},
           {"draft_head_seconds", evidence.costs.head},
           {"draft_layer_seconds", evidence.costs.layer},
           {"untrained", Json::array()},
           {"scatter", prediction.scatter},
           {"open", nullptr},
           {"plans", Json::array()},
           {"best_tps", {prediction.best_tps.value, prediction.best_tps.error}},
           {"train", fmt::format("s3d-train {}", fmt::join(train_arguments(model, prediction), " "))}};
  for (int n = 1; n <= kMaxRoundRows; ++n) out["pass_seconds"].push_back(evidence.costs.full.of(n));
  for (const tune::SkipRate& skip : evidence.skips) {
    out["untrained"].push_back({{"layers", fmt::format("{}+{}", skip.layers.first, skip.layers.last)},
                                {"rate", skip.rate.rate},
                                {"count", skip.rate.count}});
  }
  if (evidence.open) {
    out["open"] = {{"drafter", evidence.open->name},
                   {"rates", rates_only(evidence.open->rates)},
                   {"depth", prediction.open.depth},
                   {"tokens_per_round", prediction.open.tokens},
                   {"tps", {prediction.open_tps.value, prediction.open_tps.error}}};
  }
  for (const PlanValue& value : prediction.plans) {
    out["plans"].push_back(
        {{"plan", value.plan.text()}, {"depth", value.depth}, {"tokens_per_round", value.tokens}, {"tps", value.tps}});
  }
  return out;
}

Tuning tuning_of(const Runtime& runtime, const Evidence& evidence, const Prediction& prediction) {
  return {.drafter = evidence.open ? evidence.open->name : "",
          .file_key = drafter_file_key(runtime.adapter_path()),
          .chances = evidence.open ? rates_only(evidence.open->rates) : std::vector<double>(),
          .depth = prediction.open.depth,
          .plain_tps = evidence.plain_tps,
          .tps = prediction.open_tps.value,
          .tps_error = prediction.open_tps.error,
          .best_plan = prediction.plans[0].plan.text(),
          .best_tps = prediction.best_tps.value,
          .best_error = prediction.best_tps.error};
}

std::string tuning_text(const Tuning& tuning) {
  std::string out = fmt::format("plain      {:.1f} tokens/s\n", tuning.plain_tps);
  if (!tuning.drafter.empty()) {
    out += fmt::format("drafter    {}: right by depth {}; {} tokens a draft, {:.1f} ± {:.1f} tokens/s\n",
                       tuning.drafter, list(tuning.chances), tuning.depth, tuning.tps, tuning.tps_error);
  }
  return out +
         fmt::format("best plan  {}: {:.1f} ± {:.1f} tokens/s\n", tuning.best_plan, tuning.best_tps, tuning.best_error);
}

std::vector<std::string> train_arguments(const std::string& model, const Prediction& prediction,
                                         const TrainPlaces& places) {
  const tune::Plan& plan = prediction.plans[0].plan;
  std::vector<std::string> out = {"adapter", "-m", model, "--masks", fmt::to_string(plan.masks)};
  if (plan.fused) {
    out.emplace_back("--fused");
  } else {
    out.insert(out.end(), {"--draft-layers", fmt::format("{}+{}", plan.layers.first, plan.layers.last)});
  }
  out.insert(out.end(), {"--data", places.data, "-o", places.output});
  if (!places.held_out.empty()) out.insert(out.end(), {"--held-out-data", places.held_out});
  return out;
}

}  // namespace s3d::cli
