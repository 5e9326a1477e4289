#include "cli/bench_spec_measure.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/index.h"
#include "base/median.h"
#include "cli/report.h"

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

void summarise(const std::vector<BenchPrompt>& prompts, const std::vector<Sample>& plain, Contender& contender) {
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

Result<SpecBenchResult> measure_spec_bench(Runtime& runtime, const std::vector<BenchPrompt>& prompts,
                                           const SpecBenchOptions& plan, const OnPrompt& on_prompt) {
  std::vector<Contender> contenders(1);
  contenders[0].result.name = "off";
  for (const std::string& name : plan.drafters) {
    SpeculationOptions settings = plan.settings;
    settings.drafter = name;
    Contender contender;
    contender.result.name = name;
    S3D_ASSIGN(contender.speculator, make_speculator(runtime, settings, plan.on_measure));
    contenders.push_back(std::move(contender));
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (!on_prompt(i, prompts.size())) return Error{"interrupted"};
    S3D_TRY(run_prompt(runtime, prompts[i], i, plan, contenders));
  }
  SpecBenchResult out;
  for (Contender& contender : contenders) {
    summarise(prompts, contenders[0].samples, contender);
    out.same_tokens = out.same_tokens && contender.result.same_tokens;
  }
  out.plain = std::move(contenders[0].result);
  for (size_t i = 1; i < contenders.size(); ++i) out.drafters.push_back(std::move(contenders[i].result));
  out.peak_rss = peak_resident_bytes();
  return out;
}

}  // namespace s3d::cli
