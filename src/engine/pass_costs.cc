#include "engine/pass_costs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "base/atomic_file.h"
#include "base/index.h"
#include "base/stopwatch.h"
#include "engine/model_path.h"
#include "engine/runtime.h"
#include "model/fingerprint.h"

namespace s3d {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kVersion = 8;
// Programs that measure; the least counts. One that ran while the machine was busy with something else would mislead
// all later ones: 28 instead of 6 ms a row were seen, by which eight rows cost as much as one.
constexpr int kMeasuringRuns = 3;
// Wider passes are a straight line on: the logits of 16 rows take 16 MiB where a vocabulary has 262,144 tokens, and the
// program promises to need little beside its file.
constexpr std::array kWidths = {1, 2, 3, 4, 5, 6, 8, 10, 16};
constexpr int kNarrow = 10;   // rows; wider passes take long, and are measured in the first turns only
constexpr int kContext = 64;  // committed positions before the rows

std::string processor_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 1);
  }
  return "unknown";
}

std::string key_of(const Runtime& runtime, const Drafter* drafter, std::string_view drafter_key) {
  return fmt::format("{} drafter={} {}", cost_machine_key(runtime), drafter_key,
                     drafter == nullptr ? 0 : drafter->extra_bytes());
}

std::string path_of(const std::string& key) {
  return (fs::path(cache_folder()) / "costs" / fmt::format("{:016x}.json", std::hash<std::string>{}(key))).string();
}

struct KnownCosts {
  MeasuredCosts costs;
  int runs = 0;  // that measured them
};

std::vector<PassCosts::Point> points_of(const std::array<double, kWidths.size()>& seconds) {
  std::vector<PassCosts::Point> points;
  for (size_t i = 0; i < kWidths.size(); ++i) points.push_back({kWidths[i], seconds[i]});
  return points;
}

std::optional<KnownCosts> read_costs(const std::string& key) {
  std::ifstream in(path_of(key));
  if (!in) return std::nullopt;
  const json object = json::parse(in, nullptr, /*allow_exceptions=*/false);
  try {
    if (!object.is_object() || object.value("key", "") != key) return std::nullopt;
    KnownCosts known;
    const auto full = object.at("full").get<std::array<double, kWidths.size()>>();
    known.costs.full = PassCosts::through(points_of(full));
    known.costs.draft.seconds = object.at("draft").get<decltype(DraftCosts::seconds)>();
    known.runs = object.at("runs").get<int>();
    const bool sane = std::all_of(full.begin(), full.end(), [](double s) { return s > 0 && s < 1e6; });
    if (sane) return known;
  } catch (const json::exception&) {
  }
  return std::nullopt;
}

void write_costs(const std::string& key, const KnownCosts& known) {
  std::error_code ignored;
  fs::create_directories(fs::path(path_of(key)).parent_path(), ignored);
  std::array<double, kWidths.size()> full{};
  for (size_t i = 0; i < kWidths.size(); ++i) full[i] = known.costs.full.of(kWidths[i]);
  const std::string text =
      json({{"key", key}, {"runs", known.runs}, {"full", full}, {"draft", known.costs.draft.seconds}}).dump(1) + "\n";
  const Status written = write_file_atomically(path_of(key), std::as_bytes(std::span(text.data(), text.size())));
  (void)written;  // it is measured again the next time
}

// Whatever else the machine does only adds to a sample: the least of several tells the pass itself.
double least(const std::vector<double>& seconds) {
  return *std::min_element(seconds.begin(), seconds.end());
}

// A wider pass does all that a narrower one does; one that was never undisturbed while it was measured does not hide
// it.
void make_rising(std::span<double> costs) {
  for (size_t i = costs.size() - 1; i > 0; --i) costs[i - 1] = std::min(costs[i - 1], costs[i]);
}

// Times passes in turns on one sequence of `tokens` that is dropped afterwards.
class Measure {
 public:
  Measure(Runtime& runtime, Drafter* drafter)
      : runtime_(runtime), drafter_(drafter), seq_(runtime.kv().add_sequence()) {
    tokens_.resize(kContext + 1);
    for (size_t i = 0; i < tokens_.size(); ++i) {
      tokens_[i] = static_cast<int32_t>(i * 7919 % usize(runtime.config().vocab_size));
    }
  }
  Measure(const Measure&) = delete;
  Measure& operator=(const Measure&) = delete;

  Result<MeasuredCosts> run() {
    S3D_TRY(run_context());
    std::array<std::vector<double>, kWidths.size()> full;
    std::vector<std::vector<double>> draft(drafter_ == nullptr ? 0 : usize(drafter_->max_depth()));
    const Stopwatch watch;
    constexpr int kLeast = 3, kMax = 9;
    constexpr double kBudget = 0.5;  // seconds, after the fewest turns that tell anything
    for (int turn = 0; turn < kMax && (turn <= kLeast || watch.seconds() < kBudget); ++turn) {
      for (size_t i = 0; i < kWidths.size(); ++i) {
        if (kWidths[i] <= kNarrow || turn < kLeast) S3D_TRY(timed_pass(kWidths[i], turn, full[i]));
      }
      for (size_t d = 0; d < draft.size(); ++d) S3D_TRY(timed_draft(static_cast<int>(d) + 1, turn, draft[d]));
    }
    return curve(full, draft);
  }

 private:
  // The rows before those that are timed, and what a drafter is told of them.
  Status run_context() {
    std::vector<Row> rows;
    std::vector<int> tapped;
    for (int i = 0; i < kContext; ++i) rows.push_back({tokens_[i], i, i - 1, seq_}), tapped.push_back(i);
    const std::span<const int> taps = drafter_ == nullptr ? std::span<const int>() : drafter_->taps();
    if (taps.empty()) tapped.clear();
    S3D_ASSIGN(const PassOutput out, runtime_.backend().run({.rows = rows,
                                                             .layers = LayerSet::all(runtime_.config().n_layers),
                                                             .want_hidden = true,
                                                             .taps = taps,
                                                             .tapped = tapped},
                                                            runtime_.kv()));
    state_.assign(out.hidden.begin(), out.hidden.end());
    last_features_.assign(out.tapped.end() - static_cast<std::ptrdiff_t>(out.tapped.size() / kContext),
                          out.tapped.end());
    if (!taps.empty()) {
      drafter_->observe({.text = tokens_, .first = 0, .count = kContext, .features = out.tapped});
    }
    runtime_.kv().commit(seq_, kContext);
    return Ok();
  }
  // In every round there is at least one row that the drafter has not seen yet.
  void show_last_row() {
    if (last_features_.empty()) return;
    drafter_->observe({.text = tokens_, .first = kContext - 1, .count = 1, .features = last_features_});
  }
  Status full_pass(int n, Want wanted, double* seconds) {
    const int length = runtime_.kv().length(seq_);
    std::vector<Row> rows;
    for (int i = 0; i < n; ++i) rows.push_back({tokens_[i], length + i, i - 1, seq_});
    const std::vector<Want> want(rows.size(), wanted);
    const Stopwatch watch;
    S3D_TRY(runtime_.backend().run({.rows = rows, .layers = LayerSet::all(runtime_.config().n_layers), .want = want},
                                   runtime_.kv()));
    if (seconds != nullptr) *seconds = watch.seconds();
    return Ok();
  }
  // The first turn warms up.
  Status timed_pass(int n, int turn, std::vector<double>& seconds) {
    double took = 0;
    S3D_TRY(full_pass(n, Want::kLogits, &took));
    runtime_.kv().truncate(seq_, kContext);
    if (turn > 0) seconds.push_back(took);
    return Ok();
  }
  Status timed_draft(int depth, int turn, std::vector<double>& seconds) {
    DraftTree tree;
    show_last_row();
    const Stopwatch watch;
    S3D_TRY(drafter_->draft({.seq = seq_, .tokens = tokens_, .state = state_}, {.nodes = depth, .depth = depth}, tree));
    if (turn > 0) seconds.push_back(watch.seconds());
    return Ok();
  }

  static MeasuredCosts curve(const std::array<std::vector<double>, kWidths.size()>& full,
                             const std::vector<std::vector<double>>& draft) {
    std::array<double, kWidths.size()> measured{};
    for (size_t i = 0; i < kWidths.size(); ++i) measured[i] = least(full[i]);
    make_rising(measured);
    MeasuredCosts costs = {.full = PassCosts::through(points_of(measured)), .draft = {}};
    std::array<double, kMaxRoundRows + 1>& seconds = costs.draft.seconds;
    const size_t depths = std::min(draft.size(), seconds.size() - 1);
    for (size_t d = 0; d < depths; ++d) seconds[d + 1] = least(draft[d]);
    if (depths > 0) make_rising(std::span(seconds).subspan(1, depths));
    return costs;
  }

  Runtime& runtime_;
  Drafter* drafter_;
  KvSequence seq_;
  std::vector<TokenId> tokens_;
  std::vector<float> state_, last_features_;  // of the last row of the context
};

// A sequence for measuring has room, and so has a pass.
bool can_measure(const Runtime& runtime) {
  return runtime.context() >= kContext + kWidths.back() && runtime.backend().max_rows() >= kContext;
}

}  // namespace

std::string cost_machine_key(const Runtime& runtime) {
  return fmt::format("v{} {} {} threads={} isa={} kv={} cpu={}", kVersion,
                     fingerprint_text(base_fingerprint(runtime.file())), runtime.config().n_layers, runtime.threads(),
                     runtime.backend().name(), static_cast<int>(runtime.kv().type()), processor_name());
}

Result<MeasuredCosts> measure_pass_costs(Runtime& runtime, Drafter* drafter) {
  if (can_measure(runtime)) return Measure(runtime, drafter).run();
  return Error{
      fmt::format("passes are measured with a context of {} positions and passes of {} rows or more; --context "
                  "is {}, --batch {}",
                  kContext + kWidths.back(), kContext, runtime.context(), runtime.backend().max_rows())};
}

// Both curves rise, so the result does.
MeasuredCosts least_costs(const MeasuredCosts& a, const MeasuredCosts& b) {
  MeasuredCosts out = a;
  for (size_t n = 0; n < out.full.full.size(); ++n) out.full.full[n] = std::min(a.full.full[n], b.full.full[n]);
  for (size_t n = 0; n < out.draft.seconds.size(); ++n) {
    out.draft.seconds[n] = std::min(a.draft.seconds[n], b.draft.seconds[n]);
  }
  return out;
}

Result<MeasuredCosts> pass_costs(Runtime& runtime, Drafter* drafter, std::string_view drafter_key,
                                 const std::function<void()>& on_measure) {
  const std::string key = key_of(runtime, drafter, drafter_key);
  const std::optional<KnownCosts> known = read_costs(key);
  if (known && known->runs >= kMeasuringRuns) return known->costs;
  if (!can_measure(runtime)) {
    // Too small to measure: a pass of any width costs the same, which lets drafts be tried and then learned from.
    MeasuredCosts flat = {.full = PassCosts::through(std::array<PassCosts::Point, 2>{{{1, 1}, {2, 1}}}), .draft = {}};
    flat.draft.seconds.fill(0.5);
    return flat;
  }
  if (on_measure) on_measure();
  S3D_ASSIGN(MeasuredCosts costs, Measure(runtime, drafter).run());
  if (known) costs = least_costs(known->costs, costs);
  write_costs(key, {costs, known ? known->runs + 1 : 1});
  return costs;
}

}  // namespace s3d
