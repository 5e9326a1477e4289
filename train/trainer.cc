#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/atomic_file.h"
#include "base/check.h"
#include "train/keyed_random.h"
#include "train/loss.h"

namespace s3d::train {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Status write_text(const std::string& path, const std::string& text) {
  return write_file_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

ContextOptions context_options(const Recipe& recipe, const char* name) {
  ContextOptions options = {
      .head = recipe.adapter.head, .tail = recipe.adapter.tail, .state = recipe.adapter.state_rank > 0};
  if (recipe.loss.soft_share > 0) options.soft_targets = recipe.soft_tokens;
  if (!recipe.context_folder.empty()) options.folder = recipe.context_folder + "/" + name;
  options.progress = [log = recipe.log, start = Clock::now(), shown = 0.0](int64_t done, int64_t total) mutable {
    const double seconds = seconds_since(start);
    if (!log || (seconds < shown + 10 && done < total)) return;
    shown = seconds;
    const double rate = static_cast<double>(done) / seconds;
    log(fmt::format("context of {} of {} tokens, {:.0f} tokens/s, {:.0f} s left", done, total, rate,
                    static_cast<double>(total - done) / rate));
  };
  return options;
}

// All that a run reads: base, data, kept context.
struct Inputs {
  BaseModel base;
  Dataset data, held_out;
  std::unique_ptr<ContextStore> context, held_out_context;
  uint64_t data_hash = 0;
};

Status load_data(const Recipe& recipe, const ModelConfig& config, Inputs& in) {
  S3D_ASSIGN(in.data, read_dataset(recipe.data, config.vocab_size, recipe.max_length));
  in.data_hash = in.data.hash;
  if (!recipe.held_out_data.empty()) {
    S3D_ASSIGN(in.held_out, read_dataset(recipe.held_out_data, config.vocab_size, recipe.max_length));
    in.data_hash = keyed(in.data_hash, in.held_out.hash);
  } else {
    if (in.data.sequences.size() < 2) return Error{recipe.data[0] + ": at least two sequences are needed"};
    in.held_out = split_held_out(in.data, recipe.held_out, recipe.seed);
  }
  return Ok();
}

int longest_of(const Dataset& a, const Dataset& b) {
  int longest = 1;
  for (const Dataset* data : {&a, &b}) {
    for (const Sequence& sequence : data->sequences) longest = std::max(longest, sequence.length());
  }
  return longest;
}

Status load_inputs(Recipe& recipe, Inputs& in) {
  {
    S3D_ASSIGN(const GgufFile file, GgufFile::open(recipe.model));
    S3D_ASSIGN(const ModelConfig config, read_model_config(file));
    default_plan(config.n_layers, recipe.adapter);
    S3D_TRY(check_recipe(recipe, config));
    S3D_TRY(load_data(recipe, config, in));
    S3D_TRY(
        check_memory(recipe, file, config, in.data.tokens() + in.held_out.tokens(), longest_of(in.data, in.held_out)));
  }
  // A draft row lies up to `masks` positions after the last token.
  const int context = longest_of(in.data, in.held_out) + recipe.adapter.masks;
  S3D_ASSIGN(in.base, load_base(recipe.model, recipe.base_dtype, recipe.device, context));
  S3D_ASSIGN(ContextStore held_out, ContextStore::build(in.base, in.held_out, context_options(recipe, "held-out")));
  in.held_out_context = std::make_unique<ContextStore>(std::move(held_out));
  return Ok();
}

// One run from its first or any later step to its end.
class Run {
 public:
  Run(const Recipe& recipe, Group& group, const Inputs& in, DraftParams params)
      : recipe_(recipe),
        group_(group),
        in_(in),
        params_(std::move(params)),
        block_(in.base, params_.draft_ids),
        plan_(in.data, recipe.per_group,
              RowPlan(depth_weights(recipe.loss, recipe.adapter.masks), recipe.loss.sample_rows, recipe.groups,
                      recipe.seed),
              recipe.seed),
        adam_(tensors_of(params_), recipe.adam),
        settings_(settings_text(recipe, in.base.fingerprint, in.data_hash)) {
    total_ = recipe.steps > 0 ? recipe.steps : static_cast<int64_t>(std::ceil(recipe.epochs * plan_.steps_per_epoch()));
  }

  Result<TrainingResult> run() {
    S3D_TRY(resume());
    log(fmt::format("{} steps, {} anchors, {} of them an epoch, {:.2f} M trained numbers", total_,
                    plan_.anchors_before(total_), plan_.anchors_per_epoch(),
                    static_cast<double>(params_.count()) / 1e6));
    if (step_ == 0 && curve_.empty()) S3D_TRY(measure());
    while (step_ < total_ && !stopped_early_) {
      S3D_TRY(train_step());
      if (step_ % recipe_.report_every == 0 || step_ == total_) S3D_TRY(measure());
      const bool pause = pause_;
      if (pause || step_ % recipe_.checkpoint_every == 0 || step_ == total_ || stopped_early_) S3D_TRY(save());
      if (pause && step_ < total_ && !stopped_early_) return TrainingResult{false, step_, best_, {}};
    }
    S3D_ASSIGN(const Acceptance stored, measure_stored());
    return TrainingResult{true, step_, best_, stored};
  }

 private:
  static std::vector<Tensor> tensors_of(const DraftParams& params) {
    std::vector<Tensor> out;
    for (const DraftParams::Named& named : params.tensors) out.push_back(named.value);
    return out;
  }

  void log(const std::string& line) const {
    if (recipe_.log && group_.rank() == 0) recipe_.log(line);
  }
  std::string path(const char* name) const { return recipe_.out + "/" + name; }

  // Sum of the losses over this rank's share of a step, with its gradients left in the parameters.
  Result<LossSums> gradients() {
    std::vector<AnchorGroup> mine;
    const std::vector<AnchorGroup> all = plan_.step(step_);
    for (size_t i = static_cast<size_t>(group_.rank()); i < all.size(); i += static_cast<size_t>(group_.size())) {
      mine.push_back(all[i]);
    }
    if (mine.empty()) return LossSums{torch::zeros({}), 0};
    const TrainingBatch batch =
        make_batch(in_.data, *in_.context, params_.config, mine, recipe_.per_group, in_.base.device, plan_.rows(step_));
    std::optional<ContextStore::SoftTargets> soft;
    if (recipe_.loss.soft_share > 0) {
      const Tensor rows = torch::arange(plan_.rows(step_)).view({1, 1, -1});
      const Tensor at = batch.draft.positions.to(torch::kCPU).unsqueeze(2) + rows;
      // Rows beyond the end have no target; any position will do for them.
      std::vector<int64_t> last;
      for (const int s : batch.sequences) last.push_back(in_.data.sequences[static_cast<size_t>(s)].length() - 1);
      soft = in_.context->soft_targets(batch.sequences, torch::minimum(at, torch::tensor(last).view({-1, 1, 1})));
    }
    LossSums sums = draft_loss(block_, params_, batch, soft, recipe_.loss);
    sums.loss.backward();
    return sums;
  }

  Status train_step() {
    const auto start = Clock::now();
    S3D_ASSIGN(const LossSums sums, gradients());
    std::vector<Tensor> shared;
    for (const Tensor& param : adam_.params()) shared.push_back(param.grad());
    const Tensor numbers =
        torch::tensor({sums.loss.item<float>(), static_cast<float>(sums.weight), wants_pause() ? 1.0F : 0.0F});
    shared.push_back(numbers);
    S3D_TRY(group_.add_up(shared));
    const double loss = numbers[0].item<double>(), weight = numbers[1].item<double>();
    pause_ = numbers[2].item<double>() > 0;
    const double rate = cosine_rate(step_, total_, recipe_.warmup, recipe_.learning_rate, recipe_.last_rate);
    const double norm = weight > 0 ? adam_.step(step_, rate, 1 / weight) : 0;
    if (!std::isfinite(loss) || !std::isfinite(norm)) {
      return Error{
          fmt::format("step {}: the loss is {} and the gradient's norm {}; the last checkpoint and adapter in {} "
                      "are good; try a lower --learning-rate",
                      step_, loss, norm, recipe_.out)};
    }
    ++step_;
    loss_sum_ += loss;
    weight_sum_ += weight;
    seconds_ += seconds_since(start);
    if (step_ % 20 == 0) {
      log(fmt::format("step {} of {}  loss {:.4f}  rate {:.2e}  {:.0f} anchors/s  {:.0f} s left", step_, total_,
                      weight > 0 ? loss / weight : 0, rate, static_cast<double>(anchors()) / seconds_,
                      seconds_ / static_cast<double>(step_) * static_cast<double>(total_ - step_)));
    }
    return Ok();
  }

  bool wants_pause() const {
    if (recipe_.stop != nullptr && recipe_.stop->load()) return true;
    if (recipe_.stop_after > 0 && step_ + 1 >= recipe_.stop_after) return true;
    return recipe_.max_minutes > 0 && seconds_since(started_) > 60 * recipe_.max_minutes;
  }

  int64_t anchors() { return plan_.anchors_before(step_); }

  Result<Acceptance> measure_params(const DraftParams& params) {
    const Acceptance mine =
        evaluate(block_, params, in_.held_out, *in_.held_out_context, in_.base.device, group_.rank(), group_.size());
    std::vector<double> numbers = {static_cast<double>(mine.rounds), static_cast<double>(mine.tokens)};
    const auto depths = static_cast<size_t>(params.config.masks + 1);
    for (size_t j = 0; j < depths; ++j) {
      numbers.push_back(j < mine.reached.size() ? static_cast<double>(mine.reached[j]) : 0);
      numbers.push_back(j < mine.reached.size() ? static_cast<double>(mine.accepted[j]) : 0);
    }
    S3D_ASSIGN(numbers, sum(group_, numbers));
    Acceptance all = {static_cast<int64_t>(numbers[0]), static_cast<int64_t>(numbers[1]), {}, {}};
    for (size_t j = 0; j < depths; ++j) {
      all.reached.push_back(static_cast<int64_t>(numbers[2 + 2 * j]));
      all.accepted.push_back(static_cast<int64_t>(numbers[3 + 2 * j]));
    }
    return all;
  }

  // Measures acceptance, keeps the adapter if it is the best so far, and writes table and plot.
  Status measure() {
    S3D_ASSIGN(const Acceptance acceptance, measure_params(params_));
    CurvePoint point = {step_,
                        anchors(),
                        seconds_,
                        cosine_rate(step_, total_, recipe_.warmup, recipe_.learning_rate, recipe_.last_rate),
                        weight_sum_ > 0 ? loss_sum_ / weight_sum_ : 0,
                        acceptance.mean(),
                        {}};
    for (size_t j = 0; j < acceptance.reached.size(); ++j) point.rates.push_back(acceptance.rate(j));
    curve_.push_back(point);
    loss_sum_ = weight_sum_ = 0;
    log(fmt::format("step {}: held-out {}", step_, acceptance_text(acceptance)));
    const bool better = acceptance.mean() > best_;
    since_best_ = better ? 0 : since_best_ + 1;
    if (better) best_ = acceptance.mean();
    if (recipe_.patience > 0 && since_best_ >= recipe_.patience) {
      stopped_early_ = true;
      log(fmt::format("no better for {} measurements: stopped", since_best_));
    }
    if (group_.rank() != 0) return Ok();
    if (better) {
      S3D_ASSIGN(const std::vector<std::byte> image, params_image(params_, recipe_.type));
      S3D_TRY(write_file_atomically(path("adapter.gguf"), image));
    }
    S3D_TRY(write_text(path("curve.csv"), curve_csv(curve_)));
    return write_text(path("curve.svg"), curve_svg(curve_, params_.config.base_name + ": " + recipe_.out));
  }

  Result<Acceptance> measure_stored() {
    std::vector<Tensor> best;  // rank 0 has the file
    DraftParams params = params_;
    if (group_.rank() == 0) {
      S3D_ASSIGN(params, read_params(in_.base, path("adapter.gguf")));
    }
    if (group_.size() > 1) return Acceptance{};
    return measure_params(params);
  }

  Status save() {
    if (group_.rank() != 0) return Ok();
    const json progress = {{"curve", curve_to_json(curve_)}, {"best", best_},       {"since_best", since_best_},
                           {"stopped", stopped_early_},      {"seconds", seconds_}, {"loss", loss_sum_},
                           {"weight", weight_sum_}};
    S3D_TRY(write_text(path("recipe.txt"), settings_ + "\n"));
    return write_checkpoint(path("checkpoint"), {settings_, step_, progress.dump(), adam_.params(),
                                                 adam_.first_moments(), adam_.second_moments()});
  }

  // Rank 0 reads the checkpoint; the others get everything from it.
  Status resume() {
    std::vector<double> numbers(7);
    Status status = Ok();
    if (group_.rank() == 0) {
      status = restore(numbers);
      numbers[6] = status.ok() ? 1 : 0;
    }
    S3D_ASSIGN(numbers, sum(group_, numbers));
    S3D_TRY(status);
    if (numbers[6] == 0) return Error{"rank 0 could not go on from its checkpoint"};
    step_ = static_cast<int64_t>(numbers[0]);
    best_ = numbers[1];
    since_best_ = static_cast<int>(numbers[2]);
    stopped_early_ = numbers[3] != 0;
    loss_sum_ = numbers[4];
    weight_sum_ = numbers[5];
    if (step_ == 0) return Ok();
    log(fmt::format("going on from step {}", step_));
    const torch::NoGradGuard no_grad;
    for (std::vector<Tensor>* list : {&adam_.params(), &adam_.first_moments(), &adam_.second_moments()}) {
      if (group_.rank() != 0) {
        for (Tensor& tensor : *list) tensor.zero_();
      }
      S3D_TRY(group_.add_up(*list));
    }
    return Ok();
  }

  Status restore(std::vector<double>& numbers) {
    if (recipe_.restart || !std::filesystem::exists(path("checkpoint"))) return Ok();
    S3D_ASSIGN(Checkpoint checkpoint, read_checkpoint(path("checkpoint"), settings_, adam_.params()));
    const json progress = json::parse(checkpoint.progress, nullptr, /*allow_exceptions=*/false);
    try {
      S3D_ASSIGN(curve_, curve_from_json(progress.at("curve").get<std::string>()));
      seconds_ = progress.at("seconds");
      numbers = {static_cast<double>(checkpoint.step),
                 progress.at("best"),
                 progress.at("since_best"),
                 progress.at("stopped").get<bool>() ? 1.0 : 0.0,
                 progress.at("loss"),
                 progress.at("weight"),
                 0};
    } catch (const json::exception& problem) {
      return Error{fmt::format("{}: damaged: {}; add --restart", path("checkpoint"), problem.what())};
    }
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i < adam_.params().size(); ++i) {
      adam_.params()[i].copy_(checkpoint.params[i]);
      adam_.first_moments()[i].copy_(checkpoint.first_moments[i]);
      adam_.second_moments()[i].copy_(checkpoint.second_moments[i]);
    }
    return Ok();
  }

  const Recipe& recipe_;
  Group& group_;
  const Inputs& in_;
  DraftParams params_;
  DraftBlock block_;
  AnchorPlan plan_;
  Adam adam_;
  std::string settings_;
  Clock::time_point started_ = Clock::now();

  int64_t step_ = 0, total_ = 0;
  std::vector<CurvePoint> curve_;
  double best_ = 0, seconds_ = 0, loss_sum_ = 0, weight_sum_ = 0;
  int since_best_ = 0;
  bool stopped_early_ = false, pause_ = false;
};

// Work in libtorch ends in exceptions; here they become errors.
template <typename F>
auto guarded(F&& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error{
        "out of memory; train on less text, keep the context on disk (--context-folder) or make steps smaller"};
  } catch (const c10::Error& problem) {
    return Error{fmt::format("libtorch: {}", problem.what_without_backtrace())};
  }
}

Result<DraftParams> first_params(const Recipe& recipe, const Inputs& in) {
  std::vector<int32_t> ids;
  if (recipe.draft_vocab > 0 && recipe.draft_vocab < in.base.config.vocab_size) {
    ids = frequent_tokens(in.data, in.base.config.vocab_size, recipe.draft_vocab);
  }
  if (recipe.init.empty()) return new_params(in.base, recipe.adapter, std::move(ids), recipe.seed);
  S3D_ASSIGN(const DraftParams from, read_params(in.base, recipe.init));
  if (recipe.draft_vocab > 0) ids = from.draft_ids;  // the Markov head's rows belong to them
  DraftParams params = new_params(in.base, recipe.adapter, std::move(ids), recipe.seed);
  const int copied = copy_matching(from, params);
  if (recipe.log) recipe.log(fmt::format("{} of {} tensors from {}", copied, params.tensors.size(), recipe.init));
  return params;
}

}  // namespace

std::string acceptance_text(const Acceptance& acceptance) {
  std::string rates;
  for (size_t j = 0; j < acceptance.reached.size(); ++j) rates += fmt::format(" {:.3f}", acceptance.rate(j));
  return fmt::format("{:.3f} tokens a round over {} rounds; by depth{}", acceptance.mean(), acceptance.rounds, rates);
}

Dataset split_held_out(Dataset& data, int count, uint64_t seed) {
  const size_t n = data.sequences.size();
  const size_t wanted = std::max<size_t>(1, std::min(static_cast<size_t>(count), n / 10));
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return keyed(seed, 0x4e1d, a) < keyed(seed, 0x4e1d, b); });
  std::vector<bool> held(n);
  for (size_t i = 0; i < wanted; ++i) held[order[i]] = true;
  Dataset kept, out;
  kept.files = out.files = data.files;
  for (size_t i = 0; i < n; ++i) (held[i] ? out : kept).sequences.push_back(std::move(data.sequences[i]));
  kept.hash = keyed(data.hash, wanted, seed, 0);
  out.hash = keyed(data.hash, wanted, seed, 1);
  data = std::move(kept);
  return out;
}

Result<TrainingResult> train_adapter(Recipe recipe, Group& group) {
  return guarded([&]() -> Result<TrainingResult> {
    std::error_code failed;
    std::filesystem::create_directories(recipe.out, failed);
    if (failed) return Error{fmt::format("cannot make the folder {}: {}", recipe.out, failed.message())};
    Inputs in;
    S3D_TRY(load_inputs(recipe, in));
    S3D_ASSIGN(DraftParams params, first_params(recipe, in));
    S3D_ASSIGN(ContextStore context, ContextStore::build(in.base, in.data, context_options(recipe, "train")));
    in.context = std::make_unique<ContextStore>(std::move(context));
    return Run(recipe, group, in, std::move(params)).run();
  });
}

Result<Acceptance> measure_adapter(Recipe recipe, const std::string& path) {
  return guarded([&]() -> Result<Acceptance> {
    S3D_ASSIGN(const GgufFile file, GgufFile::open(path));
    S3D_ASSIGN(recipe.adapter, read_adapter_config(file));
    if (recipe.held_out_data.empty()) recipe.held_out_data = recipe.data;
    recipe.data = recipe.held_out_data;
    recipe.loss.soft_share = 0;
    Inputs in;
    S3D_TRY(load_inputs(recipe, in));
    S3D_ASSIGN(const DraftParams params, read_params(in.base, path));
    const DraftBlock block(in.base, params.draft_ids);
    return evaluate(block, params, in.held_out, *in.held_out_context, in.base.device);
  });
}

}  // namespace s3d::train
