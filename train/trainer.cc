#include "train/trainer.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "train/drafter.h"
#include "train/frozen_task.h"
#include "train/inputs.h"
#include "train/joint_task.h"

namespace s3d::train {
namespace {

// Work in libtorch ends in exceptions; here they become errors.
template <typename F>
auto guarded(const Recipe& recipe, F&& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error{"out of memory; " + memory_advice(recipe)};
  } catch (const c10::Error& problem) {
    return Error{fmt::format("libtorch: {}", problem.what_without_backtrace())};
  }
}

Status make_folder(const std::string& path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (failed) return Error{fmt::format("cannot make the folder {}: {}", path, failed.message())};
  return Ok();
}

Result<RunResult> run(const Recipe& recipe, Group& group, const Inputs& in, Task& task) {
  return run_task(recipe, group, in.data, settings_text(recipe, in.base.fingerprint, in.data_hash),
                  in.base.config.name + ": " + recipe.out, task);
}

Result<RecordStore> held_out_records(const Recipe& recipe, const Inputs& in) {
  return RecordStore::build(in.base, in.held_out, record_store_options(recipe, "held-out"));
}

Result<Acceptance> measure_file(const Recipe& recipe, const Inputs& in, const RecordStore& held_out,
                                const std::string& path) {
  S3D_ASSIGN(const auto drafter, read_drafter(recipe, in.base, path));
  return evaluate(*drafter, in.held_out, held_out);
}

// Trains on the base of `in` and leaves it changed. Task and moments end here, before what was written is read.
Result<RunResult> run_joint(const Recipe& recipe, Group& group, Inputs& in) {
  S3D_ASSIGN(DraftParams params, first_params(recipe, in));
  S3D_ASSIGN(const auto task, make_joint_task(recipe, group, in, std::move(params)));
  return run(recipe, group, in, *task);
}

// The pair as an engine will read it.
Result<HeldOut> measure_pair(const Recipe& recipe, Inputs& in) {
  const auto context = static_cast<int>(in.base.cosines.size(0));
  in.base = BaseModel{};  // makes room
  S3D_ASSIGN(in.base, load_base(joint_base_path(recipe), recipe.base_dtype, recipe.device, context));
  S3D_ASSIGN(const DraftParams params, read_params(in.base, joint_adapter_path(recipe)));
  return evaluate_pair(in.base, DraftBlock(in.base, params.draft_ids), params, in.held_out);
}

// The old base is read again when the run is resumed.
Status check_out(const Recipe& recipe) {
  std::error_code ignored;
  if (!std::filesystem::equivalent(recipe.model, joint_base_path(recipe), ignored)) return Ok();
  return Error{
      fmt::format("--out {}: the base {} would be overwritten; choose another folder", recipe.out, recipe.model)};
}

}  // namespace

std::string joint_report(const Recipe& recipe, const TrainingResult& result) {
  const CurvePoint& first = result.run.curve.front();
  nlohmann::json after = to_json(result.stored.acceptance);
  after["perplexity"] = result.stored.base.perplexity();
  after["agreement"] = result.stored.base.agreement();
  const nlohmann::json report = {{"base", joint_base_path(recipe)},
                                 {"adapter", joint_adapter_path(recipe)},
                                 {"steps", result.run.steps},
                                 {"best", result.run.best},
                                 {"before",
                                  {{"mean_acceptance_length", first.mean_accepted},
                                   {"acceptance_by_depth", first.rates},
                                   {"perplexity", first.perplexity},
                                   {"agreement", first.agreement}}},
                                 {"after", after}};
  return report.dump(2) + "\n";
}

Result<TrainingResult> train_drafter(Recipe recipe, Group& group) {
  return guarded(recipe, [&]() -> Result<TrainingResult> {
    S3D_TRY(make_folder(recipe.out));
    S3D_ASSIGN(const Inputs in, load_inputs(recipe));
    S3D_ASSIGN(const RecordStore held_out, held_out_records(recipe, in));
    S3D_ASSIGN(auto drafter, first_drafter(recipe, in));
    S3D_ASSIGN(const auto task, make_frozen_task(recipe, group, in, held_out, std::move(drafter)));
    TrainingResult result;
    S3D_ASSIGN(result.run, run(recipe, group, in, *task));
    if (!result.run.finished || group.rank() != 0) return result;
    S3D_ASSIGN(result.stored.acceptance, measure_file(recipe, in, held_out, drafter_path(recipe)));
    return result;
  });
}

Result<TrainingResult> train_joint(Recipe recipe, Group& group) {
  return guarded(recipe, [&]() -> Result<TrainingResult> {
    S3D_TRY(make_folder(recipe.out));
    S3D_TRY(check_out(recipe));
    S3D_ASSIGN(Inputs in, load_inputs(recipe));
    TrainingResult result;
    S3D_ASSIGN(result.run, run_joint(recipe, group, in));
    if (!result.run.finished || group.rank() != 0) return result;
    S3D_ASSIGN(result.stored, measure_pair(recipe, in));
    const std::string report = joint_report(recipe, result);
    S3D_TRY(write_file_atomically(recipe.out + "/report.json", std::as_bytes(std::span(report))));
    return result;
  });
}

Result<Acceptance> measure_drafter(Recipe recipe, const std::string& path) {
  return guarded(recipe, [&]() -> Result<Acceptance> {
    S3D_TRY(take_kind(path, recipe));
    if (recipe.held_out_data.empty()) recipe.held_out_data = recipe.data;
    recipe.data = recipe.held_out_data;
    recipe.loss.soft_share = 0;
    S3D_ASSIGN(const Inputs in, load_inputs(recipe));
    S3D_ASSIGN(const RecordStore held_out, held_out_records(recipe, in));
    return measure_file(recipe, in, held_out, path);
  });
}

}  // namespace s3d::train
