// Which drafters a model has here, by name, and the speculator that a person asked for.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"
#include "decode/speculator.h"

namespace s3d {

class Engine;

struct SpeculationOptions {
  // "off"; "auto": the planner takes what pays, drafts or none; or a drafter: "s3d", "s3d-untrained", "layerskip",
  // "lookup", "suffix", "model".
  std::string drafter = "auto";
  int draft_rows = 0;              // tokens drafted and verified each round, 1 to kMaxDraft; 0: the planner chooses
  int draft_width = 1;             // alternatives for each position of a draft by a pass; 1: a chain, more: a tree
  std::optional<LayerSet> layers;  // kept by "layerskip" and "s3d-untrained"; absent: default_draft_layers()
  std::string draft_model;         // file or name of the model of "model"

  // Errors name the option and what it may be.
  Status check() const;
};

// Every value of SpeculationOptions::drafter, in the order in which help shows them.
std::vector<std::string_view> drafter_names();

// For one sequence at a time; null for "off", and for "auto" where no drafter is open. The engine must outlive it and
// stay where it is. Errors: a drafter that this model does not have here (says what to do), a draft model that does not
// fit.
Result<std::unique_ptr<Speculator>> make_speculator(Engine& engine, const SpeculationOptions& options);

// The drafters of a model whose adapter is that file (empty: it has none), but for "model", which needs another file.
struct OpenDrafter {
  std::string name;
  std::string note;
};
std::vector<OpenDrafter> open_drafters(const std::string& adapter_path);

}  // namespace s3d
