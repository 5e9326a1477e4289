#include "cli/bench_spec_measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/index.h"
#include "base/median.h"
#include "cli/drafter_list.h"
#include "cli/report.h"
#include "cli/synthetic_drafter.h"
#include "decode/planner.h"
#include "engine/pass_costs.h"

namespace s3d::cli {
namespace {

// What one contender made of one prompt.
struct Sample {
  double seconds = 0;
  int64_t tokens = 0;
  SpecStats stats;
  std::vector<TokenId> text;
};

struct Contender {
  DrafterResult result;
  std::unique_ptr<Speculator> speculator;  // null: plain
  std::vector<Sample> samples;             // [prompts]
};

Result<Sample> decode(Runtime& runtime, const KvSequence& seq, const BenchPrompt& prompt, const DecodeOptions& options,
                      Speculator* speculator) {
  // All of the prompt but its last token stays in the cache from the run before.
  runtime.kv().truncate(seq, std::min(runtime.kv().length(seq), isize(prompt.tokens) - 1));
  DecodeOptions mine = options;
  mine.speculator = speculator;
  S3D_ASSIGN(Generation g, runtime.generate(seq, prompt.tokens, mine));
  return Sample{g.timings.decode_seconds, g.timings.decoded_tokens, g.spec, std::move(g.tokens)};
}

// The value a share of the way up the sorted ones, `part` in [0, 1]; 0 when there is none.
double quantile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  const auto place = values.begin() + std::lround(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

SpecFigures summary(const std::vector<BenchPrompt>& prompts, const std::vector<Sample>& plain,
                    const std::vector<Sample>& samples, const std::string& category) {
  SpecFigures out{.category = category};
  std::vector<double> ratios;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (!category.empty() && prompts[i].category != category) continue;
    ++out.prompts;
    out.tokens += samples[i].tokens;
    out.seconds += samples[i].seconds;
    out.stats.add(samples[i].stats);
    if (samples[i].seconds > 0) ratios.push_back(plain[i].seconds / samples[i].seconds);
  }
  out.tps = out.seconds > 0 ? static_cast<double>(out.tokens) / out.seconds : 0;
  out.low = quantile(ratios, 0.25);
  out.high = quantile(ratios, 0.75);
  out.speedup = median(std::move(ratios));
  return out;
}

std::vector<std::string> categories_of(const std::vector<BenchPrompt>& prompts) {
  std::vector<std::string> out;
  for (const BenchPrompt& prompt : prompts) {
    if (!prompt.category.empty() && std::find(out.begin(), out.end(), prompt.category) == out.end()) {
      out.push_back(prompt.category);
    }
  }
  return out;
}

void summarise(const std::vector<BenchPrompt>& prompts, const std::vector<Sample>& plain, size_t plain_peak,
               Contender& contender) {
  DrafterResult& result = contender.result;
  result.all = summary(prompts, plain, contender.samples, "");
  const std::vector<std::string> categories = categories_of(prompts);
  for (const std::string& category : categories) {
    result.categories.push_back(summary(prompts, plain, contender.samples, category));
  }
  for (size_t i = 0; i < plain.size(); ++i) {
    if (contender.samples[i].text != plain[i].text) result.same_tokens = false;
  }
  if (contender.speculator) result.extra_bytes = contender.speculator->extra_bytes();
  result.peak_bytes = plain_peak + result.extra_bytes;
}

// The drafter whose passes a paced synthetic one runs: S3D's own, or where the model has no adapter its floor.
struct Pace {
  std::unique_ptr<Drafter> drafter;
  std::string cost_key;
};
Result<Pace> make_pace(Runtime& runtime, SpeculationOptions settings) {
  for (const char* name : {"s3d", "s3d-untrained"}) {
    settings.drafter = name;
    auto made = make_named_drafter(runtime, settings);
    if (!made.ok()) continue;
    std::string key = drafter_cost_key(runtime, settings, **made);
    return Pace{std::move(*made), std::move(key)};
  }
  return Error{"--synthetic-cost s3d: this model cannot run draft passes; use --synthetic-cost 0"};
}

Result<std::unique_ptr<Speculator>> make_synthetic(Runtime& runtime, const SyntheticDraft& what,
                                                   const SpecBenchOptions& plan, const KnownText& text) {
  Pace pace;
  if (what.paced) {
    S3D_ASSIGN(pace, make_pace(runtime, plan.settings));
  }
  S3D_ASSIGN(const MeasuredCosts costs,
             pass_costs(runtime, pace.drafter.get(), what.paced ? pace.cost_key : "none", plan.on_measure));
  if (!runtime.costs()->measured) *runtime.costs() = costs.full;
  auto drafter = make_synthetic_drafter(text, what.rate, runtime.config().vocab_size, std::move(pace.drafter));
  if (plan.settings.draft_rows > 0) return make_fixed_speculator(std::move(drafter), plan.settings.draft_rows);
  auto experience = std::make_shared<Experience>();
  if (what.paced) experience->pass.push_back({.costs = costs.draft, .chances = {}, .record = {}});
  std::vector<std::unique_ptr<Drafter>> free;
  if (!what.paced) free.push_back(std::move(drafter));
  return std::unique_ptr<Speculator>(std::make_unique<Planner>(std::move(free), std::move(drafter), experience));
}

Result<std::vector<Contender>> make_contenders(Runtime& runtime, const SpecBenchOptions& plan, const KnownText& text) {
  std::vector<Contender> contenders(1);
  contenders[0].result.name = "off";
  for (const std::string& name : plan.drafters) {
    SpeculationOptions settings = plan.settings;
    settings.drafter = name;
    Contender contender;
    contender.result.name = name;
    contender.result.training = read_training_cost(drafter_file(runtime, name));
    S3D_ASSIGN(contender.speculator, make_speculator(runtime, settings, plan.on_measure));
    contenders.push_back(std::move(contender));
  }
  for (const SyntheticDraft& what : plan.synthetic) {
    Contender contender;
    contender.result.name = what.name();
    S3D_ASSIGN(contender.speculator, make_synthetic(runtime, what, plan, text));
    contenders.push_back(std::move(contender));
  }
  return contenders;
}

// Decodes a prompt plainly, unmeasured, so that made-up drafts know what will come.
Status learn_text(Runtime& runtime, const BenchPrompt& prompt, const DecodeOptions& options,
                  std::vector<TokenId>& text) {
  const KvSequence seq = runtime.kv().add_sequence();
  S3D_ASSIGN(const Sample sample, decode(runtime, seq, prompt, options, nullptr));
  text = prompt.tokens;
  text.insert(text.end(), sample.text.begin(), sample.text.end());
  return Ok();
}

// Runs a prompt by every contender, the first one changing from turn to turn, and keeps each one's fastest run.
Status run_prompt(Runtime& runtime, const BenchPrompt& prompt, size_t turn, const SpecBenchOptions& plan,
                  std::vector<Contender>& contenders) {
  const KvSequence seq = runtime.kv().add_sequence();
  for (Contender& contender : contenders) contender.samples.emplace_back();
  Status status = Ok();
  for (size_t i = 0; i < contenders.size() * usize(plan.repeats) && status.ok(); ++i) {
    Contender& contender = contenders[(turn + i) % contenders.size()];
    auto sample = decode(runtime, seq, prompt, plan.generate, contender.speculator.get());
    if (!sample.ok()) {
      status = sample.error();
    } else if (Sample& best = contender.samples.back(); best.seconds == 0 || sample->seconds < best.seconds) {
      best = std::move(*sample);
    }
  }
  return status;
}

}  // namespace

std::string SyntheticDraft::name() const {
  return fmt::format("synthetic-{:g}{}", rate, paced ? "-paced" : "");
}

double SpecFigures::tokens_per_round() const {
  return stats.num_rounds > 0 ? static_cast<double>(tokens) / static_cast<double>(stats.num_rounds) : 0;
}

double SpecFigures::draft_share() const {
  return seconds > 0 ? stats.draft_seconds / seconds : 0;
}

double SpecFigures::verify_share() const {
  return seconds > 0 ? stats.verify_seconds / seconds : 0;
}

std::optional<double> DrafterResult::gain_per_mib() const {
  constexpr size_t kLeast = 1024;  // bytes: what a drafter's own bookkeeping takes is no price
  if (extra_bytes < kLeast) return std::nullopt;
  return (all.speedup - 1) / (static_cast<double>(extra_bytes) / (1U << 20U));
}

Result<size_t> plain_peak_bytes(Runtime& runtime, const BenchPrompt& prompt, const DecodeOptions& options) {
  const KvSequence seq = runtime.kv().add_sequence();
  S3D_ASSIGN(const Sample ignored, decode(runtime, seq, prompt, options, nullptr));
  (void)ignored;
  const size_t drafters = runtime.memory().drafters;
  return peak_resident_bytes() - std::min(drafters, peak_resident_bytes());
}

Result<SpecBenchResult> measure_spec_bench(Runtime& runtime, const std::vector<BenchPrompt>& prompts,
                                           const SpecBenchOptions& plan, size_t plain_peak, const OnPrompt& on_prompt) {
  const auto text = std::make_shared<std::vector<TokenId>>();
  S3D_ASSIGN(std::vector<Contender> contenders, make_contenders(runtime, plan, text));
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (!on_prompt(i, prompts.size())) return Error{"interrupted"};
    if (!plan.synthetic.empty()) S3D_TRY(learn_text(runtime, prompts[i], plan.generate, *text));
    S3D_TRY(run_prompt(runtime, prompts[i], i, plan, contenders));
  }
  SpecBenchResult out;
  for (Contender& contender : contenders) {
    summarise(prompts, contenders[0].samples, plain_peak, contender);
    out.same_tokens = out.same_tokens && contender.result.same_tokens;
  }
  out.plain = std::move(contenders[0].result);
  for (size_t i = 1; i < contenders.size(); ++i) out.drafters.push_back(std::move(contenders[i].result));
  out.peak_rss = peak_resident_bytes();
  return out;
}

}  // namespace s3d::cli
