#include "train/run.h"

#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/stopwatch.h"
#include "train/adam.h"
#include "train/anchors.h"
#include "train/checkpoint.h"
#include "train/pace.h"

namespace s3d::train {
namespace {

using nlohmann::json;

Status write_text(const std::string& path, const std::string& text) {
  return write_file_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

// Of all threads of this process.
double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

class Run {
 public:
  Run(const Recipe& recipe, Group& group, const Dataset& data, std::string settings, std::string title, Task& task)
      : recipe_(recipe),
        group_(group),
        task_(task),
        plan_(data, recipe.anchors(),
              RowSchedule(depth_weights(recipe.loss, recipe.trained_rows()), recipe.loss.sample_rows, recipe.groups,
                          recipe.seed),
              recipe.seed),
        adam_(task.trained(), recipe.adam),
        tokens_(data.tokens()),
        settings_(std::move(settings)),
        title_(std::move(title)),
        box_(recipe),
        report_(recipe.report_every, recipe.report_seconds),
        checkpoint_(recipe.checkpoint_every, recipe.checkpoint_seconds) {
    total_ = recipe.steps > 0 ? recipe.steps : static_cast<int64_t>(std::ceil(recipe.epochs * plan_.steps_per_epoch()));
  }

  Result<RunResult> run() {
    S3D_TRY(resume());
    log_plan();
    if (step_ == 0 && curve_.empty()) S3D_TRY(measure());
    while (!over()) {
      S3D_TRY(train_step());
      if (report_.due(step_, now_) || over()) S3D_TRY(measure());
      const bool pause = pause_, end = over();
      if (checkpoint_.due(step_, now_) || pause || end) S3D_TRY(save());
      if (pause && !end) return RunResult{false, step_, best_, curve_};
    }
    return RunResult{true, step_, best_, curve_};
  }

 private:
  void log(const std::string& line) const {
    if (recipe_.log && group_.rank() == 0) recipe_.log(line);
  }
  std::string path(const char* name) const { return recipe_.out + "/" + name; }

  bool boxed() const { return recipe_.minutes > 0; }
  bool over() const { return stopped_early_ || (boxed() ? done_ >= 1 : step_ >= total_); }

  void log_plan() {
    int64_t numbers = 0;
    for (const Tensor& param : adam_.params()) numbers += param.numel();
    const std::string length = boxed() ? fmt::format("{} minutes", recipe_.minutes)
                                       : fmt::format("{} steps, {} anchors", total_, plan_.anchors_before(total_));
    log(fmt::format("{}, {} anchors an epoch, {:.2f} M trained numbers", length, plan_.anchors_per_epoch(),
                    static_cast<double>(numbers) / 1e6));
  }

  // Of the step after `step_` ones.
  double learning_rate() const {
    const auto steps = static_cast<double>(std::max<int64_t>(1, total_ - recipe_.warmup));
    const double done = boxed() ? done_ : static_cast<double>(step_ - recipe_.warmup) / steps;
    return cosine_rate(step_, recipe_.warmup, done, recipe_.learning_rate, recipe_.last_rate);
  }

  // This rank's share of a step, its gradients left in the trained tensors.
  StepLoss add_gradients() {
    std::vector<AnchorGroup> mine;
    const std::vector<AnchorGroup> all = plan_.step(step_);
    for (size_t i = static_cast<size_t>(group_.rank()); i < all.size(); i += static_cast<size_t>(group_.size())) {
      mine.push_back(all[i]);
    }
    return mine.empty() ? StepLoss{} : task_.add_gradients(mine, plan_.rows(step_));
  }

  Status train_step() {
    const Stopwatch watch;
    const double started = processor_seconds();
    const StepLoss mine = add_gradients();
    std::vector<Tensor> shared;
    for (const Tensor& param : adam_.params()) shared.push_back(param.grad());
    const bool first = group_.rank() == 0;  // its clock is that of all
    const Tensor numbers = torch::tensor(
        {static_cast<float>(mine.loss), static_cast<float>(mine.weight), static_cast<float>(mine.autoregressive),
         wants_pause() ? 1.0F : 0.0F, static_cast<float>(processor_seconds() - started + unshared_),
         first ? static_cast<float>(box_.done()) : 0.0F, first ? static_cast<float>(box_.spent()) : 0.0F});
    shared.push_back(numbers);
    S3D_TRY(group_.add_up(shared));
    const double told = processor_seconds();
    core_seconds_ += numbers[4].item<double>();
    const double loss = numbers[0].item<double>(), weight = numbers[1].item<double>();
    const double autoregressive = numbers[2].item<double>();
    pause_ = numbers[3].item<double>() > 0;
    done_ = numbers[5].item<double>();
    now_ = numbers[6].item<double>();
    const double rate = learning_rate();
    const double norm = weight > 0 ? adam_.step(step_, rate, 1 / weight) : 0;
    if (!std::isfinite(loss) || !std::isfinite(norm)) {
      return Error{
          fmt::format("step {}: the loss is {} and the gradient's norm {}; the last checkpoint and what was "
                      "stored in {} are good; try a lower --learning-rate{}",
                      step_, loss, norm, recipe_.out, recipe_.joint ? " or --layer-rate" : "")};
    }
    task_.values_changed();
    ++step_;
    loss_sum_ += loss;
    weight_sum_ += weight;
    seconds_ += watch.seconds();
    unshared_ = processor_seconds() - told;
    if (step_ % 20 == 0 && weight > 0) log_step(loss / weight, autoregressive / weight, rate);
    return Ok();
  }

  void log_step(double loss, double autoregressive, double rate) {
    const std::string parts = recipe_.joint ? fmt::format(" (autoregressive {:.4f})", autoregressive) : "";
    const std::string place =
        boxed() ? fmt::format("step {}, {:.0f} % of the time", step_, 100 * done_)
                : fmt::format("step {} of {}, {:.0f} s left", step_, total_,
                              seconds_ / static_cast<double>(step_) * static_cast<double>(total_ - step_));
    log(fmt::format("{}  loss {:.4f}{}  rate {:.2e}  {:.0f} anchors/s, {:.0f} a core second", place, loss, parts, rate,
                    static_cast<double>(anchors()) / seconds_, static_cast<double>(anchors()) / core_seconds_));
  }

  bool wants_pause() const {
    if (recipe_.stop != nullptr && recipe_.stop->load()) return true;
    if (recipe_.stop_after > 0 && step_ + 1 >= recipe_.stop_after) return true;
    return recipe_.max_minutes > 0 && watch_.seconds() > 60 * recipe_.max_minutes;
  }

  // Of this run alone: what --init cost is not known here.
  TrainingCost cost() {
    return {.core_seconds = core_seconds_,
            .anchors = anchors(),
            .tokens = tokens_,
            .device = recipe_.device == torch::kCPU ? "" : recipe_.device.str()};
  }

  int64_t anchors() { return plan_.anchors_before(step_); }

  // Of all ranks together.
  Result<HeldOut> measure_all() {
    S3D_ASSIGN(const HeldOut mine, task_.measure());
    const Acceptance& a = mine.acceptance;
    std::vector<double> numbers = {static_cast<double>(a.rounds), static_cast<double>(a.tokens), mine.base.nll,
                                   static_cast<double>(mine.base.tokens), static_cast<double>(mine.base.agreed)};
    const size_t fixed = numbers.size(), depths = static_cast<size_t>(recipe_.chain());
    for (size_t j = 0; j < depths; ++j) {
      numbers.push_back(j < a.reached.size() ? static_cast<double>(a.reached[j]) : 0);
      numbers.push_back(j < a.reached.size() ? static_cast<double>(a.accepted[j]) : 0);
    }
    S3D_ASSIGN(numbers, sum(group_, numbers));
    const auto count = [&](size_t i) { return static_cast<int64_t>(numbers[i]); };
    HeldOut all = {{count(0), count(1), {}, {}}, {numbers[2], count(3), count(4)}};
    for (size_t j = 0; j < depths; ++j) {
      all.acceptance.reached.push_back(count(fixed + 2 * j));
      all.acceptance.accepted.push_back(count(fixed + 2 * j + 1));
    }
    return all;
  }

  CurvePoint point_of(const HeldOut& held_out) {
    const Acceptance& acceptance = held_out.acceptance;
    CurvePoint point = {.step = step_,
                        .anchors = anchors(),
                        .seconds = seconds_,
                        .core_seconds = core_seconds_,
                        .learning_rate = learning_rate(),
                        .loss = weight_sum_ > 0 ? loss_sum_ / weight_sum_ : 0,
                        .mean_accepted = acceptance.mean(),
                        .rates = {},
                        .perplexity = held_out.base.perplexity(),
                        .agreement = held_out.base.agreement()};
    for (size_t j = 0; j < acceptance.reached.size(); ++j) point.rates.push_back(acceptance.rate(j));
    return point;
  }

  // Measures, stores what is trained if it is the best so far, and writes table and plot.
  Status measure() {
    const Stopwatch watch;
    S3D_TRY(measure_and_store());
    box_.closing_took(watch.seconds());
    return Ok();
  }

  Status measure_and_store() {
    S3D_ASSIGN(const HeldOut held_out, measure_all());
    curve_.push_back(point_of(held_out));
    loss_sum_ = weight_sum_ = 0;
    log(fmt::format("step {}: held-out {}", step_, held_out_text(held_out)));
    const double mean = held_out.acceptance.mean();
    const bool better = mean > best_;
    since_best_ = better ? 0 : since_best_ + 1;
    if (better) best_ = mean;
    if (recipe_.patience > 0 && since_best_ >= recipe_.patience) {
      stopped_early_ = true;
      log(fmt::format("no better for {} measurements: stopped", since_best_));
    }
    if (group_.rank() != 0) return Ok();
    if (better) S3D_TRY(task_.store(cost()));
    S3D_TRY(write_text(path("curve.csv"), curve_csv(curve_)));
    return write_text(path("curve.svg"), curve_svg(curve_, title_));
  }

  Status save() {
    if (group_.rank() != 0) return Ok();
    const TimeBox::State box = box_.state();
    const json progress = {{"curve", curve_to_json(curve_)},
                           {"best", best_},
                           {"since_best", since_best_},
                           {"stopped", stopped_early_},
                           {"seconds", seconds_},
                           {"loss", loss_sum_},
                           {"weight", weight_sum_},
                           {"core_seconds", core_seconds_},
                           {"done", done_},
                           {"box_spent", box.spent},
                           {"box_began", box.began},
                           {"box_closing", box.closing}};
    S3D_TRY(write_text(path("recipe.txt"), settings_ + "\n"));
    return write_checkpoint(path("checkpoint"), {settings_, step_, progress.dump(), adam_.params(),
                                                 adam_.first_moments(), adam_.second_moments()});
  }

  // Rank 0 reads the checkpoint; the others get everything from it.
  Status resume() {
    std::vector<double> numbers(9);
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
    core_seconds_ = numbers[7];
    done_ = numbers[8];
    if (step_ == 0) return Ok();
    log(fmt::format("going on from step {}", step_));
    const torch::NoGradGuard no_grad;
    for (std::vector<Tensor>* list : {&adam_.params(), &adam_.first_moments(), &adam_.second_moments()}) {
      if (group_.rank() != 0) {
        for (Tensor& tensor : *list) tensor.zero_();
      }
      S3D_TRY(group_.add_up(*list));
    }
    task_.values_changed();
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
                 0,
                 progress.value("core_seconds", 0.0),
                 progress.value("done", 0.0)};
      box_.go_on(
          {progress.value("box_spent", 0.0), progress.value("box_began", -1.0), progress.value("box_closing", 0.0)});
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
  Task& task_;
  AnchorSchedule plan_;
  Adam adam_;
  int64_t tokens_;
  std::string settings_, title_;
  Stopwatch watch_;
  TimeBox box_;
  Every report_, checkpoint_;

  int64_t step_ = 0, total_ = 0;
  std::vector<CurvePoint> curve_;
  double best_ = 0, seconds_ = 0, loss_sum_ = 0, weight_sum_ = 0;
  double core_seconds_ = 0;    // of all ranks
  double unshared_ = 0;        // this rank's processor seconds since it told them to the others
  double done_ = 0, now_ = 0;  // of the time box, by the clock of rank 0
  int since_best_ = 0;
  bool stopped_early_ = false, pause_ = false;
};

}  // namespace

Result<RunResult> run_task(const Recipe& recipe, Group& group, const Dataset& data, const std::string& settings,
                           const std::string& title, Task& task) {
  return Run(recipe, group, data, settings, title, task).run();
}

}  // namespace s3d::train
