// Which drafters a model has here, by name, and the speculator that a person asked for.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"
#include "decode/drafter.h"
#include "decode/speculator.h"
#include "engine/adapter_path.h"
#include "model/layer_set.h"
#include "s3d/options.h"

namespace s3d {

class Runtime;

// Every value of SpeculationOptions::drafter but for NAME=FILE, in the order in which help shows them.
std::vector<std::string_view> drafter_names();

// For one sequence at a time; null for "off", and for "auto" where no drafter is open. The engine must outlive it and
// stay where it is. Errors: a drafter that this model does not have here (says what to do), a draft model that does not
// fit. `on_measure` (may be empty) is called where the costs of passes must be measured first, which takes up to
// seconds (engine/pass_costs.h).
Result<std::unique_ptr<Speculator>> make_speculator(Runtime& runtime, const SpeculationOptions& options,
                                                    const std::function<void()>& on_measure = {});

// The drafter `options.drafter` alone, without a planner: for measuring it. Not for "off" and "auto". The engine must
// outlive it. Errors: those of make_speculator().
Result<std::unique_ptr<Drafter>> make_named_drafter(Runtime& runtime, const SpeculationOptions& options);

// S3D's floor: a draft pass over these layers and `masks` masks without training, from the first adapter's draft
// vocabulary. The engine must outlive it. Error: a plan that is not one of the model's.
Result<std::unique_ptr<Drafter>> make_untrained_drafter(Runtime& runtime, LayerSet layers, int masks);

// The `drafter_key` of pass_costs() (engine/pass_costs.h) for such a drafter.
std::string drafter_cost_key(const Runtime& runtime, const SpeculationOptions& options, const Drafter& drafter);

// The drafters of a model that has these files (find_draft_files, Runtime::draft_files), but for "model", which needs
// another model.
struct OpenDrafter {
  std::string name;  // as --spec takes it: NAME of the first file of a kind, NAME=FILE of the others
  std::string note;
  std::string file;          // that it is loaded from; empty: it needs none
  bool runs_beside = false;  // it has layers or heads of its own: not on all backends (Backend::can_multiply)
};
std::vector<OpenDrafter> open_drafters(std::span<const DraftFile> files);

}  // namespace s3d
