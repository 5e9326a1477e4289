#include "tune/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/index.h"
#include "base/median.h"
#include "decode/drafters.h"
#include "decode/speculator.h"
#include "engine/draft_parts.h"
#include "engine/pass_costs.h"
#include "engine/speculation.h"

namespace s3d::tune {
namespace {

// What answers of one drafter to all prompts came to; `speculator` null: of plain decoding. Times are by prompt, so
// that a disturbed one does not count: their medians are used.
struct Trial {
  std::unique_ptr<Speculator> speculator;
  SpecStats stats = {};
  std::vector<double> token_seconds = {}, verify_seconds = {};  // of a token, of a full pass
  std::vector<double> draft_seconds = {};                       // of a draft

  void add(const Generation& answer) {
    const SpecStats& now = answer.spec;
    stats.add(now);
    const auto of_each = [](double seconds, int64_t n, std::vector<double>& all) {
      if (n > 0) all.push_back(seconds / static_cast<double>(n));
    };
    of_each(answer.timings.decode_seconds, answer.timings.decoded_tokens, token_seconds);
    of_each(now.verify_seconds, now.num_rounds, verify_seconds);
    of_each(now.draft_seconds, now.num_drafts, draft_seconds);
  }
};

// Each answers every prompt, which is prefilled once.
Status answer_all(Runtime& runtime, const MeasureOptions& options, std::vector<Trial>& trials, const OnPart& on_part) {
  for (size_t i = 0; i < options.prompts.size(); ++i) {
    if (!on_part(fmt::format("text {} of {}", i + 1, options.prompts.size()))) return Error{"interrupted"};
    const std::vector<TokenId>& prompt = options.prompts[i];
    const KvSequence seq = runtime.kv().add_sequence();
    for (Trial& trial : trials) {
      runtime.kv().truncate(seq, std::min(runtime.kv().length(seq), isize(prompt) - 1));
      S3D_ASSIGN(
          const Generation answer,
          runtime.generate(seq, prompt, {.max_tokens = options.max_tokens, .speculator = trial.speculator.get()}));
      trial.add(answer);
    }
  }
  return Ok();
}

std::vector<Rate> rates_of(const SpecStats& stats) {
  std::vector<Rate> rates;
  const std::vector<double> shares = stats.acceptance_by_depth();
  for (size_t d = 0; d < shares.size(); ++d) {
    rates.push_back({.rate = shares[d], .count = static_cast<double>(stats.reached_by_depth[d])});
  }
  return rates;
}

// The drafter of the first adapter; none: there is no adapter.
Result<std::optional<TrainedRate>> open_plan(Runtime& runtime) {
  const DraftFile* file = runtime.first_adapter();
  if (file == nullptr) return std::optional<TrainedRate>();
  S3D_ASSIGN(const std::shared_ptr<const PackedAdapter> adapter, shared_adapter(runtime, file->path));
  const AdapterConfig& config = adapter->config();
  return std::optional(TrainedRate{
      .name = file->kind, .layers = config.fused ? LayerSet() : config.layers, .fused = config.fused, .rates = {}});
}

// D at the numbers of layers in `seconds`, as straight lines by the layers, for each number of rows: least squares.
void fit_draft_costs(const std::map<int, DraftCosts>& seconds, Costs& costs) {
  costs.head.assign(kMostMasks + 2, 0);
  costs.layer.assign(kMostMasks + 2, 0);
  for (int rows = 1; rows <= kMostMasks + 1; ++rows) {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (const auto& [layers, draft] : seconds) {
      const double took = draft.of(rows);
      n += 1, x += layers, y += took, xx += static_cast<double>(layers) * layers, xy += layers * took;
    }
    const double spread = n * xx - x * x;
    const double slope = spread > 0 ? std::max(0.0, (n * xy - x * y) / spread) : y / std::max(x, 1.0);
    costs.layer[usize(rows)] = slope;
    costs.head[usize(rows)] = std::max(0.0, (y - slope * x) / n);
  }
}

// What a trained draft pass takes, in untrained ones of the same layers and rows: the mean over the rows.
double adapter_factor(const Evidence& evidence) {
  // The three adapters of this project, on Zen 4 with AVX-512 (docs/benchmarks.md), where none is open.
  constexpr double kUsual = 1.2;
  if (!evidence.open || evidence.open->layers.count() == 0) return kUsual;
  double sum = 0;
  for (size_t d = 0; d < evidence.open_draft_seconds.size(); ++d) {
    sum +=
        evidence.open_draft_seconds[d] / evidence.costs.draft(evidence.open->layers.count(), static_cast<int>(d) + 1);
  }
  return evidence.open_draft_seconds.empty() ? kUsual : sum / static_cast<double>(evidence.open_draft_seconds.size());
}

class Measurement {
 public:
  Measurement(Runtime& runtime, const MeasureOptions& options, const OnPart& on_part)
      : runtime_(runtime), options_(options), on_part_(on_part) {}

  Result<Evidence> run() {
    evidence_.n_layers = runtime_.config().n_layers;
    evidence_.skips = untrained_plans(evidence_.n_layers);
    if (evidence_.skips.empty()) return Error{"the model has one layer: no draft can skip any"};
    S3D_ASSIGN(evidence_.open, open_plan(runtime_));
    S3D_TRY(measure_costs());
    S3D_TRY(measure_answers());
    return evidence_;
  }

 private:
  Status begin(const std::string& part) const { return on_part_(part) ? Ok() : Status(Error{"interrupted"}); }

  Result<std::unique_ptr<Drafter>> open_one() {
    SpeculationOptions named;
    named.drafter = evidence_.open->name;
    return make_named_drafter(runtime_, named);
  }

  // Twice over, so that a busy moment does not hit all of a kind.
  Status measure_costs() {
    std::map<int, DraftCosts> by_layers;
    for (int turn = 0; turn < 2; ++turn) {
      for (const SkipRate& skip : evidence_.skips) {
        if (skip.group != evidence_.skips.front().group) continue;  // where the layers stand changes no cost
        S3D_TRY(begin(fmt::format("costs of passes and of drafts by {} layers", skip.layers.count())));
        S3D_ASSIGN(const std::unique_ptr<Drafter> drafter, make_untrained_drafter(runtime_, skip.layers, kMostMasks));
        S3D_TRY(measure(drafter.get(), by_layers[skip.layers.count()]));
      }
      if (evidence_.open) S3D_TRY(measure_open());
    }
    fit_draft_costs(by_layers, evidence_.costs);
    for (int depth = 1; depth < isize(open_costs_.seconds) && open_costs_.seconds[usize(depth)] > 0; ++depth) {
      evidence_.open_draft_seconds.push_back(open_costs_.seconds[usize(depth)]);
    }
    evidence_.costs.adapter = adapter_factor(evidence_);
    // LoRA of rank 16 in all layers, behind the rows of a pass: 0.15 one-row passes of smollm2-135m
    // (docs/notes/training.md).
    constexpr double kRiderLora = 0.15;
    evidence_.costs.riders = kRiderLora * evidence_.costs.full.of(1);
    return Ok();
  }

  Status measure_open() {
    S3D_ASSIGN(const std::unique_ptr<Drafter> drafter, open_one());
    return drafter->needs_pass() ? measure(drafter.get(), open_costs_) : Ok();
  }

  Status measure(Drafter* drafter, DraftCosts& least) {
    S3D_ASSIGN(MeasuredCosts now, measure_pass_costs(runtime_, drafter));
    const bool first = !evidence_.costs.full.known();
    now = least_costs(
        now, {.full = first ? now.full : evidence_.costs.full, .draft = least.seconds[1] > 0 ? least : now.draft});
    evidence_.costs.full = now.full;
    least = now.draft;
    return Ok();
  }

  // Plain decoding, each untrained plan, the open drafter.
  Status measure_answers() {
    std::vector<Trial> trials(1);
    for (const SkipRate& skip : evidence_.skips) {
      auto drafter = make_layer_skip_drafter(runtime_.backend(), runtime_.kv(), skip.layers, /*depth=*/1);
      trials.push_back({.speculator = make_fixed_speculator(std::move(drafter), 1)});
    }
    if (evidence_.open) {
      S3D_ASSIGN(std::unique_ptr<Drafter> drafter, open_one());
      const int depth = std::min(drafter->max_depth(), kMostMasks + 1);
      trials.push_back({.speculator = make_fixed_speculator(std::move(drafter), depth)});
    }
    S3D_TRY(answer_all(runtime_, options_, trials, on_part_));
    for (size_t i = 0; i < evidence_.skips.size(); ++i) {
      const std::vector<Rate> rates = rates_of(trials[i + 1].stats);
      if (!rates.empty()) evidence_.skips[i].rate = rates[0];
    }
    if (evidence_.open) evidence_.open->rates = rates_of(trials.back().stats);
    return take_costs(trials);
  }

  // Costs as they were on the texts: plain decoding has passes of one row, untrained plans of two, the open drafter of
  // one more than it drafts.
  Status take_costs(const std::vector<Trial>& trials) {
    const Trial &plain = trials[0], &last = trials.back();
    if (plain.token_seconds.empty()) return Error{"the model ends every answer at once: nothing to draft"};
    const double token = median(plain.token_seconds), pass = median(plain.verify_seconds);
    Costs& costs = evidence_.costs;
    costs.rest = std::max(0.0, token - pass);
    std::vector<PassSample> seen = {{.rows = 1, .seconds = pass}};
    Trial pairs;
    for (size_t i = 1; i <= evidence_.skips.size(); ++i) {
      pairs.stats.add(trials[i].stats);
      pairs.verify_seconds.insert(pairs.verify_seconds.end(), trials[i].verify_seconds.begin(),
                                  trials[i].verify_seconds.end());
    }
    add_sample(pairs, seen);
    const bool drafts_alone = !evidence_.open_draft_seconds.empty();  // by passes of its own
    if (drafts_alone) add_sample(last, seen);
    costs.context = pass / costs.full.of(1);
    if (drafts_alone && !last.draft_seconds.empty()) {
      costs.context = median(last.draft_seconds) / evidence_.open_draft_seconds.back();
    }
    costs.full = in_texts(costs.full, seen);
    evidence_.plain_tps = 1 / (costs.full.of(1) + costs.rest);
    // LoRA of rank 16 in all layers: 0.15 one-row passes of smollm2-135m (docs/notes/training.md).
    constexpr double kRiderLora = 0.15;
    costs.riders = kRiderLora * costs.full.of(1);
    return Ok();
  }

  // Drafts behind the end of an answer are not counted, but their rows were run: so it is rounded up.
  static void add_sample(const Trial& trial, std::vector<PassSample>& seen) {
    if (trial.verify_seconds.empty()) return;
    const auto rounds = static_cast<double>(trial.stats.num_rounds);
    const int rows = 1 + static_cast<int>(std::ceil(static_cast<double>(trial.stats.num_draft_tokens) / rounds));
    if (rows > seen.back().rows) seen.push_back({.rows = rows, .seconds = median(trial.verify_seconds)});
  }

  Runtime& runtime_;
  const MeasureOptions& options_;
  const OnPart& on_part_;
  Evidence evidence_;
  DraftCosts open_costs_;
};

}  // namespace

std::vector<SkipRate> untrained_plans(int n_layers) {
  std::vector<SkipRate> plans;
  int group = 0;
  for (const double first : {0.125, 0.25, 0.5}) {
    for (const double share : {0.25, 0.4, 0.6}) {
      const int count = std::clamp(static_cast<int>(std::lround(share * n_layers)), 1, n_layers - 1);
      const int start = static_cast<int>(std::lround(first * count));
      const LayerSet layers = {start, count - start};
      const auto same = [&layers](const SkipRate& plan) { return plan.layers == layers; };
      if (n_layers > 1 && std::none_of(plans.begin(), plans.end(), same)) {
        plans.push_back({.layers = layers, .group = group, .rate = {}});
      }
    }
    ++group;
  }
  return plans;
}

Result<Evidence> measure_evidence(Runtime& runtime, const MeasureOptions& options, const OnPart& on_part) {
  return Measurement(runtime, options, on_part).run();
}

}  // namespace s3d::tune
